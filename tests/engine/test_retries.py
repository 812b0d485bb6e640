"""Retry policies: which failures are retried, and which are not because only side effects would be repeated."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

import durablecli as df
from durablecli import testing
from durablecli.azure import durable_functions
from durablecli.errors import Unserializable
from durablecli.model.events import Record, TaskScheduled, TimerCreated
from durablecli.model.failures import Failure

Steps = Generator[Any, Any, Any]
runs: list[object] = []


@df.activity
def gives(kind: str) -> Any:
    runs.append(kind)
    match kind:
        case "object":
            return object()
        case "large":
            return "x" * (17 * 1024 * 1024)
        case "raised":
            raise Unserializable("$", "raised by a call inside the activity")
    return kind


@df.activity
async def gives_later(kind: str) -> Any:
    return gives(kind)


@df.activity
def wants_number(value: int) -> int:
    runs.append(value)
    return value


@df.orchestrator
def tries(context: df.DurableOrchestrationContext) -> Steps:
    name, value = context.get_input()
    try:
        return (yield context.call_activity_with_retry(name, df.RetryOptions(10, 3), value))
    except df.TaskFailedError as error:
        return str(error)


@df.orchestrator
def child(context: df.DurableOrchestrationContext) -> Steps:
    yield context.call_activity(gives, "fine")
    return object()


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Steps:
    try:
        yield context.call_sub_orchestrator_with_retry(child, df.RetryOptions(10, 3))
    except df.TaskFailedError as error:
        return str(error)


FLOWS = (gives, gives_later, wants_number, tries, child, parent)


POLICY = df.RetryPolicy(first=1, max_attempts=3)


@df.activity(retry=POLICY)
def declares(fails: int, context: df.ActivityContext) -> int:
    if context.attempt <= fails:
        raise ConnectionError("down")
    return context.attempt


@df.orchestrator
def chooses(context: df.DurableOrchestrationContext) -> Steps:
    name, given = context.get_input()
    options: dict[str, Any] = {} if given == "none" else {"retry": {"off": False, "own": df.RetryPolicy(1, 2)}[given]}
    function = declares if name is None else name
    try:
        return (yield context.call_activity(function, 2, **options))
    except df.TaskFailedError as error:
        return str(error)


@pytest.mark.parametrize("replay_always", [False, True])
@pytest.mark.parametrize("name", [None, "declares", "DECLARES"])
@pytest.mark.parametrize(("given", "attempts"), [("none", 3), ("own", 2), ("off", 1)])
def test_a_call_has_the_policy_of_its_activity_unless_it_sets_its_own(
    given: str, attempts: int, name: str | None, replay_always: bool
) -> None:
    with testing.hub(declares, chooses, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(chooses, client_input=[name, given]))
        records = hub.client.get_history(status.instance_id)
    assert sum(isinstance(record.event, TaskScheduled) for record in records) == attempts
    assert status.output == 3 if attempts == 3 else "ConnectionError: down" in status.output


def test_an_azure_app_declares_policies_too() -> None:
    app = durable_functions.DFApp()

    @app.activity_trigger(input_name="fails")
    @df.activity(retry=POLICY)
    def fetch(fails: int) -> int:
        runs.append(fails)
        if len(runs) <= fails:
            raise ConnectionError("down")
        return len(runs)

    @app.orchestration_trigger(context_name="context")
    def fetches(context: df.DurableOrchestrationContext) -> Steps:
        return (yield context.call_activity("fetch", 2))

    runs.clear()
    with testing.hub(app) as hub:
        assert hub.finish(hub.client.start_new("fetches")).output == 3


class Busy(df.RetryAfter):
    """An author's own, with a delay that is none."""

    def __init__(self) -> None:
        super().__init__(7)
        self.seconds = "soon"  # type: ignore[assignment]


@df.activity(retry=POLICY)
def busy(kind: str, context: df.ActivityContext) -> int:
    if context.attempt == 1:
        raise Busy if kind == "odd" else df.RetryAfter(90)
    return context.attempt


@df.orchestrator
def waits(context: df.DurableOrchestrationContext) -> Steps:
    return (yield context.call_activity(busy, context.get_input()))


@pytest.mark.parametrize("replay_always", [False, True])
@pytest.mark.parametrize(("kind", "delay"), [("plain", 90), ("odd", 1)])
def test_the_next_attempt_begins_when_the_activity_asks_for_it(kind: str, delay: int, replay_always: bool) -> None:
    with testing.hub(busy, waits, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(waits, client_input=kind))
        delays = read_delays(hub.client.get_history(status.instance_id))
    assert delays == [timedelta(seconds=delay)]
    assert status.output == 2


@pytest.mark.parametrize("retry", [3, True, "always"])
def test_a_call_takes_a_policy_or_false(retry: Any) -> None:
    @df.orchestrator
    def wrong(context: df.DurableOrchestrationContext) -> Steps:
        yield context.call_activity(declares, 2, retry=retry)

    with testing.hub(declares, wrong) as hub:
        status = hub.finish(hub.client.start_new(wrong))
    assert "retry must be a df.RetryPolicy, or False for none" in str(status.output)


def read_delays(records: Iterable[Record]) -> list[timedelta]:
    return [each.event.fire_at - each.at for each in records if isinstance(each.event, TimerCreated)]


def run_to_output(flow: Any, given: object = None, *, replay_always: bool = False) -> Any:
    runs.clear()
    with testing.hub(*FLOWS, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(flow, client_input=given))
        return status.output


@pytest.mark.parametrize("replay_always", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "times"),
    [
        ("gives", "object", 1),
        ("gives", "large", 1),
        ("gives", "raised", 3),
        ("gives_later", "object", 1),
        ("wants_number", "seven", 0),
    ],
)
def test_what_cannot_be_written_or_does_not_fit_is_not_tried_again(
    name: str, value: str, times: int, replay_always: bool
) -> None:
    assert "failed" in run_to_output(tries, [name, value], replay_always=replay_always)
    assert len(runs) == times


def test_a_sub_orchestration_whose_output_cannot_be_written_is_not_tried_again() -> None:
    assert "failed" in run_to_output(parent)
    assert runs == ["fine"]


def test_a_failure_of_an_earlier_release_is_tried_again_as_it_was() -> None:
    assert msgspec.json.decode(b'{"type":"a.B","message":"c"}', type=Failure).retryable
