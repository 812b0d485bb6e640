"""One nesting limit wherever a value enters: every accepted value can be read again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli.errors import Unserializable
from durablecli.limits import MAX_NESTING_DEPTH
from durablecli.testing import TestEnvironment, hub

SHELF = df.EntityId("shelf", "a")
REFUSAL = "nested deeper than 200 levels"


def make_nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


@df.activity
def give(levels: int) -> Any:
    return make_nested(levels)


@df.activity
def take(value: Any) -> str:
    return "taken"


@df.entity
def shelf(context: df.DurableEntityContext) -> Any:
    levels = context.get_input()
    match context.operation_name:
        case "set_state":
            context.set_state(make_nested(levels))
        case "set_result":
            context.set_result(make_nested(levels))
        case "return":
            return make_nested(levels)
        case "signal":
            context.signal_entity(SHELF, "nothing", make_nested(levels))
        case "start":
            context.start_new("echo", client_input=make_nested(levels))
    return None


@df.orchestrator
def echo(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


Orchestrator = Callable[[df.DurableOrchestrationContext, int], Any]


def output(context: df.DurableOrchestrationContext, levels: int) -> Any:
    return make_nested(levels)
    yield


def result(context: df.DurableOrchestrationContext, levels: int) -> Any:
    yield context.call_activity(give, levels)


def activity_input(context: df.DurableOrchestrationContext, levels: int) -> Any:
    yield context.call_activity(take, make_nested(levels))


def child_input(context: df.DurableOrchestrationContext, levels: int) -> Any:
    yield context.call_sub_orchestrator(echo, make_nested(levels))


def operation_input(context: df.DurableOrchestrationContext, levels: int) -> Any:
    yield context.call_entity(SHELF, "nothing", make_nested(levels))


def signal(context: df.DurableOrchestrationContext, levels: int) -> Any:
    context.signal_entity(SHELF, "nothing", make_nested(levels))
    yield context.create_timer(context.current_utc_datetime)


def event(context: df.DurableOrchestrationContext, levels: int) -> Any:
    context.send_event("nobody", "Go", make_nested(levels))
    yield context.create_timer(context.current_utc_datetime)


def status(context: df.DurableOrchestrationContext, levels: int) -> Any:
    context.set_custom_status(make_nested(levels))
    yield context.create_timer(context.current_utc_datetime)


def again(context: df.DurableOrchestrationContext, levels: int) -> Any:
    if levels:
        context.continue_as_new([0, *make_nested(levels)])
    yield context.create_timer(context.current_utc_datetime)


def make_entity_flow(operation: str) -> Orchestrator:
    def flow(context: df.DurableOrchestrationContext, levels: int) -> Any:
        yield context.call_entity(SHELF, operation, levels)

    return flow


FLOWS: dict[str, Orchestrator] = {
    "output": output,
    "result of an activity": result,
    "input of an activity": activity_input,
    "input of a child": child_input,
    "input of an operation": operation_input,
    "signal": signal,
    "event": event,
    "custom status": status,
    "continue_as_new": again,
    **{f"entity: {name}": make_entity_flow(name) for name in ("set_state", "set_result", "return", "signal", "start")},
}


@pytest.mark.parametrize("door", FLOWS)
def test_a_value_within_the_limit_passes_and_a_deeper_one_fails_its_operation(door: str) -> None:
    @df.orchestrator(name="flow")
    def flow(context: df.DurableOrchestrationContext) -> Any:
        levels = context.get_input()
        return (yield from FLOWS[door](context, levels if isinstance(levels, int) else levels[0]))

    with hub(flow, give, take, shelf, echo) as made:
        fits = made.finish(made.client.start_new("flow", client_input=MAX_NESTING_DEPTH))
        assert fits.runtime_status is not None
        assert fits.runtime_status.value == "Completed", fits.output
        deep = made.finish(made.client.start_new("flow", client_input=MAX_NESTING_DEPTH + 1))
        assert deep.runtime_status is not None
        assert deep.runtime_status.value == "Failed"
        assert REFUSAL in deep.output


CLIENT: dict[str, Callable[[TestEnvironment, Any], object]] = {
    "start": lambda made, value: made.client.start_new("echo", client_input=value),
    "start under an id": lambda made, value: made.client.start_new("echo", "chosen", value),
    "start many": lambda made, value: made.client.start_many("echo", [1, value]),
    "event": lambda made, value: made.client.raise_event("waiting", "Go", value),
    "signal": lambda made, value: made.client.signal_entity(SHELF, "nothing", value),
}


@pytest.mark.parametrize("door", CLIENT)
@pytest.mark.parametrize("raw", [False, True], ids=["value", "Raw"])
def test_a_client_refuses_a_deep_value_and_reserves_nothing(door: str, raw: bool) -> None:
    @df.orchestrator(name="waits")
    def waits(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.wait_for_external_event("Go"))

    with hub(waits, shelf, echo) as made:
        made.client.start_new("waits", "waiting")
        made.run()
        for levels in (MAX_NESTING_DEPTH + 1, 980):
            deep = Raw(b"[" * levels + b"]" * levels) if raw else make_nested(levels)
            with pytest.raises(Unserializable, match=REFUSAL):
                CLIENT[door](made, deep)
        CLIENT[door](
            made, Raw(b"[" * MAX_NESTING_DEPTH + b"]" * MAX_NESTING_DEPTH) if raw else make_nested(MAX_NESTING_DEPTH)
        )
        made.run()
        assert not made.client.get_status("nobody")
