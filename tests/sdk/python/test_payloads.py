"""Payloads of the Python SDK and of the protocol: any text, none or null, unicode, large ones."""

from __future__ import annotations

from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus
from durabletask.entities import DurableEntity, EntityInstanceId
from google.protobuf.wrappers_pb2 import StringValue

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, entity_id, new_key

VALUES = [
    None, True, False, 0, -1, 1.5, 1e300, 2**53 + 1, "", "null", "a b", "\x00\x1f\u2028\r\n\t\"\\", "ü€😀\U0010ffff",
    [], {}, [None, [None]], {"": None, "ü": {"$text": "no box"}}, "x" * 5000, list(range(1000)),
]  # fmt: skip
TEXTS = [
    '{"a":1}', ' {"a": 1}\n', '{"a":\n1}', "null", "1", "1.0", "1e2", "NaN", "not JSON", "{", '"', "'x'", "\\u0041",
    '"\\ud800"', "ü€😀", "\x00\x01", "blob:v1:container/name", '{"a":1}{"b":2}', "  ", "\n", "12345678901234567890",
]  # fmt: skip
LARGE = "x" * 2**20


class Keeper(DurableEntity):
    """Whatever it is given."""

    def keep(self, value: Any = None) -> Any:
        self.set_state({"kept": value})
        return value


def echo(_: task.ActivityContext, value: Any) -> Any:
    return value


def orchestrate_echo(context: Context, value: Any) -> Any:
    return value


def pass_around(context: Context, what: list[Any]) -> Turns:
    key, value = what
    context.set_custom_status({"status": value})
    got = [(yield context.call_activity(echo, input=value))]
    got.append((yield context.call_sub_orchestrator(orchestrate_echo, input=value)))
    got.append((yield context.call_entity(EntityInstanceId("Keeper", key), "keep", value)))
    got.append((yield context.wait_for_external_event("Value")))
    return got


def once(context: Context, value: Any) -> Turns:
    """A turn with its input twice is a message of 3 MiB; the SDK takes 4 MiB."""
    return len((yield context.call_activity(echo, input=value)))


FUNCTIONS = [Keeper, echo, orchestrate_echo, pass_around, once]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:20])
def test_a_value_passes_everywhere(hub: SdkHub, value: Any) -> None:
    instance = hub.start(orchestrate_echo, value)
    state = hub.wait(instance)
    assert state.runtime_status is OrchestrationStatus.COMPLETED
    assert state.get_output() == state.get_input() == value
    assert type(state.get_output()) is type(value)
    around = hub.start(pass_around, [new_key(), value])
    hub.client.raise_orchestration_event(around, "Value", data=value)
    assert hub.wait(around).get_output() == [value] * 4


def test_a_state_of_any_kind(hub: SdkHub) -> None:
    for value in ("ü\x00", [None], {"a": 1}):
        keeper = entity_id(Keeper)
        hub.client.signal_entity(keeper, "keep", value)
        hub.wait_for_entity_state(keeper, {"kept": value})


def test_none_is_no_payload(hub: SdkHub) -> None:
    state = hub.wait(hub.start(orchestrate_echo))
    assert (state.serialized_input, state.serialized_output) == (None, None)


def test_ids_of_nearly_any_text(hub: SdkHub) -> None:
    for instance in (f"ü€ {new_key()}", f"a:b%20c&d {new_key()}", f"UPPER {new_key()}", "x" * 100 + new_key()[:20]):
        state = hub.wait(hub.start(orchestrate_echo, 1, instance_id=instance))
        assert state.instance_id == instance
        assert hub.client.purge_orchestration(instance).deleted_instance_count == 1


@daemon_only
def test_an_id_that_has_no_place_in_a_url(hub: SdkHub) -> None:
    with pytest.raises(grpc.RpcError, match="INVALID_ARGUMENT"):
        hub.start(orchestrate_echo, 1, instance_id=f"a/b {new_key()}")


def test_large_payloads(hub: SdkHub) -> None:
    assert hub.run(once, LARGE) == len(LARGE)
    assert hub.run(orchestrate_echo, LARGE) == LARGE


def test_a_large_event(hub: SdkHub) -> None:
    instance = hub.start(pass_around, [new_key(), "small"])
    hub.client.raise_orchestration_event(instance, "Value", data=LARGE)
    assert hub.wait(instance).get_output() == ["small"] * 3 + [LARGE]


def start_with_text(address: str, text: str | None) -> str:
    """Start an instance that no worker knows, with a text that goes over the wire as it is."""
    with grpc.insecure_channel(address) as channel:
        stub = stubs.TaskHubSidecarServiceStub(channel)
        value = None if text is None else StringValue(value=text)
        request = pb.CreateInstanceRequest(instanceId=new_key(), name="orchestrate_nobody", input=value)
        return str(stub.StartInstance(request).instanceId)


@daemon_only
@pytest.mark.parametrize("text", [None, *TEXTS], ids=ascii)
def test_any_text_is_kept_as_it_is(hub: SdkHub, text: str | None) -> None:
    instance = start_with_text(hub.address, text)
    state = hub.client.get_orchestration_state(instance)
    assert state is not None
    assert state.serialized_input == text
