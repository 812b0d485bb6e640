"""Rewind and restart with the Python SDK."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import grpc
import pytest
from durabletask import history, task
from durabletask.client import OrchestrationStatus

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key

calls: Counter[str] = Counter()
broken: set[str] = set()
FAILED = OrchestrationStatus.FAILED


def step(_: task.ActivityContext, name: str) -> int:
    calls[name] += 1
    if name in broken:
        raise ValueError(f"{name} is broken")
    return calls[name]


def two_steps(context: Context, key: str) -> Turns:
    return [
        (yield context.call_activity(step, input=f"{key}.first")),
        (yield context.call_activity(step, input=f"{key}.second")),
    ]


def steps_in_parallel(context: Context, key: str) -> Turns:
    return (yield task.when_all([context.call_activity(step, input=f"{key}.{n}") for n in range(4)]))


def parent(context: Context, key: str) -> Turns:
    first = yield context.call_activity(step, input=f"{key}.before")
    inner = yield context.call_sub_orchestrator(two_steps, input=key, instance_id=f"{key}.child")
    return [first, inner]


def with_retries(context: Context, key: str) -> Turns:
    policy = task.RetryPolicy(first_retry_interval=timedelta(seconds=0.02), max_number_of_attempts=2)
    return (yield context.call_activity(step, input=f"{key}.first", retry_policy=policy))


def orchestrate_once(context: Context, key: str) -> int:
    if key in broken:
        raise ValueError("broken")
    return 1


def wait_for_go(context: Context, _: Any) -> Turns:
    return (yield context.wait_for_external_event("Go"))


FUNCTIONS = [step, two_steps, steps_in_parallel, parent, with_retries, orchestrate_once, wait_for_go]


def fail_at(hub: SdkHub, orchestrator: Any, key: str, *names: str) -> str:
    """Start it while these steps are broken, and mend them after its failure."""
    broken.update(f"{key}{name}" for name in names)
    instance = hub.start(orchestrator, key)
    assert hub.wait(instance).runtime_status is FAILED
    broken.difference_update([f"{key}{name}" for name in names])
    return instance


def rewind(hub: SdkHub, instance: str) -> Any:
    hub.client.rewind_orchestration(instance, reason="mended")
    state = hub.wait(instance)
    assert state.runtime_status is OrchestrationStatus.COMPLETED, state
    assert state.failure_details is None
    return state.get_output()


def test_only_what_failed_runs_again(hub: SdkHub) -> None:
    instance = fail_at(hub, two_steps, key := new_key(), ".second")
    assert rewind(hub, instance) == [1, 2]
    assert calls[f"{key}.first"] == 1


def test_several_failures_at_once(hub: SdkHub) -> None:
    instance = fail_at(hub, steps_in_parallel, key := new_key(), ".1", ".3")
    assert rewind(hub, instance) == [1, 2, 1, 2]
    assert calls[f"{key}.0"] == 1


def test_a_child_is_rewound_with_its_parent(hub: SdkHub) -> None:
    instance = fail_at(hub, parent, key := new_key(), ".second")
    assert hub.state(f"{key}.child").runtime_status is FAILED
    assert rewind(hub, instance) == [1, [1, 2]]
    assert hub.state(f"{key}.child").runtime_status is OrchestrationStatus.COMPLETED


def test_a_child_that_was_purged_runs_anew(hub: SdkHub) -> None:
    instance = fail_at(hub, parent, key := new_key(), ".second")
    hub.client.purge_orchestration(f"{key}.child")
    assert rewind(hub, instance) == [1, [2, 2]]


def test_rewound_twice(hub: SdkHub) -> None:
    instance = fail_at(hub, two_steps, key := new_key(), ".second")
    broken.add(f"{key}.second")
    hub.client.rewind_orchestration(instance)
    hub.wait_for_state(instance, lambda _: calls[f"{key}.second"] == 2, "the second attempt")
    hub.wait_for_status(instance, FAILED)
    broken.remove(f"{key}.second")
    assert rewind(hub, instance) == [1, 3]


@daemon_only
def test_the_attempts_of_a_policy_begin_again(hub: SdkHub) -> None:
    instance = fail_at(hub, with_retries, key := new_key(), ".first")
    assert calls[f"{key}.first"] == 2
    assert rewind(hub, instance) == 3


@daemon_only
def test_an_orchestrator_that_raised_itself(hub: SdkHub) -> None:
    assert rewind(hub, fail_at(hub, orchestrate_once, new_key(), "")) == 1


def test_the_history_tells_the_reason(hub: SdkHub) -> None:
    instance = fail_at(hub, two_steps, new_key(), ".second")
    rewind(hub, instance)
    events = hub.client.get_orchestration_history(instance)
    assert [event.reason for event in events if isinstance(event, history.ExecutionRewoundEvent)] == ["mended"]
    assert isinstance(events[-1], history.ExecutionCompletedEvent)


def test_only_what_has_failed_is_rewound(hub: SdkHub) -> None:
    hub.wait(completed := hub.start(two_steps, new_key()))
    running = hub.start(wait_for_go)
    hub.client.wait_for_orchestration_start(running, timeout=20)
    for instance in (completed, running):
        with pytest.raises(grpc.RpcError, match="FAILED_PRECONDITION"):
            hub.client.rewind_orchestration(instance)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        hub.client.rewind_orchestration(new_key())
    hub.client.terminate_orchestration(running)


def test_restart_under_the_same_id(hub: SdkHub) -> None:
    hub.wait(instance := hub.start(two_steps, key := new_key()))
    assert hub.client.restart_orchestration(instance) == instance
    state = hub.wait_for_state(instance, lambda state: state.get_output() == [2, 2], "the second output")
    assert state.get_input() == key


def test_restart_under_a_new_id(hub: SdkHub) -> None:
    hub.wait(instance := hub.start(two_steps, new_key()))
    other = hub.client.restart_orchestration(instance, restart_with_new_instance_id=True)
    assert other != instance
    assert hub.wait(other).get_output() == [2, 2]
    assert hub.state(instance).get_output() == [1, 1]


def test_only_what_has_ended_is_restarted(hub: SdkHub) -> None:
    running = hub.start(wait_for_go)
    hub.client.wait_for_orchestration_start(running, timeout=20)
    with pytest.raises(grpc.RpcError, match="FAILED_PRECONDITION"):
        hub.client.restart_orchestration(running)
    with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
        hub.client.restart_orchestration(new_key())
    hub.client.terminate_orchestration(running)
