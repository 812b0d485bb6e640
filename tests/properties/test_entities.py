"""Properties of entities, over random programs: no operation is lost or repeated, and every lock is released.

The properties are checked by `entity_model` after every commit, and against the final state.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durablecli.engine import entity_compaction
from tests.properties.entity_harness import Action, EntityHarness
from tests.properties.entity_programs import Body, actions, programs
from tests.support.engine_harness import limit_commit_records

EXAMPLES = int(os.environ.get("DURABLE_LAWS_EXAMPLES", "200"))
SOAK_EXAMPLES = 20_000
MIN_SHARE = 0.02
STATEMENTS = [
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
ACTIONS = ["work", "order", "order later", "go", "advance", "back", "crash", "replace", "delete", "clear"]
CONTROL_ACTIONS = ["terminate", "suspend", "resume", "purge"]
ENDS = ["Completed while asking", "Completed while holding", "Terminated while holding", "Terminated while asking"]
INSIDE = ["inside: peek", "inside: do", "inside: outside", "inside: wait", "suspended while holding"]
LOCK_OUTCOMES = [
    "granted",
    "released",
    "cancelled",
    "waited for a lock",
    "too late",
    "replaced by a new start while holding",
]
OPERATION_OUTCOMES = ["failed", "started", "not started", "deleted", "scheduled", "several at once", "entity purged"]
FAULTS = ["outcome lost", "power cut", "power cut at opening"]
COMPACTIONS = ["compacted", "compacted under lock", "compacted, with something that waits"]
RARE = ["Failed while holding", "ContinuedAsNew while holding", "Purged while holding", "done for a suspended one"]


def check_programs(monkeypatch: pytest.MonkeyPatch, examples: int, *, derandomize: bool) -> tuple[Counter[str], int]:
    """Let so many societies live; what came up in how many of them. `same`: always the same ones."""
    seen: Counter[str] = Counter()
    runs = 0

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=derandomize,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(
        programs,
        actions,
        st.lists(st.integers(1, 60), max_size=6),
        st.booleans(),
        st.sampled_from([1, 1_500, 128 * 1024]),
        st.sampled_from([3, 4_096]),
    )
    def check_program(
        bodies: tuple[Body, ...],
        script: list[tuple[bool, Action]],
        power_cuts: list[int],
        replay_always: bool,
        compact_at: int,
        max_records: int,
    ) -> None:
        nonlocal runs
        runs += 1
        monkeypatch.setattr(entity_compaction, "_MIN_COMPACT_BYTES", compact_at)
        monkeypatch.setattr(entity_compaction, "_MIN_COMPACT_RATIO", 1)
        limit_commit_records(monkeypatch, max_records, measure_all=max_records < 64)
        harness = EntityHarness(replay_always=replay_always, power_cuts=power_cuts)
        harness.run(bodies, script)
        seen.update(harness.coverage)

    check_program()
    return seen, runs


def test_no_operation_is_lost_or_repeated_and_every_lock_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, runs = check_programs(monkeypatch, EXAMPLES, derandomize="DURABLE_LAWS_EXAMPLES" not in os.environ)
    wanted = {
        *STATEMENTS,
        *ACTIONS,
        *CONTROL_ACTIONS,
        *ENDS,
        *INSIDE,
        *LOCK_OUTCOMES,
        *OPERATION_OUTCOMES,
        *FAULTS,
        *COMPACTIONS,
    }
    rare = {each: seen[each] for each in wanted if seen[each] < MIN_SHARE * runs}
    assert not rare, f"came up in less than {MIN_SHARE:.0%} of {runs} runs: {rare}"
    assert not [each for each in RARE if not seen[each]]


@pytest.mark.soak
def test_entity_properties_hold_for_many_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    check_programs(monkeypatch, SOAK_EXAMPLES, derandomize=False)
