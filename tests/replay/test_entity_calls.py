"""Calling and signaling entities: decisions, results, and rejected arguments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

import durablecli as df
from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.replay import pending
from durablecli.replay.runtime_state import fold_history
from durablecli.replay.summary import pending_waits
from tests.support.executor_harness import START, ExecutorHarness, format_record, seconds

Context = df.DurableOrchestrationContext
COUNTER = EntityId("Counter", "a")


@dataclass
class Balance:
    amount: int


def test_a_call_waits_for_what_the_operation_returns() -> None:
    def flow(context: Context) -> Any:
        first = yield context.call_entity(COUNTER, "add", 1)
        second = yield context.call_entity("@Counter@a", "get")
        return [first, second]

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ["2 EntityOperationCalled @counter@a add 1"]
    assert harness.complete_operation(2, 5) == ["4 EntityOperationCalled @counter@a get null"]
    assert harness.complete_operation(4, 6) == ["6 ExecutionCompleted Completed [5,6]"]


def test_a_result_is_built_by_the_expected_type() -> None:
    def flow(context: Context) -> Any:
        balance = yield context.call_entity("@account@a", "get", expected_type=Balance)
        return isinstance(balance, Balance) and balance.amount

    harness = ExecutorHarness(flow)
    harness.complete_operation(2, {"amount": 7})
    assert harness.output == 7


def test_azures_names_of_parameters_are_kept() -> None:
    def flow(context: Context) -> Any:
        context.signal_entity(entityId=COUNTER, operationName="add", operationInput=1)
        yield context.call_entity(entityId=COUNTER, operationName="add", operationInput=2)

    assert ExecutorHarness(flow).first_decisions == [
        "2 EntityOperationSignaled @counter@a add 1",
        "3 EntityOperationCalled @counter@a add 2",
    ]


def test_a_failed_operation_is_raised_at_the_yield_as_its_own_type() -> None:
    def flow(context: Context) -> Any:
        try:
            yield context.call_entity("@account@a", "withdraw", 5)
        except ValueError as error:
            return [isinstance(error, df.TaskFailedError), str(error)]

    harness = ExecutorHarness(flow)
    harness.fail_operation(2, "too little")
    assert harness.output == [True, "Operation 'withdraw' of entity @account@a failed: ValueError: too little"]


def test_a_failure_that_is_not_caught_is_the_cause_of_the_end() -> None:
    def flow(context: Context) -> Any:
        yield context.call_entity("@account@a", "withdraw", 5)

    harness = ExecutorHarness(flow)
    harness.fail_operation(2)
    assert (harness.runtime_state.status, harness.runtime_state.causes) == ("Failed", (3,))


def test_calls_are_tasks_like_all_others() -> None:
    def flow(context: Context) -> Any:
        calls = [context.call_entity(f"@counter@{key}", "add", 1) for key in "ab"]
        first = yield context.task_any([*calls, context.create_timer(timedelta(1))])
        both = yield context.task_all(calls)
        return [calls.index(first), both]

    harness = ExecutorHarness(flow)
    harness.complete_operation(3, "b")
    harness.complete_operation(2, "a")
    assert harness.output == [1, ["a", "b"]]


@pytest.mark.parametrize(
    ("at", "due"),
    [
        (None, None),
        (timedelta(seconds=90), START + seconds(90)),
        (datetime(2026, 11, 23, 9), datetime(2026, 11, 23, 9, tzinfo=UTC)),  # noqa: DTZ001 - naive on purpose
        (datetime(2026, 11, 23, 9, tzinfo=timezone(timedelta(hours=2))), datetime(2026, 11, 23, 7, tzinfo=UTC)),
    ],
    ids=["now", "after a while", "naive", "elsewhere"],
)
def test_a_signal_waits_for_nothing_and_may_be_for_later(at: Any, due: datetime | None) -> None:
    def flow(context: Context) -> Any:
        return context.signal_entity(COUNTER, "add", 3, at=at)

    harness = ExecutorHarness(flow)
    assert harness.first_decisions[0] == "2 EntityOperationSignaled @counter@a add 3"
    signaled = harness.records[1].event
    assert isinstance(signaled, ev.EntityOperationSignaled)
    assert signaled.scheduled_time == due
    assert harness.output is None


@pytest.mark.parametrize("wrong", ["counter", "@counter", "@@a", "@counter@", "", 7, None, Balance, print])
def test_what_names_no_entity_is_refused_with_what_does(wrong: Any) -> None:
    def flow(context: Context) -> Any:
        told = []
        for use in (context.call_entity, context.signal_entity):
            with pytest.raises(UsageError, match="@name@key, for example @counter@a"):
                use(wrong, "add")
            told.append(1)
        return told

    assert ExecutorHarness(flow).first_decisions == ["2 ExecutionCompleted Completed [1,1]"]


@pytest.mark.parametrize("wrong", [5, None, Balance])
def test_an_operation_is_named_by_a_string(wrong: Any) -> None:
    def flow(context: Context) -> Any:
        for use in (context.call_entity, context.signal_entity):
            with pytest.raises(ValueError, match="operation"):
                use(COUNTER, wrong)

    assert ExecutorHarness(flow).first_decisions == ["2 ExecutionCompleted Completed null"]


def test_an_input_that_json_cannot_hold_is_refused_with_its_path() -> None:
    def flow(context: Context) -> Any:
        with pytest.raises(UsageError, match=r"\$\.a"):
            context.call_entity(COUNTER, "add", {"a": float("nan")})
        with pytest.raises(UsageError, match=r"\$\.a"):
            context.signal_entity(COUNTER, "add", {"a": float("nan")})

    assert ExecutorHarness(flow).first_decisions == ["2 ExecutionCompleted Completed null"]


# ── the runtime state meanwhile ──────────────────────────────────────────────────────────────────────────────────────


def calls_one(context: Context) -> Any:
    return (yield context.call_entity(COUNTER, "add", 1))


def test_an_open_call_is_a_wait_and_no_pending_work() -> None:
    harness = ExecutorHarness(calls_one)
    [waiting] = pending_waits(harness.runtime_state)
    assert (waiting.kind, waiting.id, waiting.name, waiting.entity) == ("entity", 2, "add", "@counter@a")
    assert [n for n, _ in pending.entity_calls(harness.runtime_state)] == [2]
    assert not pending.has_pending_work(harness.runtime_state)


def test_an_outcome_is_taken_once_and_only_by_the_call_that_it_answers() -> None:
    harness = ExecutorHarness(calls_one)
    assert not harness.runtime_state.accepts(ev.EntityOperationCompleted(1))
    assert not harness.runtime_state.accepts(ev.TaskCompleted(2))
    assert not harness.runtime_state.accepts(ev.EntityLockGranted(2))
    assert harness.runtime_state.accepts(ev.EntityOperationCompleted(2))
    harness.complete_operation(2)
    assert not harness.runtime_state.accepts(ev.EntityOperationFailed(2, harness.runtime_state.failure))  # type: ignore[arg-type]


def fails_meanwhile(context: Context) -> Any:
    call = context.call_entity(COUNTER, "add", 1)
    yield context.call_activity("F1")
    return (yield call)


def test_a_failed_execution_still_takes_the_outcome_of_a_call_once() -> None:
    harness = ExecutorHarness(fails_meanwhile)
    harness.fail_task(3)
    assert harness.runtime_state.status == "Failed"
    assert pending_waits(harness.runtime_state) == ()
    late = ev.EntityOperationCompleted(2)
    assert harness.runtime_state.accepts(late)
    assert harness.runtime_state.must_hold
    harness.add_held(late)
    assert not harness.runtime_state.accepts(late)
    assert fold_history(harness.records).open_decisions == harness.runtime_state.open_decisions == {}


@pytest.mark.parametrize("status", ["Completed", "Terminated"])
def test_all_others_that_have_ended_take_none(status: str) -> None:
    harness = ExecutorHarness(fails_meanwhile)
    harness.runtime_state.apply(ev.Record(4, START, ev.ExecutionCompleted(status)))
    assert not harness.runtime_state.accepts(ev.EntityOperationCompleted(2))
    assert pending.entity_calls(harness.runtime_state) == []


def test_a_held_outcome_counts_when_it_is_released() -> None:
    harness = ExecutorHarness(calls_one)
    held = harness.add_held(ev.EntityOperationCompleted(2))
    assert pending.entity_calls(harness.runtime_state) == []
    assert harness.release_held(held) == ["5 ExecutionCompleted Completed null"]


def test_a_generator_and_a_coroutine_decide_the_same() -> None:
    def generator(context: Context) -> Any:
        context.signal_entity(COUNTER, "add", {"b", "a"})
        value = yield context.call_entity(COUNTER, "get")
        return value

    async def coroutine(context: Context) -> Any:
        context.signal_entity(COUNTER, "add", {"b", "a"})
        return await context.call_entity(COUNTER, "get")

    def drive(flow: Any) -> list[str]:
        harness = ExecutorHarness(flow)
        harness.complete_operation(3, 1)
        return [format_record(record) for record in harness.records]

    assert drive(generator) == drive(coroutine)
