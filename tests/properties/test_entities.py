"""The laws of entities, over arbitrary societies: nothing lost, nothing done twice, no lock without an owner.

The laws themselves are in `annals`; they are held against every commit, and once more against what is there at the end.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durablecli.engine import commit_builder, entity_scheduler, turns
from tests.properties.entity_harness import Action, Forum
from tests.properties.entity_programs import Body, actions, societies

EXAMPLES = int(os.environ.get("DURABLE_LAWS_EXAMPLES", "200"))
MANY = 20_000
LEAST = 0.05
SAID = [
    "signal",
    "call",
    "later",
    "spree",
    "section",
    "race",
    "waver",
    "drop",
    "pause",
    "wait",
    "again",
    "attempt",
    "child",
]
DONE = ["work", "order", "order later", "go", "advance", "back", "crash", "replace", "delete", "clear"]
CONTROLLED = ["terminate", "suspend", "resume", "purge"]
ENDS = ["Completed while asking", "Completed while holding", "Terminated while holding", "Terminated while asking"]
INSIDE = ["inside: peek", "inside: do", "inside: outside", "inside: wait", "suspended while holding"]
FATES = ["granted", "released", "cancelled", "waited for a lock", "too late", "replaced by a new start while holding"]
DEEDS = ["failed", "started", "not started", "deleted", "scheduled", "several at once", "entity purged"]
FAULTS = ["outcome lost", "power cut", "power cut at opening"]
FILES = ["compacted", "compacted under lock", "compacted, with something that waits"]
RARE = ["Failed while holding", "ContinuedAsNew while holding", "Purged while holding", "done for a suspended one"]


def hold(monkeypatch: pytest.MonkeyPatch, examples: int, *, same: bool) -> tuple[Counter[str], int]:
    """Let so many societies live; what came up in how many of them. `same`: always the same ones."""
    seen: Counter[str] = Counter()
    runs = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=same,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        societies,
        actions,
        st.lists(st.integers(1, 60), max_size=6),
        st.booleans(),
        st.sampled_from([1, 1_500, 128 * 1024]),
        st.sampled_from([3, 4_096]),
    )
    def holds(
        bodies: tuple[Body, ...],
        script: list[tuple[bool, Action]],
        cuts: list[int],
        replay_always: bool,
        compact_at: int,
        most: int,
    ) -> None:
        nonlocal runs
        runs += 1
        monkeypatch.setattr(entity_scheduler, "_MIN_COMPACT_BYTES", compact_at)
        monkeypatch.setattr(entity_scheduler, "_MIN_COMPACT_RATIO", 1)
        for module in (commit_builder, turns):
            monkeypatch.setattr(module, "MAX_COMMIT_RECORDS", most)
        monkeypatch.setattr(turns, "_MIN_DECISIONS_TO_MEASURE", 0 if most < 64 else 64)
        forum = Forum(replay_always=replay_always, cuts=cuts)
        forum.live(bodies, script)
        seen.update(forum.done)

    holds()
    return seen, runs


def test_entities_lose_nothing_do_nothing_twice_and_forget_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, runs = hold(monkeypatch, EXAMPLES, same="DURABLE_LAWS_EXAMPLES" not in os.environ)
    wanted = {*SAID, *DONE, *CONTROLLED, *ENDS, *INSIDE, *FATES, *DEEDS, *FAULTS, *FILES}
    rare = {each: seen[each] for each in wanted if seen[each] < LEAST * runs}
    assert not rare, f"came up in less than {LEAST:.0%} of {runs} runs: {rare}"
    assert not [each for each in RARE if not seen[each]]


@pytest.mark.soak
def test_the_laws_of_entities_hold_in_very_many_societies(monkeypatch: pytest.MonkeyPatch) -> None:
    hold(monkeypatch, MANY, same=False)
