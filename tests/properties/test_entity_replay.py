"""Properties of replay over random programs that call, signal and lock entities: live equals replayed and rewound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import durablecli as df
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay import pending
from durablecli.replay.replay import replay
from durablecli.replay.rewind import plan_rewind
from durablecli.replay.runtime_state import answered_decision, fold_history
from tests.support.executor_harness import ExecutorHarness, no_traits

Flow = Generator[Any, Any, Any]
Body = list[Any]
ENTITIES = ("@a@x", "@a@y", "@b@x")
COVERED = (
    "call",
    "signal",
    "activity",
    "lock",
    "impatient",
    "swallow",
    "fire",
    "refused",
    "rewound",
    "late",
    "granted",
)

_entity = st.sampled_from(ENTITIES)
_leaf = st.one_of(
    st.tuples(st.just("call"), _entity),
    st.tuples(st.just("fire"), _entity),
    st.tuples(st.just("signal"), _entity),
    st.tuples(st.just("fan"), st.lists(_entity, max_size=3)),
    st.tuples(st.just("activity")),
    st.tuples(st.just("impatient"), _entity),
)


def _bodies(depth: int) -> st.SearchStrategy[Body]:
    statement: st.SearchStrategy[Any] = _leaf
    if depth:
        body = _bodies(depth - 1)
        lock = st.tuples(st.just("lock"), st.lists(_entity, min_size=1, max_size=3), body)
        statement = st.one_of(_leaf, lock, st.tuples(st.just("swallow"), body))
    return st.lists(statement, min_size=1, max_size=4)


def _run(context: df.DurableOrchestrationContext, body: Body) -> Flow:
    for verb, *rest in body:
        match verb:
            case "call":
                yield context.call_entity(rest[0], "add")
            case "fire":
                context.call_entity(rest[0], "add")
            case "signal":
                context.signal_entity(rest[0], "add")
            case "fan":
                yield context.task_all([context.call_entity(entity, "add") for entity in rest[0]])
            case "activity":
                yield context.call_activity("F1")
            case "lock":
                with (yield context.lock_entities(rest[0])):
                    yield from _run(context, rest[1])
            case "impatient":
                lock, late = context.lock_entities(rest), context.create_timer(timedelta(1))
                if (yield context.task_any([lock, late])) is late:
                    lock.cancel()
                else:
                    late.cancel()
                    lock.get_result().release()
            case "swallow":
                try:
                    yield from _run(context, rest[0])
                except (df.TaskFailedError, RuntimeError) as error:
                    context.set_custom_status(str(error))


def _complete_one(harness: ExecutorHarness, choice: int) -> None:
    """Answer one of the things that are open; every fourth call and activity fails."""
    n, asked = list(harness.runtime_state.open_decisions.items())[choice % len(harness.runtime_state.open_decisions)]
    fails = choice % 4 == 3
    match asked:
        case ev.EntityOperationCalled():
            _ = harness.fail_operation(n) if fails else harness.complete_operation(n)
        case ev.EntityLockRequested():
            harness.grant_lock(n)
        case ev.TimerCreated():
            harness.fire_timer(n)
        case ev.TaskScheduled():
            _ = harness.fail_task(n) if fails else harness.complete_task(n)


def test_entity_programs_decide_the_same_live_replayed_and_rewound() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=600, deadline=None, derandomize=True)
    @given(_bodies(2), st.lists(st.integers(0, 11), max_size=20))
    def holds(body: Body, choices: list[int]) -> None:
        def flow(context: df.DurableOrchestrationContext) -> Flow:
            return _run(context, body)

        harness = ExecutorHarness(flow)
        for choice in choices:
            if harness.runtime_state.ended or not harness.runtime_state.open_decisions:
                break
            _complete_one(harness, choice)  # the harness replays it all after every answer
            assert len(pending.unreleased_locks(harness.runtime_state)) <= 1
        seen.update(_collect_coverage(harness, body))
        if harness.runtime_state.ended:
            assert pending.unreleased_locks(harness.runtime_state) == []
        if harness.runtime_state.status == "Failed":
            seen[_rewind(harness)] += 1

    holds()
    assert not [each for each in COVERED if seen[each] < 10], seen


def _rewind(harness: ExecutorHarness) -> str:
    """Rewind the failed one: what is kept is replayed, and nothing is locked then."""
    try:
        plan = plan_rewind(harness.runtime_state)
    except WrongState:
        assert any(isinstance(record.event, ev.EntityLockRequested) for record in harness.records)
        return "refused"
    late = [harness.add_held(ev.EntityOperationCompleted(n)) for n, _ in pending.entity_calls(harness.runtime_state)]
    rewound = ev.Record(len(harness.records) + 1, harness.now, plan.to_event("mended"))
    runtime_state = fold_history([*harness.records, rewound])
    assert {n for n, _ in plan.calls} <= runtime_state.open_decisions.keys()
    assert all((answer in runtime_state.held) != (answered_decision(answer.event) in plan.void) for answer in late)
    executor, _ = replay(harness.function, runtime_state, no_traits)
    assert runtime_state.locks == {}
    executor.close()
    return "rewound"


def _collect_coverage(harness: ExecutorHarness, body: Body) -> set[str]:
    found = {"granted"} if any(isinstance(record.event, ev.EntityLockGranted) for record in harness.records) else set()
    if harness.runtime_state.status == "Failed" and pending.entity_calls(harness.runtime_state):
        found.add("late")
    return found | _verbs(body)


def _verbs(body: Body) -> set[str]:
    inner = [statement[-1] for statement in body if statement[0] in ("lock", "swallow")]
    return {statement[0] for statement in body}.union(*map(_verbs, inner))
