"""`continue_as_new` with the Python SDK: inputs, carried events, long rows of executions, and what a client sees."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import history, task
from durabletask.client import OrchestrationStatus

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key


def plus_one(_: task.ActivityContext, value: int) -> int:
    return value + 1


def count_with_calls(context: Context, value: int) -> Turns:
    value = yield context.call_activity(plus_one, input=value)
    if value < 10:
        context.continue_as_new(value)
        return None
    return value


def orchestrate_count(context: Context, value: int) -> Any:
    if value < 25:
        context.continue_as_new(value + 1)
        return None
    return value


def collect_events(context: Context, got: list[Any]) -> Turns:
    got.append((yield context.wait_for_external_event("Next")))
    if len(got) < 5:
        context.continue_as_new(got, save_events=True)
        return None
    return got


def drop_events(context: Context, rounds: int) -> Turns:
    context.set_custom_status(rounds)
    if rounds == 0:
        yield context.wait_for_external_event("Restart")
        context.continue_as_new(1, save_events=False)
        return None
    event = context.wait_for_external_event("Other")
    timer = context.create_timer(timedelta(seconds=0.5))
    return "event" if (yield task.when_any([event, timer])) is event else "none"


def with_timer(context: Context, value: int) -> Turns:
    yield context.create_timer(timedelta(seconds=0.05))
    if value < 3:
        context.continue_as_new(value + 1)
        return None
    return context.new_uuid()


def parent_of_continued(context: Context, _: Any) -> Turns:
    return (yield context.call_sub_orchestrator(count_with_calls, input=7))


def version_after(context: Context, _: Any) -> Any:
    if context.version != "2.0.0":
        context.continue_as_new(None, new_version="2.0.0")
        return None
    return context.version


orchestrate_version = version_after
orchestrate_version.__name__ = "orchestrate_version"

FUNCTIONS = [
    plus_one, count_with_calls, orchestrate_count, collect_events, drop_events, with_timer, parent_of_continued,
    orchestrate_version,
]  # fmt: skip


def test_each_execution_gets_its_input(hub: SdkHub) -> None:
    assert hub.run(count_with_calls, 1) == 10


def test_the_state_is_that_of_the_last_execution(hub: SdkHub) -> None:
    state = hub.wait(hub.start(count_with_calls, 8))
    assert (state.get_input(), state.get_output()) == (9, 10)


def test_executions_without_a_call(hub: SdkHub) -> None:
    assert hub.run(orchestrate_count, 1) == 25


def test_events_are_carried_over(hub: SdkHub) -> None:
    instance = hub.start(collect_events, [])
    for n in range(5):
        hub.client.raise_orchestration_event(instance, "Next", data=n)
    assert hub.wait(instance).get_output() == list(range(5))


def test_events_come_between_executions(hub: SdkHub) -> None:
    instance = hub.start(collect_events, [])
    hub.client.wait_for_orchestration_start(instance, timeout=20)
    for n in range(5):
        hub.client.raise_orchestration_event(instance, "Next", data=n)
        hub.wait_for_state(instance, lambda state, n=n: n == 4 or len(state.get_input()) == n + 1, "the next execution")  # type: ignore[misc]
    assert hub.wait(instance).get_output() == list(range(5))


def test_events_are_dropped_without_save_events(hub: SdkHub) -> None:
    instance = hub.start(drop_events, 0)
    hub.wait_for_custom_status(instance, 0)
    hub.client.suspend_orchestration(instance)
    hub.wait_for_status(instance, OrchestrationStatus.SUSPENDED)
    hub.client.raise_orchestration_event(instance, "Other")
    hub.client.raise_orchestration_event(instance, "Restart")
    hub.client.resume_orchestration(instance)
    assert hub.wait(instance).get_output() == "none"


def test_timers_in_every_execution(hub: SdkHub) -> None:
    assert len(hub.run(with_timer, 0)) == 36


def test_a_child_that_continues(hub: SdkHub) -> None:
    assert hub.run(parent_of_continued) == 10


@daemon_only
def test_the_version_changes(hub: SdkHub) -> None:
    assert hub.run(orchestrate_version, version="1.0.0") == "2.0.0"


@daemon_only
def test_tags_stay(hub: SdkHub) -> None:
    instance = hub.start(orchestrate_count, 20, instance_id=new_key(), tags={"team": "blue"})
    hub.wait(instance)
    events = hub.client.get_orchestration_history(instance)
    assert [event.tags for event in events if isinstance(event, history.ExecutionStartedEvent)] == [{"team": "blue"}]
