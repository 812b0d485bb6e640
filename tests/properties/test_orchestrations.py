"""Properties of orchestrations over random programs: live, replayed and restarted runs write the same history."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durablecli.model import events as ev
from durablecli.replay.runtime_state import fold_history
from tests.properties.history_checker import check_history
from tests.properties.orchestration_harness import Action, OrchestrationHarness
from tests.properties.orchestration_programs import CONSTRUCTS, Body, ProgramEnvironment, actions, programs
from tests.support.engine_harness import limit_commit_records

EXAMPLES = int(os.environ.get("DURABLE_LAWS_EXAMPLES", "200"))
SPILL_OVER = 200
"""Most records with a payload are longer, so that nearly every history has spilled ones."""
MIN_SHARE = 0.015
VERBS = ("work", "event", "advance", "terminate", "suspend", "resume", "rewind", "purge", "back", "mend")

property_settings = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="DURABLE_LAWS_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def get_orchestrator(world: ProgramEnvironment) -> Any:
    return next(each for each in world.make_functions() if each.__name__ == "play")


def test_live_replayed_and_restarted_runs_write_the_same_histories() -> None:
    seen: Counter[str] = Counter()
    runs = 0

    @property_settings
    @given(programs, actions)
    def check_program(bodies: tuple[Body, Body], script: list[Action]) -> None:
        nonlocal runs
        live = OrchestrationHarness()
        histories = live.run(bodies, script)
        runs += 1
        seen.update(live.coverage | {action[0] for action in script} | collect_coverage(histories))
        for records in histories.values():
            check_history(get_orchestrator(ProgramEnvironment()), records)
        if not live.has_rewound:
            assert max(live.environment.activity_runs.values(), default=1) == 1, "an activity ran twice"
        assert OrchestrationHarness(replay_always=True, spill_over=SPILL_OVER).run(bodies, script) == histories
        restarted = OrchestrationHarness(restart_after_actions=True, spill_over=SPILL_OVER).run(bodies, script)
        assert canonicalize(restarted) == canonicalize(histories)

    check_program()
    wanted = {*CONSTRUCTS, *VERBS, "held", "ExecutionRewound", "Terminated"}
    rare = {each: seen[each] for each in wanted if seen[each] < MIN_SHARE * runs}
    assert not rare, f"came up in less than {MIN_SHARE:.0%} of {runs} runs: {rare}"


def test_kills_at_any_cycle_lose_nothing_and_repeat_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits hold a handful of records here, so turns are spread over several and most arrivals are held."""
    seen: Counter[str] = Counter()

    @property_settings
    @given(programs, actions, st.lists(st.integers(1, 12), max_size=8), st.integers(1, 6))
    def check_program(bodies: tuple[Body, Body], script: list[Action], kills: list[int], max_records: int) -> None:
        limit_commit_records(monkeypatch, max_records, measure_all=True)
        harness = OrchestrationHarness(kill_after_cycles=kills, spill_over=SPILL_OVER * (len(kills) % 2))
        histories = harness.run(bodies, script)
        seen.update(
            collect_coverage(histories)
            | ({"torn"} if harness.torn_tails else set())
            | {"killed" if harness.kill_count else "left"}
        )
        for records in histories.values():
            check_history(get_orchestrator(ProgramEnvironment()), records, torn=harness.torn_tails > 0)
        again = max((count for count in harness.environment.activity_runs.values()), default=1)
        assert again <= 1 + harness.kill_count + 2 * harness.has_rewound, "an activity ran more often than it was lost"

    check_program()
    assert not [each for each in ("torn", "killed", "held", "OrchestratorStarted") if seen[each] < MIN_SHARE * EXAMPLES]


def canonicalize(histories: dict[str, list[ev.Record]]) -> list[str]:
    """Both streams of every instance. Numbers of commits, and what is held meanwhile, are the engine's own affair."""
    return sorted(map(_canonicalize, histories.values()))


def _canonicalize(records: list[ev.Record]) -> str:
    runtime_state = fold_history(records)
    assert runtime_state.turns is not None
    ordinals = {r.n: i for i, r in enumerate(r for turn in runtime_state.turns for r in turn.decisions)}
    turns = [
        [turn.at, _normalize(turn.arrival, ordinals), [_normalize(each, ordinals) for each in turn.decisions]]
        for turn in runtime_state.turns
    ]
    return msgspec.json.encode([turns, [_normalize(each, ordinals) for each in runtime_state.held]]).decode()


def _normalize(record: ev.Record, ordinals: dict[int, int]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record.event))
    for field in ("held", "execution", "parent", "from", "causes"):
        found.pop(field, None)
    for field in ("task", "timer", "retry_of"):
        if field in found:
            found[field] = ordinals.get(found[field])
    if ":" in found.get("instance", ""):
        found["instance"] = found["instance"].partition(":")[0]
    return found


def collect_coverage(histories: dict[str, list[ev.Record]]) -> set[str]:
    """What else came up: kinds of records, held arrivals, ends."""
    found = set()
    for records in histories.values():
        for record in records:
            found.add(type(record.event).__name__)
            if getattr(record.event, "held", False):
                found.add("held")
            if isinstance(record.event, ev.ExecutionCompleted):
                found.add(record.event.status)
    return found
