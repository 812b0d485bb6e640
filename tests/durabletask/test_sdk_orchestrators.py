"""Orchestrators that are written for the `durabletask` SDK run on this engine, live and replayed at each turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask import task

import durablecli as df
from durablecli import testing
from durablecli.client import DurableOrchestrationStatus
from durablecli.model.events import TaskScheduled
from durablecli.testing import TestEnvironment

SOON = timedelta(seconds=5)
attempts: dict[str, int] = {}


@dataclass
class Order:
    item: str
    count: int


def double(ctx: task.ActivityContext, number: int) -> int:
    return number * 2


def restock(ctx: task.ActivityContext, order: Order) -> Order:
    assert type(order) is Order
    return Order(order.item, order.count + 1)


def whoami(ctx: task.ActivityContext, _: Any) -> list[Any]:
    return [ctx.orchestration_id, ctx.task_id]


def explode(ctx: task.ActivityContext, text: str) -> None:
    raise KeyError(text)


def flaky(ctx: task.ActivityContext, failures: int) -> int:
    attempts[ctx.orchestration_id] = attempts.get(ctx.orchestration_id, 0) + 1
    if attempts[ctx.orchestration_id] <= failures:
        raise OSError("not yet")
    return attempts[ctx.orchestration_id]


ACTIVITIES = (double, restock, whoami, explode, flaky)


@pytest.fixture(autouse=True)
def forget_attempts() -> None:
    attempts.clear()


def run(function: Any, input: Any = None, *more: Any, replay_always: bool) -> DurableOrchestrationStatus:
    with testing.hub(function, *ACTIVITIES, *more, replay_always=replay_always) as hub:
        id = hub.client.start_new(function.__name__, client_input=input)
        return hub.finish(id)


def output(function: Any, input: Any = None, *more: Any, replay_always: bool) -> Any:
    status = run(function, input, *more, replay_always=replay_always)
    assert status.runtime_status is not None
    assert status.runtime_status.name == "Completed", status.output
    return status.output


def failure(function: Any, input: Any = None, *more: Any, replay_always: bool) -> str:
    status = run(function, input, *more, replay_always=replay_always)
    assert status.runtime_status is not None
    assert status.runtime_status.name == "Failed", status.output
    return str(status.output)


# ── calls and their results ──────────────────────────────────────────────────────────────────────────────────────────


def test_a_chain_of_calls(replay_always: bool) -> None:
    def chain(ctx: task.OrchestrationContext, start: int) -> Any:
        for _ in range(3):
            start = yield ctx.call_activity(double, input=start)
        return [start, ctx.version, ctx.parent_instance_id, ctx.current_utc_datetime.tzinfo]

    assert output(chain, 1, replay_always=replay_always) == [8, None, None, None]


def test_functions_called_by_name(replay_always: bool) -> None:
    def by_name(ctx: task.OrchestrationContext, _: Any) -> Any:
        return (yield ctx.call_activity("double", input=4))

    assert output(by_name, replay_always=replay_always) == 8


def test_a_function_that_does_not_yield(replay_always: bool) -> None:
    def plain(ctx: task.OrchestrationContext, order: Order) -> Order:
        return Order(order.item, ctx.is_replaying + 1)

    assert output(plain, {"item": "pen", "count": 0}, replay_always=replay_always) == {"item": "pen", "count": 1}


def test_inputs_and_results_are_built_by_their_annotations(replay_always: bool) -> None:
    def typed(ctx: task.OrchestrationContext, order: Order) -> Any:
        assert type(order) is Order
        order = yield ctx.call_activity(restock, input=order)
        assert type(order) is Order
        plain = yield ctx.call_activity("restock", input=order)
        assert plain == {"item": "pen", "count": 3}
        order = yield ctx.call_activity("restock", input=order, return_type=Order)
        return order

    assert output(typed, Order("pen", 1), replay_always=replay_always) == {"item": "pen", "count": 3}


def test_input_that_does_not_fit_stays_plain_json(replay_always: bool) -> None:
    def lenient(ctx: task.OrchestrationContext, order: Order) -> Any:
        yield ctx.create_timer(SOON)
        return order

    assert output(lenient, {"wrong": 1}, replay_always=replay_always) == {"wrong": 1}


def test_an_activity_knows_its_call(replay_always: bool) -> None:
    def identify(ctx: task.OrchestrationContext, _: Any) -> Any:
        found = yield ctx.call_activity(whoami)
        return [found[0] == ctx.instance_id, isinstance(found[1], int)]

    assert output(identify, replay_always=replay_always) == [True, True]


def test_tags_of_a_call_are_recorded(replay_always: bool) -> None:
    def tagging(ctx: task.OrchestrationContext, _: Any) -> Any:
        return (yield ctx.call_activity(double, input=1, tags={"zone": "eu"}))

    with testing.hub(tagging, *ACTIVITIES, replay_always=replay_always) as hub:
        id = hub.client.start_new("tagging")
        assert hub.finish(id).output == 2
        tags = [record.event.tags for record in hub.client.get_history(id) if isinstance(record.event, TaskScheduled)]
    assert tags == [{"zone": "eu"}]


def test_thousands_of_calls(replay_always: bool) -> None:
    def crowd(ctx: task.OrchestrationContext, count: int) -> Any:
        return sum((yield task.when_all([ctx.call_activity(double, input=1) for _ in range(count)])))

    count = 30 if replay_always else 3_000
    assert output(crowd, count, replay_always=replay_always) == 2 * count


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_failed_call_is_raised_with_its_details(replay_always: bool) -> None:
    def careful(ctx: task.OrchestrationContext, _: Any) -> Any:
        try:
            yield ctx.call_activity(explode, input="bang")
        except task.TaskFailedError as error:
            details = error.details
            return [
                str(error).removeprefix(ctx.instance_id),
                details.error_type,
                details.message,
                "explode" in (details.stack_trace or ""),
                details.is_caused_by(KeyError),
                details.is_caused_by(LookupError),
                details.is_caused_by(OSError),
            ]

    text = ": Activity task #1 failed: 'bang'"
    assert output(careful, replay_always=replay_always) == [
        text,
        "builtins.KeyError",
        "'bang'",
        True,
        True,
        True,
        False,
    ]


def test_a_failure_that_is_not_caught_names_its_cause(replay_always: bool) -> None:
    def careless(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield ctx.call_activity(explode, input="bang")

    with testing.hub(careless, *ACTIVITIES, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new("careless", "c"))
    assert status.output == "TaskFailedError: c: Activity task #1 failed: 'bang'"
    report = status.failure
    assert report is not None
    assert (report.type, report.message) == ("KeyError", "'bang'")
    assert report.at is not None
    assert [report.at.function, *[line.function for line in report.awaited_at]] == ["explode", "careless"]
    assert "durablecli/" not in report.traceback.replace(__file__, "")


def test_a_failed_sub_orchestration(replay_always: bool) -> None:
    def child(ctx: task.OrchestrationContext, _: Any) -> Any:
        raise RuntimeError("the child has failed")

    def parent(ctx: task.OrchestrationContext, _: Any) -> Any:
        try:
            yield ctx.call_sub_orchestrator(child)
        except task.TaskFailedError as error:
            return [str(error), error.details.error_type]

    assert output(parent, None, child, replay_always=replay_always) == [
        "Sub-orchestration task #1 failed: the child has failed",
        "builtins.RuntimeError",
    ]


def test_retries_until_it_succeeds(replay_always: bool) -> None:
    policy = task.RetryPolicy(first_retry_interval=SOON, max_number_of_attempts=3, backoff_coefficient=2)

    def patient(ctx: task.OrchestrationContext, failures: int) -> Any:
        begun = ctx.current_utc_datetime
        found = yield ctx.call_activity(flaky, input=failures, retry_policy=policy)
        return [found, (ctx.current_utc_datetime - begun).total_seconds()]

    assert output(patient, 2, replay_always=replay_always) == [3, 15]
    attempts.clear()
    assert "not yet" in failure(patient, 3, replay_always=replay_always)
    assert list(attempts.values()) == [3]


def test_retries_of_a_sub_orchestration(replay_always: bool) -> None:
    def unreliable(ctx: task.OrchestrationContext, _: Any) -> Any:
        if (yield ctx.call_activity(double, input=1)) == 2 and ctx.parent_instance_id == "p":
            raise OSError("down")

    def retrying(ctx: task.OrchestrationContext, _: Any) -> Any:
        policy = task.RetryPolicy(first_retry_interval=SOON, max_number_of_attempts=2)
        yield ctx.call_sub_orchestrator(unreliable, retry_policy=policy)

    with testing.hub(retrying, unreliable, *ACTIVITIES, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new("retrying", "p"))
        assert len(hub.client.get_status_by()) == 3
    assert status.output == "TaskFailedError: Sub-orchestration task #1 failed: down"
    assert status.failure is not None
    assert (status.failure.type, status.failure.message) == ("OSError", "down")


# ── when_all and when_any ────────────────────────────────────────────────────────────────────────────────────────────


def test_when_all_keeps_the_order(replay_always: bool) -> None:
    def fan_out(ctx: task.OrchestrationContext, count: int) -> Any:
        found = yield task.when_all([ctx.call_activity(double, input=number) for number in range(count)])
        return [found, (yield task.when_all([]))] if count else found

    assert output(fan_out, 4, replay_always=replay_always) == [[0, 2, 4, 6], []]


def test_when_all_waits_for_all_before_it_fails(replay_always: bool) -> None:
    def mixed(ctx: task.OrchestrationContext, _: Any) -> Any:
        slow = ctx.create_timer(SOON)
        both = task.when_all([ctx.call_activity(explode, input="bang"), slow])
        try:
            yield both
        except task.TaskFailedError as error:
            return [slow.is_complete, both.is_failed, error.details.message]

    assert output(mixed, replay_always=replay_always) == [True, True, "'bang'"]


def test_when_any_gives_the_first_task(replay_always: bool) -> None:
    def race(ctx: task.OrchestrationContext, _: Any) -> Any:
        late, early = ctx.create_timer(timedelta(hours=1)), ctx.create_timer(SOON)
        winner = yield task.when_any([late, early])
        failed = yield task.when_any([ctx.call_activity(explode, input="bang"), late])
        return [winner is early, late.is_complete, failed.is_failed, str(failed.get_exception().details.message)]

    assert output(race, replay_always=replay_always) == [True, False, True, "'bang'"]


def test_composites_of_composites(replay_always: bool) -> None:
    def nested(ctx: task.OrchestrationContext, _: Any) -> Any:
        shared = ctx.call_activity(double, input=3)
        racing: list[task.Task[Any]] = [shared, ctx.create_timer(SOON)]
        joined: list[task.Task[Any]] = [task.when_any(racing), task.when_all([shared, shared])]
        winner, pair = yield task.when_all(joined)
        return [winner.get_result(), pair]

    assert output(nested, replay_always=replay_always) == [6, [6, 6]]


def test_a_cancelled_timer_wins_and_raises_when_it_is_asked(replay_always: bool) -> None:
    def cancelling(ctx: task.OrchestrationContext, _: Any) -> Any:
        timer = ctx.create_timer(timedelta(days=1))
        again: list[Any] = [timer.cancel(), timer.cancel(), timer.is_cancelled, timer.is_failed]
        try:
            yield timer
        except task.TaskCancelledError:
            again.append("cancelled")
        return [*again, (yield ctx.call_activity(double, input=1))]

    assert output(cancelling, replay_always=replay_always) == [True, False, True, False, "cancelled", 2]


def test_when_all_with_a_cancelled_task_raises(replay_always: bool) -> None:
    def stuck(ctx: task.OrchestrationContext, _: Any) -> Any:
        timer = ctx.create_timer(timedelta(days=1))
        tasks: list[task.Task[Any]] = [timer, ctx.call_activity(double, input=1)]
        both = task.when_all(tasks)
        timer.cancel()
        yield both

    assert "cancelled" in failure(stuck, replay_always=replay_always)


# ── timers, events, continue_as_new ──────────────────────────────────────────────────────────────────────────────────


def test_timers_at_a_time_and_after_a_duration(replay_always: bool) -> None:
    def sleepy(ctx: task.OrchestrationContext, _: Any) -> Any:
        begun = ctx.current_utc_datetime
        yield ctx.create_timer(begun + timedelta(days=10))
        yield ctx.create_timer(timedelta(hours=1))
        return (ctx.current_utc_datetime - begun).total_seconds()

    assert output(sleepy, replay_always=replay_always) == 10 * 86_400 + 3600


@pytest.fixture
def event_hub(replay_always: bool) -> Iterator[TestEnvironment]:
    with testing.hub(collect, lost_wait, cancelled_wait, approve, *ACTIVITIES, replay_always=replay_always) as hub:
        yield hub


def collect(ctx: task.OrchestrationContext, count: int) -> Any:
    found = []
    for _ in range(count):
        found.append((yield ctx.wait_for_external_event("A")))
    return found


def lost_wait(ctx: task.OrchestrationContext, _: Any) -> Any:
    first = ctx.wait_for_external_event("a")
    yield task.when_any([first, ctx.create_timer(SOON)])
    second = yield ctx.wait_for_external_event("a")
    return [first.get_result(), second]


def cancelled_wait(ctx: task.OrchestrationContext, _: Any) -> Any:
    first = ctx.wait_for_external_event("a")
    yield task.when_any([first, ctx.create_timer(SOON)])
    first.cancel()
    return (yield ctx.wait_for_external_event("a"))


def approve(ctx: task.OrchestrationContext, _: Any) -> Any:
    approval = ctx.wait_for_external_event("approval", data_type=Order)
    timeout = ctx.create_timer(timedelta(days=1))
    if (yield task.when_any([approval, timeout])) is timeout:
        return "timed out"
    timeout.cancel()
    order = approval.get_result()
    assert type(order) is Order
    return order


def start(hub: TestEnvironment, function: Any, input: Any = None) -> str:
    id = hub.client.start_new(function.__name__, client_input=input)
    hub.run()
    return id


def test_events_in_their_order_ignoring_case(event_hub: TestEnvironment) -> None:
    id = start(event_hub, collect, 3)
    for number in range(3):
        event_hub.client.raise_event(id, "Aa"[number % 2], number)
    assert event_hub.finish(id).output == [0, 1, 2]


def test_a_wait_that_has_lost_still_takes_the_first_event(event_hub: TestEnvironment) -> None:
    id = start(event_hub, lost_wait)
    event_hub.advance(2 * SOON)
    for number in (1, 2):
        event_hub.client.raise_event(id, "a", number)
    assert event_hub.finish(id).output == [1, 2]


def test_a_cancelled_wait_takes_none(event_hub: TestEnvironment) -> None:
    id = start(event_hub, cancelled_wait)
    event_hub.advance(2 * SOON)
    event_hub.client.raise_event(id, "a", 1)
    assert event_hub.finish(id).output == 1


def test_an_approval_with_a_timeout(event_hub: TestEnvironment) -> None:
    approved, forgotten = start(event_hub, approve), start(event_hub, approve)
    event_hub.client.raise_event(approved, "approval", {"item": "pen", "count": 2})
    assert event_hub.finish(approved).output == {"item": "pen", "count": 2}
    assert event_hub.finish(forgotten).output == "timed out"


def test_continue_as_new(replay_always: bool) -> None:
    def counting(ctx: task.OrchestrationContext, count: int) -> Any:
        yield ctx.create_timer(SOON)
        if count < 3:
            ctx.continue_as_new(count + 1, new_version="2.0")
            ctx.continue_as_new("the first call counts")
            yield ctx.wait_for_external_event("never")
        return [count, ctx.version]

    assert output(counting, 1, replay_always=replay_always) == [3, "2.0"]


@pytest.mark.parametrize(("save_events", "expected"), [(True, ["first", "second"]), (False, ["first"])])
def test_continue_as_new_keeps_unread_events_if_asked(
    save_events: bool, expected: list[str], replay_always: bool
) -> None:
    def reader(ctx: task.OrchestrationContext, read: list[str]) -> Any:
        if read:
            event = ctx.wait_for_external_event("a")
            yield task.when_any([event, ctx.create_timer(SOON)])
            return read + ([event.get_result()] if event.is_complete else [])
        first = yield ctx.wait_for_external_event("a")
        yield ctx.create_timer(SOON)
        ctx.continue_as_new([first], save_events=save_events)

    with testing.hub(reader, replay_always=replay_always) as hub:
        id = start(hub, reader, [])
        hub.client.raise_event(id, "a", "first")
        hub.client.raise_event(id, "a", "second")
        assert hub.finish(id).output == expected


def test_custom_status_uuid_and_events_to_others(replay_always: bool) -> None:
    def sender(ctx: task.OrchestrationContext, target: str) -> Any:
        ctx.set_custom_status({"phase": 1})
        ids = {ctx.new_uuid(), ctx.new_uuid()}
        yield ctx.create_timer(SOON)
        ctx.send_event(target, "a", data=len(ids))
        ctx.set_custom_status(Order("pen", 1))

    with testing.hub(sender, collect, replay_always=replay_always) as hub:
        target = start(hub, collect, 1)
        id = start(hub, sender, target)
        assert hub.client.get_status(id).custom_status == {"phase": 1}
        assert hub.finish(target).output == [2]
        assert hub.client.get_status(id).custom_status == {"item": "pen", "count": 1}


# ── what the engine promises ─────────────────────────────────────────────────────────────────────────────────────────


def test_yielding_something_else_is_explained(replay_always: bool) -> None:
    def wrong(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield [ctx.create_timer(SOON)]

    assert "use task.when_all or task.when_any" in failure(wrong, replay_always=replay_always)


def test_returning_a_task_is_explained(replay_always: bool) -> None:
    def forgetful(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield ctx.create_timer(SOON)
        return ctx.call_activity(double, input=1)

    assert "did you forget `yield`" in failure(forgetful, replay_always=replay_always)


def test_awaiting_is_explained(replay_always: bool) -> None:
    async def awaiting(ctx: task.OrchestrationContext, _: Any) -> Any:
        return await ctx.create_timer(SOON)  # type: ignore[misc]

    assert "can't be awaited" in failure(awaiting, replay_always=replay_always)


def test_a_function_with_the_context_alone(replay_always: bool) -> None:
    def alone(ctx: task.OrchestrationContext) -> Any:
        return (yield ctx.call_activity(double, input=2))

    alone = df.orchestrator(alone)
    assert output(alone, replay_always=replay_always) == 4


def test_the_log_appears_once(caplog: pytest.LogCaptureFixture) -> None:
    def logging_function(ctx: task.OrchestrationContext, _: Any) -> Any:
        logger = ctx.create_replay_safe_logger(logging.getLogger("shop"))
        for number in range(3):
            logger.warning("step %d", number)
            yield ctx.create_timer(SOON)

    output(logging_function, replay_always=True)
    assert [record.getMessage() for record in caplog.records if record.name == "shop"] == ["step 0", "step 1", "step 2"]


def test_a_result_that_json_does_not_have_is_a_failure(replay_always: bool) -> None:
    def strange(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield ctx.create_timer(SOON)
        return datetime(2026, 1, 1, tzinfo=UTC)

    assert "datetime" in failure(strange, replay_always=replay_always)


def test_other_code_after_a_restart_is_found() -> None:
    def changing(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield ctx.call_activity(double, input=1)
        yield ctx.wait_for_external_event("go")

    def changed(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield ctx.create_timer(SOON)

    changed.__name__ = "changing"
    with testing.hub(changing, *ACTIVITIES) as hub:
        id = start(hub, changing)
        hub.restart(changed, *ACTIVITIES)
        hub.client.raise_event(id, "go")
        hub.run()
        blocked = hub.client.get_status(id).blocked
    assert blocked is not None
    assert "TaskScheduled" in blocked.reason or "double" in blocked.reason
    assert "test_sdk_orchestrators.py" in blocked.reason


def test_rewind_retries_what_has_failed(replay_always: bool) -> None:
    def rewound(ctx: task.OrchestrationContext, _: Any) -> Any:
        return (yield task.when_all([ctx.call_activity(flaky, input=1), ctx.create_timer(SOON)]))

    with testing.hub(rewound, *ACTIVITIES, replay_always=replay_always) as hub:
        id = start(hub, rewound)
        assert hub.finish(id).runtime_status is not None
        hub.client.rewind(id)
        assert hub.finish(id).output == [2, None]


def test_what_it_waits_for_is_shown() -> None:
    def waiting(ctx: task.OrchestrationContext, _: Any) -> Any:
        yield task.when_any([ctx.wait_for_external_event("go"), ctx.create_timer(SOON)])

    with testing.hub(waiting) as hub:
        id = start(hub, waiting)
        waits = hub.client.get_status(id).waiting_for
    assert sorted(each.kind for each in waits) == ["event", "timer"]
