"""Code that differs from its history: the error shows the first difference, with both sides and the line."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.model import events as ev
from durablecli.replay import decision_log
from durablecli.replay.errors import NonDeterminismError, TooManyDecisions
from durablecli.replay.replay import create_executor, replay
from durablecli.replay.runtime_state import fold_history
from tests.support.executor_harness import START, ExecutorHarness, no_traits

Context = df.DurableOrchestrationContext


def before(context: Context) -> Any:
    yield context.call_activity("F1", 1)
    yield context.wait_for_external_event("E")


def other_name(context: Context) -> Any:
    yield context.call_activity("F9", 1)


def other_kind(context: Context) -> Any:
    yield context.create_timer(timedelta(1))


def one_missing(context: Context) -> Any:
    yield context.call_activity("F1")
    yield context.task_all([])


def ends_early(context: Context) -> Any:
    yield context.call_activity("F1")


def one_more(context: Context) -> Any:
    yield context.call_activity("F1")
    context.call_activity("F2")
    yield context.wait_for_external_event("E")


def one_more_behind(context: Context) -> Any:
    yield context.call_activity("F1")
    context.wait_for_external_event("E")
    yield context.call_activity("F2")


def fails_now(context: Context) -> Any:
    yield context.call_activity("F1")
    raise ValueError(f"a new bug\n in {object()}")


@dataclass
class Gained:
    x: int
    y: int


def field_gained(context: Context) -> Any:
    yield context.call_activity("F1", expected_type=Gained)


TABLE = [
    (other_name, "at record 2", "TaskScheduled F1", "TaskScheduled F9"),
    (other_kind, "at record 2", "TaskScheduled F1", "TimerCreated"),
    (one_missing, "at record 4", "EventAwaited E", "ExecutionCompleted"),
    (ends_early, "at record 4", "EventAwaited E", "ExecutionCompleted"),
    (one_more, "at record 4", "EventAwaited E", "TaskScheduled F2"),
    (one_more_behind, "which ends here", "nothing more", "TaskScheduled F2"),
    (fails_now, "at record 4", "EventAwaited E", "ExecutionCompleted Failed: a new bug in <object object>"),
    (field_gained, "at record 4", "EventAwaited E", "ExecutionCompleted Failed: $: Object missing required field `y`"),
]


def history() -> list[ev.Record]:
    harness = ExecutorHarness(before)
    harness.complete_task(2, {"x": 1})
    return harness.records


@pytest.mark.parametrize(("now", "where", "then", "decides"), TABLE, ids=lambda each: getattr(each, "__name__", None))
def test_the_first_difference_is_shown(now: Any, where: str, then: str, decides: str) -> None:
    with pytest.raises(NonDeterminismError) as caught:
        replay(now, fold_history(history()), no_traits)
    text = str(caught.value)
    assert where in text
    assert f"history  {then}\n" in text
    assert f"now      {decides}" in text


def entities(context: Context) -> Any:
    context.signal_entity("@log@x", "note")
    with (yield context.lock_entities(["@account@a", "@account@b"])):
        yield context.call_entity("@account@a", "add", 1)


def signals_another(context: Context) -> Any:
    context.signal_entity("@log@y", "note")
    yield context.lock_entities(["@account@a", "@account@b"])


def signals_another_operation(context: Context) -> Any:
    context.signal_entity("@log@x", "clear")
    yield context.lock_entities(["@account@a", "@account@b"])


def locks_others(context: Context) -> Any:
    context.signal_entity("@log@x", "note")
    yield context.lock_entities(["@account@a", "@account@c"])


def calls_another(context: Context) -> Any:
    context.signal_entity("@log@x", "note")
    with (yield context.lock_entities(["@account@a", "@account@b"])):
        yield context.call_entity("@account@b", "add", 1)


def calls_another_operation(context: Context) -> Any:
    context.signal_entity("@log@x", "note")
    with (yield context.lock_entities(["@account@a", "@account@b"])):
        yield context.call_entity("@account@a", "get")


def leaves_early(context: Context) -> Any:
    context.signal_entity("@log@x", "note")
    with (yield context.lock_entities(["@account@a", "@account@b"])):
        pass
    yield context.call_entity("@account@a", "add", 1)


SIGNAL = "EntityOperationSignaled note of @log@x"
REQUEST = "EntityLockRequested @account@a, @account@b"
CALL = "EntityOperationCalled add of @account@a"
OTHERS = [
    (signals_another, 2, SIGNAL, "EntityOperationSignaled note of @log@y"),
    (signals_another_operation, 2, SIGNAL, "EntityOperationSignaled clear of @log@x"),
    (locks_others, 3, REQUEST, "EntityLockRequested @account@a, @account@c"),
    (calls_another, 5, CALL, "EntityOperationCalled add of @account@b"),
    (calls_another_operation, 5, CALL, "EntityOperationCalled get of @account@a"),
    (leaves_early, 5, CALL, "EntityUnlockSent"),
]


@pytest.mark.parametrize(("now", "n", "then", "decides"), OTHERS, ids=lambda each: getattr(each, "__name__", None))
def test_another_entity_is_another_decision(now: Any, n: int, then: str, decides: str) -> None:
    harness = ExecutorHarness(entities)
    harness.grant_lock(3)
    with pytest.raises(NonDeterminismError) as caught:
        replay(now, fold_history(harness.records), no_traits)
    text = str(caught.value)
    assert f"at record {n}\nhistory  {then}\nnow      {decides} (" in text


def test_the_case_of_names_and_what_is_sent_to_an_entity_are_not_compared() -> None:
    def alike(context: Context) -> Any:
        context.signal_entity("@LOG@x", "Note", [1])
        with (yield context.lock_entities(["@Account@b", "@account@a"])):
            yield context.call_entity("@ACCOUNT@a", "ADD", 2)

    harness = ExecutorHarness(entities)
    harness.grant_lock(3)
    replay(alike, fold_history(harness.records), no_traits)[0].close()


def test_the_line_is_that_of_the_current_yield() -> None:
    with pytest.raises(NonDeterminismError) as caught:
        replay(one_more, fold_history(history()), no_traits)
    code = one_more.__code__
    assert f"{code.co_filename}:{code.co_firstlineno + 2})" in str(caught.value)


def test_decisions_that_the_code_does_not_make_any_more_are_found() -> None:
    def fewer(context: Context) -> Any:
        yield context.wait_for_external_event("Never")

    with pytest.raises(NonDeterminismError, match="EventAwaited"):
        replay(fewer, fold_history(history()), no_traits)

    def stops(context: Context) -> Any:
        yield context.task_any([context.call_activity("F1"), context.wait_for_external_event("Never")])

    with pytest.raises(NonDeterminismError, match="at record 4"):
        replay(stops, fold_history(history()), no_traits)


def test_a_decision_that_is_missing_at_the_end_is_found() -> None:
    harness = ExecutorHarness(one_more_behind)
    harness.complete_task(2)
    with pytest.raises(NonDeterminismError) as caught:
        replay(before, fold_history(harness.records), no_traits)
    assert "history  TaskScheduled F2\nnow      nothing more" in str(caught.value)


def test_inputs_due_times_and_custom_statuses_are_not_compared() -> None:
    def old(context: Context) -> Any:
        context.set_custom_status("old")
        context.create_timer(timedelta(hours=1))
        yield context.call_activity("f1", 1)

    def new(context: Context) -> Any:
        context.create_timer(timedelta(hours=2))
        yield context.call_activity("F1", 2)

    executor, decisions = replay(new, fold_history(ExecutorHarness(old).records), no_traits)
    assert decisions == []
    executor.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_except_swallows_a_non_determinism_error() -> None:
    def stubborn(context: Context) -> Any:
        while True:
            try:
                yield context.call_activity("F9")
            except:  # noqa: E722 - what authors write
                context.set_custom_status("once more")

    with pytest.raises(NonDeterminismError):
        replay(stubborn, fold_history(history()), no_traits)
    gc.collect()  # Python tells of a generator that refuses to end when it collects it


def test_an_except_that_decides_differently_does_not_hide_the_error() -> None:
    def sly(context: Context) -> Any:
        try:
            yield context.call_activity("F9")
        except BaseException:  # noqa: BLE001 - what authors write
            return "all is well"

    with pytest.raises(NonDeterminismError, match="F9"):
        replay(sly, fold_history(history()), no_traits)


@pytest.mark.parametrize("what", ["call_activity", "set_custom_status"])
def test_a_turn_without_end_is_stopped(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "MAX_DECISIONS", 100)

    def runaway(context: Context) -> Any:
        while True:
            getattr(context, what)("more")
        yield

    start = ev.ExecutionStarted("i", "1", "runaway")
    executor = create_executor(runaway, start, no_traits)
    with pytest.raises(TooManyDecisions, match="without a yield"):
        executor.apply(ev.Record(1, START, start), START, 2)


def test_an_incomplete_turn_is_completed() -> None:
    def flow(context: Context) -> Any:
        tasks = [context.call_activity("F", i) for i in range(4)]
        context.set_custom_status("all sent")
        yield context.task_all(tasks)

    whole = ExecutorHarness(flow).records
    for cut in range(1, len(whole)):
        executor, decisions = replay(flow, fold_history(whole[:cut]), no_traits, incomplete=True)
        assert [record.event for record in [*whole[:cut], *decisions]] == [record.event for record in whole]
        assert [record.n for record in decisions] == list(range(cut + 1, len(whole) + 1))
        executor.close()
    with pytest.raises(NonDeterminismError, match="nothing more"):
        replay(flow, fold_history(whole[:3]), no_traits)


# ── changed code whose decisions come later than their outcomes in the history, or not at all ────────────────────────

RETRY = df.RetryPolicy(timedelta(seconds=1), 3)


def fail_and_retry(harness: ExecutorHarness) -> None:
    harness.fail_task(3)
    harness.fire_timer(5)
    harness.complete_task(7, "x")


LATE: dict[str, tuple[Any, Any]] = {
    "activity": (lambda context: context.call_activity("X"), lambda harness: harness.complete_task(3, "x")),
    "failed activity": (lambda context: context.call_activity("X"), lambda harness: harness.fail_task(3)),
    "retried activity": (lambda context: context.call_activity_with_retry("X", RETRY), fail_and_retry),
    "child": (lambda context: context.call_sub_orchestrator("X"), lambda harness: harness.complete_child(3, "x")),
    "timer": (lambda context: context.create_timer(timedelta(hours=1)), lambda harness: harness.fire_timer(3)),
    "event": (lambda context: context.wait_for_external_event("X"), lambda harness: harness.raise_event("X", "x")),
    "operation": (lambda context: context.call_entity(A, "get"), lambda harness: harness.complete_operation(3, "x")),
    "lock": (lambda context: context.lock_entities([A]), lambda harness: harness.grant_lock(3)),
}
A = "@account@a"


@pytest.mark.parametrize("kind", LATE)
def test_the_recorded_outcome_is_used_when_its_decision_comes_later(kind: str) -> None:
    make, settle = LATE[kind]

    def end(context: Context, task: Any) -> Any:
        try:
            yield task
        except ValueError:
            yield context.call_activity("Failed")
        if context.get_input() == "wait":
            yield context.call_activity("Last")
        return "done"

    def early(context: Context) -> Any:
        gate, task = context.call_activity("Gate"), make(context)
        yield gate
        yield from end(context, task)

    def late(context: Context) -> Any:
        yield context.call_activity("Gate")
        yield from end(context, make(context))

    harness = ExecutorHarness(early, "wait")
    settle(harness)
    with pytest.raises(NonDeterminismError, match="at record 3"):
        replay(late, fold_history(harness.records), no_traits)
    harness.complete_task(2)
    executor, decisions = replay(late, fold_history(harness.records), no_traits)
    assert decisions == []
    assert executor.pending_decisions == set(fold_history(harness.records).open_decisions)
    (last,) = harness.runtime_state.open_decisions
    decided = executor.apply(ev.Record(99, harness.now, ev.TaskCompleted(last)), harness.now, 100)
    assert decided, "it goes on"
    executor.close()


@pytest.mark.parametrize("kind", LATE)
def test_a_decision_that_is_dropped_is_found_whether_its_outcome_has_come_or_not(kind: str) -> None:
    make, settle = LATE[kind]

    def before(context: Context) -> Any:
        gate = context.call_activity("Gate")
        make(context)
        yield gate
        yield context.wait_for_external_event("Last")

    def after(context: Context) -> Any:
        yield context.call_activity("Gate")
        yield context.wait_for_external_event("Last")

    def at_the_end(context: Context) -> Any:
        yield context.call_activity("Gate")
        yield context.create_timer(timedelta(days=1))
        yield make(context)

    for come in (False, True):
        harness = ExecutorHarness(before, check=kind != "failed activity")
        if come:
            settle(harness)
        for changed in (after, at_the_end):
            with pytest.raises(NonDeterminismError, match="at record 3"):
                replay(changed, fold_history(harness.records), no_traits)
        harness.complete_task(2)
        with pytest.raises(NonDeterminismError, match="at record 3"):
            replay(after, fold_history(harness.records), no_traits)


def test_another_timer_that_is_cancelled_is_another_decision() -> None:
    def first(context: Context) -> Any:
        timers = [context.create_timer(timedelta(hours=1)) for _ in range(2)]
        timers[0].cancel()
        yield timers[1]

    def second(context: Context) -> Any:
        timers = [context.create_timer(timedelta(hours=1)) for _ in range(2)]
        timers[1].cancel()
        yield timers[0]

    with pytest.raises(NonDeterminismError) as caught:
        replay(second, fold_history(ExecutorHarness(first).records), no_traits)
    assert "history  TimerCanceled of record 2\nnow      TimerCanceled of record 3 (" in str(caught.value)


def test_what_would_wait_for_an_outcome_that_cannot_come_is_refused() -> None:
    def flow(context: Context) -> Any:
        yield context.call_activity("F")

    records = ExecutorHarness(flow).records
    runtime_state = fold_history(records)
    del runtime_state.open_decisions[2]
    with pytest.raises(NonDeterminismError) as caught:
        replay(flow, runtime_state, no_traits)
    assert "history  TaskScheduled F\nnow      waits for its outcome, which can't come any more (" in str(caught.value)


def test_the_text_says_what_to_do() -> None:
    with pytest.raises(NonDeterminismError, match="restore the code that this instance began with"):
        replay(other_name, fold_history(history()), no_traits)
