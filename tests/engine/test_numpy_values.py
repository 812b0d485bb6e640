"""A value of numpy is refused with its path and the remedy, wherever it would enter the hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import durablecli as df
from durablecli import testing
from durablecli.errors import Unserializable
from tests.support.flows import echo

Context = df.DurableOrchestrationContext
VALUE = {"a": [np.int64(3)]}
REMEDY = "$.a[0]: numpy.int64 can't be written as JSON; pass value.item()"


@df.activity
def measure(value: Any) -> Any:
    return VALUE


@df.entity
def meter(context: df.DurableEntityContext) -> None:
    if context.operation_name == "set":
        context.set_state(VALUE)
    elif context.operation_name == "read":
        context.set_result(VALUE)
    elif context.operation_name == "send":
        context.signal_entity(df.EntityId("meter", "other"), "set", VALUE)


@df.orchestrator
def result_of_activity(context: Context) -> Any:
    yield context.call_activity(measure, 1)


@df.orchestrator
def input_of_activity(context: Context) -> Any:
    yield context.call_activity(echo, VALUE)


@df.orchestrator
def input_of_child(context: Context) -> Any:
    yield context.call_sub_orchestrator(result_of_activity, VALUE)


@df.orchestrator
def output(context: Context) -> Any:
    return VALUE


@df.orchestrator
def custom_status(context: Context) -> Any:
    context.set_custom_status(VALUE)


@df.orchestrator
def next_input(context: Context) -> Any:
    context.continue_as_new(VALUE)


@df.orchestrator
def input_of_operation(context: Context) -> Any:
    yield context.call_entity(df.EntityId("meter", "x"), "set", VALUE)


@df.orchestrator
def operation(context: Context) -> Any:
    yield context.call_entity(df.EntityId("meter", "x"), context.get_input())


FUNCTIONS = (
    echo, measure, meter, result_of_activity, input_of_activity, input_of_child, output, custom_status, next_input,
    input_of_operation, operation,
)  # fmt: skip


@pytest.mark.parametrize("orchestrator", [*FUNCTIONS[3:-1], operation], ids=lambda function: function.__name__)
def test_an_orchestration_fails_with_the_remedy(orchestrator: Callable[..., Any]) -> None:
    with testing.hub(*FUNCTIONS) as hub:
        for given in ("set", "read", "send") if orchestrator is operation else (None,):
            status = hub.finish(hub.client.start_new(orchestrator, client_input=given))
            assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
            assert REMEDY in str(status.output), given


@pytest.mark.parametrize("door", ["start", "batch", "event", "signal"])
def test_a_client_is_refused_with_the_remedy(door: str) -> None:
    with testing.hub(*FUNCTIONS) as hub:
        instance = hub.client.start_new(operation, client_input="none")
        doors: dict[str, Callable[[], object]] = {
            "start": lambda: hub.client.start_new(output, client_input=VALUE),
            "batch": lambda: hub.client.start_many(output, [VALUE]),
            "event": lambda: hub.client.raise_event(instance, "Go", VALUE),
            "signal": lambda: hub.client.signal_entity("@meter@x", "set", VALUE),
        }
        with pytest.raises(Unserializable) as refused:
            doors[door]()
        assert REMEDY in str(refused.value)


def test_a_float_of_numpy_is_a_float() -> None:
    with testing.hub(*FUNCTIONS) as hub:
        instance = hub.client.start_new(operation, client_input=np.float64(1.5))
        assert hub.client.get_status(instance).input_ == 1.5
