"""The decisions of each method of the context: arrivals in, decisions out, live and replayed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

import durablecli as df
from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.payloads import encode
from durablecli.replay.turn_log import LoggedRecord
from tests.support.executor_harness import START, ExecutorHarness, seconds

Context = df.DurableOrchestrationContext


@df.activity
def count(text: str) -> int:
    return len(text)


def never(context: Context) -> Any:
    yield context.wait_for_external_event("Never")


def make_returning(make: Any) -> Any:
    """An orchestrator that waits for one event and then returns what `make` reads from the context."""

    def flow(context: Context) -> Any:
        before = make(context)
        yield context.wait_for_external_event("Go")
        return [before, make(context)]

    return flow


def test_a_decorated_function_gives_its_name_and_result_type() -> None:
    def flow(context: Context) -> Any:
        value = yield context.call_activity(count, "abc")
        return [value, value + 1]

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ['2 TaskScheduled count "abc"']
    assert harness.complete_task(2, 3) == ["4 ExecutionCompleted Completed [3,4]"]


@pytest.mark.parametrize(
    "call",
    [
        lambda context: context.call_activity(count, "abc", "def"),
        lambda context: context.call_activity("count", "abc", {"more": 1}),
        lambda context: context.call_activity_with_retry("count", df.RetryPolicy(1, 2), "abc", 7),
        lambda context: context.call_sub_orchestrator("flow", 1, expected_type=[1]),
        lambda context: context.call_entity(df.EntityId("counter", "a"), "add", 1, 2),
        lambda context: context.wait_for_external_event("Go", "bool"),
        lambda context: context.get_input("dict"),
    ],
)
def test_a_value_in_place_of_a_type_is_refused(call: Any) -> None:
    def flow(context: Context) -> Any:
        yield call(context)

    assert "expected_type must be a type, not" in ExecutorHarness(flow).error


def test_a_result_that_does_not_fit_its_annotation_fails_the_task() -> None:
    def flow(context: Context) -> Any:
        yield context.call_activity(count, "abc")

    harness = ExecutorHarness(flow)
    harness.complete_task(2, "three")
    assert "int" in harness.error


def test_a_function_of_the_wrong_kind_is_refused_where_it_is_called() -> None:
    def flow(context: Context) -> Any:
        yield context.call_sub_orchestrator(count, 1)

    assert "count" in ExecutorHarness(flow).error


def test_a_failure_is_raised_at_the_yield_as_its_own_type() -> None:
    def flow(context: Context) -> Any:
        try:
            yield context.call_activity("F1")
        except ValueError as error:
            return [isinstance(error, df.TaskFailedError), str(error)]

    harness = ExecutorHarness(flow)
    harness.fail_task(2, "bad luck")
    assert harness.output == [True, "Activity function 'F1' failed: ValueError: bad luck"]


def test_a_failure_that_is_not_caught_fails_the_orchestration_and_names_its_cause() -> None:
    def flow(context: Context) -> Any:
        yield context.call_activity("F1")

    harness = ExecutorHarness(flow)
    assert harness.fail_task(2) == ["4 ExecutionCompleted Failed Activity function 'F1' failed: ValueError: no"]
    assert harness.runtime_state.causes == (3,)


def test_a_wrapped_failure_still_names_its_cause() -> None:
    def flow(context: Context) -> Any:
        try:
            yield context.call_activity("F1")
        except ValueError as error:
            raise RuntimeError("wrapped") from error

    harness = ExecutorHarness(flow)
    harness.fail_task(2)
    assert harness.runtime_state.causes == (3,)


def test_a_sub_orchestration_has_an_id_of_its_own_and_the_version_of_its_parent() -> None:
    def flow(context: Context) -> Any:
        first = yield context.call_sub_orchestrator("child", 1)
        second = yield context.call_sub_orchestrator("child", 2, "given", version="9")
        return [first, second]

    harness = ExecutorHarness(flow, version="3")
    assert harness.first_decisions == ["2 SubOrchestrationInstanceCreated child tour-7:2a:2 1"]
    created = harness.runtime_state.open_decisions[2]
    assert isinstance(created, ev.SubOrchestrationInstanceCreated)
    assert created.version == "3"
    assert harness.complete_child(2, "a") == ["4 SubOrchestrationInstanceCreated child given 2"]
    assert harness.complete_child(4, "b") == ['6 ExecutionCompleted Completed ["a","b"]']


def test_a_sub_orchestration_that_fails_says_so_in_its_own_words() -> None:
    def flow(context: Context) -> Any:
        yield context.call_sub_orchestrator("child", 1)

    harness = ExecutorHarness(flow)
    assert harness.fail_child(2, "sorry") == [
        "4 ExecutionCompleted Failed Orchestrator function 'child' failed: ValueError: sorry",
    ]


@pytest.mark.parametrize("id", ["tour-7", "TOUR-7", "above"])
def test_a_sub_orchestration_cannot_have_the_id_of_its_ancestors(id: str) -> None:
    def flow(context: Context) -> Any:
        yield context.call_sub_orchestrator("child", None, id)

    assert "must be different" in ExecutorHarness(flow, parent=ev.Origin("above", "1", 2)).error


def test_a_retried_call_waits_between_its_attempts() -> None:
    def flow(context: Context) -> Any:
        return (yield context.call_activity_with_retry("F1", df.RetryOptions(5000, 3, 2.0), "x"))

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ['2 TaskScheduled F1 "x"']
    assert harness.fail_task(2) == ["4 TimerCreated +0:00:05 of 2"]
    assert harness.fire_timer(4) == ['6 TaskScheduled F1 "x" of 2']
    assert harness.fail_task(6) == ["8 TimerCreated +0:00:10 of 2"]
    assert harness.fire_timer(8) == ['10 TaskScheduled F1 "x" of 2']
    assert harness.fail_task(10) == ["12 ExecutionCompleted Failed Activity function 'F1' failed: ValueError: no"]
    assert harness.runtime_state.causes == (3, 7, 11)


def test_a_retry_that_succeeds_is_as_good_as_a_first_attempt() -> None:
    def flow(context: Context) -> Any:
        return (yield context.call_activity_with_retry("F1", df.RetryOptions(5000, 3)))

    harness = ExecutorHarness(flow)
    harness.fail_task(2)
    harness.fire_timer(4)
    assert harness.complete_task(6, 1) == ["8 ExecutionCompleted Completed 1"]


def test_a_retry_stops_when_its_timeout_is_over() -> None:
    def flow(context: Context) -> Any:
        policy = df.RetryOptions(5000, 10, retry_timeout_in_milliseconds=7000)
        yield context.call_activity_with_retry("F1", policy)

    harness = ExecutorHarness(flow)
    assert harness.fail_task(2) == ["4 TimerCreated +0:00:05 of 2"]
    harness.fire_timer(4)
    harness.now += seconds(3)
    assert harness.fail_task(6) == ["8 ExecutionCompleted Failed Activity function 'F1' failed: ValueError: no"]


def test_a_retried_sub_orchestration_gets_a_new_instance_each_time() -> None:
    def flow(context: Context) -> Any:
        return (yield context.call_sub_orchestrator_with_retry("child", df.RetryOptions(1000, 2), 1))

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ["2 SubOrchestrationInstanceCreated child tour-7:2a:2 1"]
    assert harness.fail_child(2) == ["4 TimerCreated +0:00:01 of 2"]
    assert harness.fire_timer(4) == ["6 SubOrchestrationInstanceCreated child tour-7:2a:6 1 of 2"]
    assert harness.complete_child(6, 5) == ["8 ExecutionCompleted Completed 5"]


@pytest.mark.parametrize(
    "due", [timedelta(hours=1), START + timedelta(hours=1), (START + timedelta(hours=1)).replace(tzinfo=None)]
)
def test_a_timer_takes_a_while_a_time_and_a_naive_time(due: Any) -> None:
    def flow(context: Context) -> Any:
        yield context.create_timer(due)

    assert ExecutorHarness(flow).first_decisions == ["2 TimerCreated +1:00:00"]


def test_a_timer_can_be_cancelled_once() -> None:
    def flow(context: Context) -> Any:
        timer = context.create_timer(timedelta(hours=1))
        timer.cancel()
        with pytest.raises(ValueError, match="Cannot cancel a completed task"):
            timer.cancel()
        return [timer.is_completed, timer.is_cancelled, timer.is_faulted]
        yield

    harness = ExecutorHarness(flow)
    assert harness.first_decisions[1] == "3 TimerCanceled 2"
    assert harness.output == [True, True, True]


def test_an_event_is_sent_without_waiting() -> None:
    def flow(context: Context) -> Any:
        context.send_event("other", "Hello", {"a": 1})
        yield context.wait_for_external_event("Go")

    assert ExecutorHarness(flow).first_decisions == ['2 EventSent other Hello {"a":1}', "3 EventAwaited Go"]


def test_custom_status_is_kept_and_never_compared() -> None:
    def flow(context: Context) -> Any:
        context.set_custom_status({"step": 1})
        yield context.wait_for_external_event("Go")
        return context.custom_status

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ['2 CustomStatusSet {"step":1}', "3 EventAwaited Go"]
    harness.raise_event("Go")
    assert harness.output == {"step": 1}


def test_custom_status_moves_on_into_the_next_execution() -> None:
    def flow(context: Context) -> Any:
        return context.custom_status

    assert ExecutorHarness(flow, custom_status=encode("from before")).output == "from before"


def test_continue_as_new_ends_the_execution_when_the_function_ends() -> None:
    def flow(context: Context) -> Any:
        assert not context.will_continue_as_new
        context.continue_as_new({"round": 2})
        assert context.will_continue_as_new
        yield context.call_activity("Last")

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ["2 TaskScheduled Last null"]
    assert harness.complete_task(2) == ['4 ContinueAsNew {"round":2}']
    assert harness.executor.ended


def test_unread_events_are_carried_over_in_order() -> None:
    def flow(context: Context) -> Any:
        yield context.wait_for_external_event("Go")
        context.continue_as_new(None)

    harness = ExecutorHarness(flow)
    for name, value in (("A", 1), ("B", 2), ("a", 1), ("B", 2)):
        assert harness.raise_event(name, value) == []
    harness.raise_event("go")
    assert [(event.name, bytes(event.input)) for event in harness.executor.unread_events()] == [
        ("A", b"1"),
        ("B", b"2"),
        ("a", b"1"),
        ("B", b"2"),
    ]


def test_input_is_decoded_by_what_is_expected() -> None:
    def flow(context: Context) -> Any:
        assert context.get_input(datetime) == datetime(2026, 1, 1, tzinfo=UTC)
        return context.get_input()
        yield

    assert ExecutorHarness(flow, "2026-01-01T00:00:00Z").output == "2026-01-01T00:00:00Z"


def test_uuids_are_many_and_always_the_same() -> None:
    seen: list[list[str]] = []

    def flow(context: Context) -> Any:
        found = [context.new_uuid(), str(context.new_guid()), context.new_uuid()]
        seen.append(found)
        yield context.wait_for_external_event("Go")

    ExecutorHarness(flow).raise_event("Go")
    assert all(found == seen[0] for found in seen)
    assert len({*seen[0]}) == 3
    assert all(UUID(each) for each in seen[0])


def test_time_is_constant_within_a_turn() -> None:
    harness = ExecutorHarness(make_returning(lambda context: context.current_utc_datetime.isoformat()))
    harness.now += seconds(90)
    harness.raise_event("Go")
    assert harness.output == ["2026-11-22T09:00:00+00:00", "2026-11-22T09:01:30+00:00"]


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda context: context.instance_id, "tour-7"),
        (lambda context: context.version, "1.2"),
        (lambda context: context.parent_instance_id, "above"),
        (lambda context: context.function_context, {}),
    ],
)
def test_facts(read: Any, expected: Any) -> None:
    harness = ExecutorHarness(make_returning(read), version="1.2", parent=ev.Origin("above", "1", 2))
    harness.raise_event("Go")
    assert harness.output == [expected, expected]


def test_a_history_is_not_for_orchestrators() -> None:
    def flow(context: Context) -> Any:
        yield context.histories

    assert "durable history" in ExecutorHarness(flow).error


def test_is_replaying_is_true_only_for_turns_lived_through_before() -> None:
    lived: list[bool] = []

    def flow(context: Context) -> Any:
        lived.append(context.is_replaying)
        yield context.wait_for_external_event("Go")
        lived.append(context.is_replaying)
        yield context.wait_for_external_event("Go")

    harness = ExecutorHarness(flow, check=False)
    harness.raise_event("Go")
    assert lived == [False, False]
    harness.replay()
    assert lived == [False, False, True, True]


def test_a_log_line_is_kept_once_and_a_replay_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def flow(context: Context) -> Any:
        context.logger.info("hello %s", "you")
        yield context.wait_for_external_event("Go")

    harness = ExecutorHarness(flow)
    (line,) = harness.executor.log_lines
    assert isinstance(line, LoggedRecord)
    assert (line.record.getMessage(), line.logger.name) == ("hello you", "durablecli.orchestrator.tour")
    assert harness.replay().log_lines == []


def test_an_activity_that_is_never_yielded_is_scheduled() -> None:
    def flow(context: Context) -> Any:
        context.call_activity("Fire")
        context.call_sub_orchestrator("Forget")
        return "done"
        yield

    harness = ExecutorHarness(flow)
    assert [each.split()[1] for each in harness.first_decisions] == [
        "TaskScheduled",
        "SubOrchestrationInstanceCreated",
        "ExecutionCompleted",
    ]
    assert harness.runtime_state.open_decisions == {}


def test_a_function_without_a_yield_is_an_orchestrator_too() -> None:
    assert ExecutorHarness(lambda context: [1, 2]).output == [1, 2]


# ── mistakes of authors ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_forgotten_yield_is_reported_when_the_task_is_used() -> None:
    def flow(context: Context) -> Any:
        yield list(context.call_activity("F1"))

    assert "did you forget `yield`" in ExecutorHarness(flow).error


def test_a_returned_task_is_reported() -> None:
    def flow(context: Context) -> Any:
        return context.call_activity("F1")

    assert "did you forget `yield`" in ExecutorHarness(flow).error


@pytest.mark.parametrize(("wrong", "word"), [([1], "task_all"), (5, "int"), (None, "None")])
def test_only_tasks_may_be_yielded(wrong: Any, word: str) -> None:
    def flow(context: Context) -> Any:
        yield wrong

    assert word in ExecutorHarness(flow).error


def test_the_author_may_catch_what_was_wrong_with_a_yield() -> None:
    def flow(context: Context) -> Any:
        try:
            yield [context.call_activity("F1")]
        except TypeError:
            return (yield context.call_activity("F2"))

    harness = ExecutorHarness(flow)
    assert harness.first_decisions == ["2 TaskScheduled F1 null", "3 TaskScheduled F2 null"]


def test_an_asyncio_future_is_refused() -> None:
    class Foreign:
        def __await__(self) -> Any:
            yield "a future of somebody else's loop"

    async def flow(context: Context) -> Any:
        await Foreign()

    assert "context's own tasks" in ExecutorHarness(flow).error


def test_an_async_generator_is_refused() -> None:
    async def flow(context: Context) -> Any:
        yield context.call_activity("F1")

    assert "not both at once" in ExecutorHarness(flow).error


def test_nan_is_refused_with_its_path() -> None:
    def flow(context: Context) -> Any:
        yield context.call_activity("F1", {"a": [float("nan")]})

    assert "$.a[0]" in ExecutorHarness(flow).error


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt("stop"), SystemExit(3), GeneratorExit("now"), BaseException("all")]
)
def test_whatever_a_function_raises_is_its_own_failure(error: BaseException) -> None:
    def flow(context: Context) -> Any:
        yield context.call_activity("F1")
        raise error

    harness = ExecutorHarness(flow)
    harness.complete_task(2)
    assert harness.runtime_state.status == "Failed"


LONE_SURROGATE = "x\ud800"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda context: context.call_activity(LONE_SURROGATE),
        lambda context: context.call_activity("x" * 257),
        lambda context: context.call_sub_orchestrator(LONE_SURROGATE),
        lambda context: context.call_sub_orchestrator("x", version=5),
        lambda context: context.call_sub_orchestrator("x", version=LONE_SURROGATE),
        lambda context: context.call_sub_orchestrator("x", instance_id=LONE_SURROGATE),
        lambda context: context.call_entity("@a@b", LONE_SURROGATE),
        lambda context: context.call_entity("@a@" + LONE_SURROGATE, "x"),
        lambda context: context.signal_entity("@a@b", LONE_SURROGATE),
        lambda context: context.signal_entity("@a@b", "x", at=timedelta.max),
        lambda context: context.signal_entity("@a@b", "x", at=5),
        lambda context: context.wait_for_external_event(LONE_SURROGATE),
        lambda context: context.send_event("x", LONE_SURROGATE),
        lambda context: context.send_event("x", 5),
        lambda context: context.send_event(LONE_SURROGATE, "x"),
        lambda context: context.create_timer(5),
        lambda context: context.create_timer(timedelta.max),
    ],
)
def test_what_no_record_can_hold_is_refused_where_it_is_given(wrong: Any) -> None:
    def flow(context: Context) -> Any:
        try:
            wrong(context)
        except (UsageError, TypeError):
            return "refused"
        yield context.wait_for_external_event("Never")

    assert ExecutorHarness(flow).first_decisions == ['2 ExecutionCompleted Completed "refused"']


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return LONE_SURROGATE

    def __format__(self, _: str) -> str:
        return LONE_SURROGATE


class Moment(datetime):
    """Like the datetimes of libraries that hold more."""


def test_decisions_hold_plain_strings_and_times() -> None:
    def flow(context: Context) -> Any:
        context.call_activity(Word("a"))
        context.call_sub_orchestrator(Word("b"), None, Word("id"), Word("2"))
        context.call_entity(Word("@a@b"), Word("c"))
        context.signal_entity(df.EntityId(Word("a"), Word("b")), Word("d"), at=Moment(2027, 1, 1, tzinfo=UTC))
        context.send_event(Word("x"), Word("e"))
        context.create_timer(Moment(2027, 1, 1, tzinfo=UTC))
        yield context.wait_for_external_event(Word("f"))

    harness = ExecutorHarness(flow)
    kept = [value for record in harness.records[1:] for value in msgspec.structs.astuple(record.event)]
    assert {type(value) for value in kept if isinstance(value, str | datetime)} == {str, datetime}
    assert "".join(value for value in kept if isinstance(value, str) and len(value) == 1) == "ab2cdxef"


class Rude(Exception):
    """Raises for every attribute."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyboardInterrupt


def test_an_exception_that_raises_when_inspected_fails_the_orchestration() -> None:
    def flow(context: Context) -> Any:
        raise Rude

    assert "ExecutionCompleted Failed" in ExecutorHarness(flow).first_decisions[0]


def test_private_names_of_azure_that_apps_use_are_there() -> None:
    def flow(context: Any) -> Any:
        context._custom_status = "set"
        found = [context._input, context._instance_id, context._custom_status, context.custom_status]
        return [*found, context._is_replaying, context._parent_instance_id]
        yield

    harness = ExecutorHarness(flow, {"city": "Tokyo"})
    assert harness.output == ['{"city":"Tokyo"}', "tour-7", "set", "set", False, None]
    assert harness.first_decisions[0] == '2 CustomStatusSet "set"'
    assert ExecutorHarness(flow).output[0] is None
