"""Events, timers and suspension with the Python SDK."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key


@dataclass
class Order:
    """An input and an event with a type."""

    item: str
    count: int


def collect(context: Context, names: list[str]) -> Turns:
    got = []
    for name in names:
        got.append((yield context.wait_for_external_event(name)))
    return got


def collect_all(context: Context, names: list[str]) -> Turns:
    return (yield task.when_all([context.wait_for_external_event(name) for name in names]))


def announce_and_wait(context: Context, _: Any) -> Turns:
    context.set_custom_status("waiting")
    return (yield context.wait_for_external_event("Go"))


def approve(context: Context, seconds: float) -> Turns:
    approval = context.wait_for_external_event("Approval")
    timeout = context.create_timer(timedelta(seconds=seconds))
    winner = yield task.when_any([approval, timeout])
    if winner is timeout:
        return "timed out"
    timeout.cancel()
    return approval.get_result()


def typed(context: Context, order: Order) -> Turns:
    event: Order = yield context.wait_for_external_event("Order", data_type=Order)
    return [type(order).__name__, order.item, type(event).__name__, event.count]


def sleep(context: Context, seconds: float) -> Turns:
    before = context.current_utc_datetime
    yield context.create_timer(timedelta(seconds=seconds))
    return (context.current_utc_datetime - before).total_seconds()


def sleep_until(context: Context, seconds: float) -> Turns:
    due = context.current_utc_datetime + timedelta(seconds=seconds)
    yield context.create_timer(due)
    return context.current_utc_datetime >= due


def timers_in_order(context: Context, _: Any) -> Turns:
    delays = [0.6, 0.2, 0.4]
    timers = {context.create_timer(timedelta(seconds=delay)): delay for delay in delays}
    order = []
    while timers:
        order.append(timers.pop((yield task.when_any(list(timers)))))
    return order


def cancel_a_wait(context: Context, _: Any) -> Turns:
    first, second = context.wait_for_external_event("Go"), context.wait_for_external_event("Go")
    first.cancel()
    try:
        first.get_result()
    except task.TaskCancelledError:
        return ["cancelled", (yield second)]
    return None


def send(context: Context, target: str) -> Turns:
    context.send_event(target, "Go", data={"from": context.instance_id})
    yield context.create_timer(timedelta(0))
    return "sent"


FUNCTIONS = [
    collect, collect_all, announce_and_wait, approve, typed, sleep, sleep_until, timers_in_order, cancel_a_wait, send,
]  # fmt: skip


def test_events_in_another_order_than_the_waits(hub: SdkHub) -> None:
    instance = hub.start(collect, ["A", "B", "C"])
    for name in ("C", "A", "B"):
        hub.client.raise_orchestration_event(instance, name, data=name.lower())
    assert hub.wait(instance).get_output() == ["a", "b", "c"]


def test_events_of_one_name_keep_their_order(hub: SdkHub) -> None:
    instance = hub.start(collect, ["A"] * 10)
    for n in range(10):
        hub.client.raise_orchestration_event(instance, "A", data=n)
    assert hub.wait(instance).get_output() == list(range(10))


def test_all_of_several_events(hub: SdkHub) -> None:
    instance = hub.start(collect_all, ["A", "B", "A"])
    for name, data in (("A", 1), ("A", 2), ("B", 3)):
        hub.client.raise_orchestration_event(instance, name, data=data)
    assert hub.wait(instance).get_output() == [1, 3, 2]


def test_the_case_of_an_events_name_is_ignored(hub: SdkHub) -> None:
    instance = hub.start(collect, ["Approved"])
    hub.client.raise_orchestration_event(instance, "aPPROVED", data=1)
    assert hub.wait(instance).get_output() == [1]


def test_an_event_without_data(hub: SdkHub) -> None:
    instance = hub.start(collect, ["A"])
    hub.client.raise_orchestration_event(instance, "A")
    assert hub.wait(instance).get_output() == [None]


def test_an_event_or_a_timeout(hub: SdkHub) -> None:
    late, early = hub.start(approve, 0.2), hub.start(approve, 60)
    hub.client.raise_orchestration_event(early, "Approval", data="yes")
    assert hub.wait(early).get_output() == "yes"
    assert hub.wait(late).get_output() == "timed out"


def test_types_of_inputs_and_events(hub: SdkHub) -> None:
    instance = hub.start(typed, Order("tea", 2))
    hub.client.raise_orchestration_event(instance, "Order", data=Order("tea", 3))
    assert hub.wait(instance).get_output() == ["Order", "tea", "Order", 3]


def test_a_timer(hub: SdkHub) -> None:
    assert 0.3 <= hub.run(sleep, 0.3) < 10
    assert hub.run(sleep, 0) < 10
    assert hub.run(sleep_until, 0.2) is True
    assert hub.run(sleep_until, -5) is True


def test_timers_fire_in_the_order_of_their_times(hub: SdkHub) -> None:
    assert hub.run(timers_in_order) == [0.2, 0.4, 0.6]


def test_a_wait_that_is_cancelled_takes_no_event(hub: SdkHub) -> None:
    instance = hub.start(cancel_a_wait)
    hub.client.raise_orchestration_event(instance, "Go", data=1)
    assert hub.wait(instance).get_output() == ["cancelled", 1]


def test_an_orchestration_sends_an_event(hub: SdkHub) -> None:
    target = hub.start(announce_and_wait)
    hub.wait_for_custom_status(target, "waiting")
    sender = hub.start(send, target)
    assert hub.wait(sender).get_output() == "sent"
    assert hub.wait(target).get_output() == {"from": sender}


def test_an_event_to_nobody_is_dropped(hub: SdkHub) -> None:
    assert hub.run(send, new_key()) == "sent"


def test_a_client_raises_an_event_of_an_instance_that_has_ended(hub: SdkHub) -> None:
    instance = hub.start(sleep, 0)
    hub.wait(instance)
    hub.client.raise_orchestration_event(instance, "Go")
    assert hub.state(instance).runtime_status is OrchestrationStatus.COMPLETED


def test_a_client_raises_an_event_of_nobody(hub: SdkHub) -> None:
    with pytest.raises(grpc.RpcError, match="NOT_FOUND") as caught:
        hub.client.raise_orchestration_event(name := new_key(), "Go")
    assert name in str(caught.value)
    assert not re.search(r"Traceback|\.py", str(caught.value))


def test_a_suspended_instance_keeps_its_events(hub: SdkHub) -> None:
    instance = hub.start(collect, ["A", "B"])
    hub.client.wait_for_orchestration_start(instance, timeout=20)
    hub.client.suspend_orchestration(instance, reason="a pause")
    hub.wait_for_status(instance, OrchestrationStatus.SUSPENDED)
    hub.client.raise_orchestration_event(instance, "A", data=1)
    hub.client.raise_orchestration_event(instance, "B", data=2)
    with pytest.raises(TimeoutError):
        hub.client.wait_for_orchestration_completion(instance, timeout=1)
    assert hub.state(instance).runtime_status is OrchestrationStatus.SUSPENDED
    hub.client.resume_orchestration(instance, reason="go on")
    assert hub.wait(instance).get_output() == [1, 2]


def test_a_timer_that_is_due_while_suspended_fires_after_it(hub: SdkHub) -> None:
    instance = hub.start(sleep, 0.4)
    hub.client.wait_for_orchestration_start(instance, timeout=20)
    hub.client.suspend_orchestration(instance)
    hub.wait_for_status(instance, OrchestrationStatus.SUSPENDED)
    with pytest.raises(TimeoutError):
        hub.client.wait_for_orchestration_completion(instance, timeout=0.8)
    hub.client.resume_orchestration(instance)
    assert hub.wait(instance).runtime_status is OrchestrationStatus.COMPLETED


def test_suspended_twice_and_resumed_once(hub: SdkHub) -> None:
    instance = hub.start(collect, ["A"])
    hub.client.wait_for_orchestration_start(instance, timeout=20)
    hub.client.suspend_orchestration(instance)
    hub.wait_for_status(instance, OrchestrationStatus.SUSPENDED)
    hub.client.suspend_orchestration(instance)
    hub.client.resume_orchestration(instance)
    hub.wait_for_status(instance, OrchestrationStatus.RUNNING)
    hub.client.raise_orchestration_event(instance, "A", data=1)
    assert hub.wait(instance).get_output() == [1]


@daemon_only
@pytest.mark.parametrize("verb", ["suspend_orchestration", "resume_orchestration", "terminate_orchestration"])
def test_a_verb_for_nobody(hub: SdkHub, verb: str) -> None:
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        getattr(hub.client, verb)(new_key())


def test_wait_for_start(hub: SdkHub) -> None:
    instance = hub.start(collect, ["A"])
    state = hub.client.wait_for_orchestration_start(instance, timeout=20)
    assert state is not None
    assert state.runtime_status is OrchestrationStatus.RUNNING
    hub.client.terminate_orchestration(instance)


@daemon_only
def test_nobody_is_waited_for(hub: SdkHub) -> None:
    assert hub.client.wait_for_orchestration_start(new_key(), timeout=5) is None
    assert hub.client.wait_for_orchestration_completion(new_key(), timeout=5) is None
    assert hub.client.get_orchestration_state(new_key()) is None
