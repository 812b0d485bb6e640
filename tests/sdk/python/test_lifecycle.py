"""What a client of the Python SDK does to instances: terminate, purge, reuse ids, start later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus

from tests.sdk.backends import daemon_only
from tests.sdk.python.sdk_hub import Context, SdkHub, Turns, new_key

COMPLETED, TERMINATED = OrchestrationStatus.COMPLETED, OrchestrationStatus.TERMINATED


def plus_one(_: task.ActivityContext, value: int) -> int:
    return value + 1


def wait_for_go(context: Context, value: Any) -> Turns:
    context.set_custom_status({"waits": value})
    yield context.wait_for_external_event("Go")
    return value


def wait_with_children(context: Context, depth: int) -> Turns:
    if depth == 0:
        yield context.wait_for_external_event("Go")
        return None
    children: list[task.Task[Any]] = [
        context.call_sub_orchestrator(wait_with_children, input=depth - 1, instance_id=f"{context.instance_id}.{n}")
        for n in range(2)
    ]
    yield task.when_all(children)
    return None


def orchestrate_echo(context: Context, value: Any) -> Any:
    return value


def parent_of_echo(context: Context, value: Any) -> Turns:
    return (
        yield context.call_sub_orchestrator(orchestrate_echo, input=value, instance_id=f"{context.instance_id}.child")
    )


FUNCTIONS = [plus_one, wait_for_go, wait_with_children, orchestrate_echo, parent_of_echo]


def start_and_wait(hub: SdkHub, orchestrator: Any, input: Any = None, **options: Any) -> str:
    instance = hub.start(orchestrator, input, **options)
    hub.client.wait_for_orchestration_start(instance, timeout=20)
    return instance


@pytest.mark.parametrize("output", [None, "stopped", {"why": ["costs", 1]}, 0, ""])
def test_terminate_with_an_output(hub: SdkHub, output: Any) -> None:
    instance = start_and_wait(hub, wait_for_go, 1)
    hub.client.terminate_orchestration(instance, output=output)
    state = hub.wait(instance)
    assert state.runtime_status is TERMINATED
    assert state.get_output() == output
    assert state.failure_details is None


def test_terminate_what_has_ended(hub: SdkHub) -> None:
    hub.wait(instance := hub.start(orchestrate_echo, "x"))
    hub.client.terminate_orchestration(instance, output="late")
    assert (hub.state(instance).runtime_status, hub.state(instance).get_output()) == (COMPLETED, "x")


@daemon_only
def test_terminate_what_is_suspended(hub: SdkHub) -> None:
    instance = start_and_wait(hub, wait_for_go, 1)
    hub.client.suspend_orchestration(instance)
    hub.wait_for_status(instance, OrchestrationStatus.SUSPENDED)
    hub.client.terminate_orchestration(instance, output="stopped")
    assert hub.wait(instance).runtime_status is TERMINATED


def test_an_event_after_terminate_changes_nothing(hub: SdkHub) -> None:
    instance = start_and_wait(hub, wait_for_go, 1)
    hub.client.terminate_orchestration(instance)
    hub.client.raise_orchestration_event(instance, "Go")
    assert hub.wait(instance).runtime_status is TERMINATED


def descendants(hub: SdkHub, root: str) -> list[str]:
    ids = [f"{root}{suffix}" for suffix in (".0", ".1", ".0.0", ".0.1", ".1.0", ".1.1")]
    for each in ids:
        hub.client.wait_for_orchestration_start(each, timeout=20)
    return ids


@daemon_only
def test_terminate_recursively(hub: SdkHub) -> None:
    root = hub.start(wait_with_children, 2)
    ids = descendants(hub, root)
    hub.client.terminate_orchestration(root, output="all", recursive=True)
    assert {hub.wait(each).runtime_status for each in [root, *ids]} == {TERMINATED}
    assert hub.state(root).get_output() == "all"


def test_terminate_only_the_parent(hub: SdkHub) -> None:
    root = hub.start(wait_with_children, 2)
    ids = descendants(hub, root)
    hub.client.terminate_orchestration(root, recursive=False)
    assert hub.wait(root).runtime_status is TERMINATED
    assert {hub.state(each).runtime_status for each in ids} == {OrchestrationStatus.RUNNING}
    for each in ids:
        hub.client.terminate_orchestration(each, recursive=False)


def test_purge_one(hub: SdkHub) -> None:
    hub.wait(instance := hub.start(orchestrate_echo, "x"))
    result = hub.client.purge_orchestration(instance)
    assert (result.deleted_instance_count, result.is_complete) == (1, True)
    assert hub.client.get_orchestration_state(instance) is None
    assert hub.client.purge_orchestration(instance).deleted_instance_count == 0


def test_purge_leaves_what_runs(hub: SdkHub) -> None:
    instance = start_and_wait(hub, wait_for_go, 1)
    assert hub.client.purge_orchestration(instance).deleted_instance_count == 0
    assert hub.state(instance).runtime_status is OrchestrationStatus.RUNNING
    hub.client.terminate_orchestration(instance)


def test_an_id_is_free_after_a_purge(hub: SdkHub) -> None:
    instance = new_key()
    assert hub.run(orchestrate_echo, 1, instance_id=instance) == 1
    hub.client.purge_orchestration(instance)
    assert hub.run(orchestrate_echo, 2, instance_id=instance) == 2


@daemon_only
def test_purge_recursively(hub: SdkHub) -> None:
    instance = new_key()
    hub.run(parent_of_echo, 1, instance_id=instance)
    assert hub.client.purge_orchestration(instance, recursive=True).deleted_instance_count == 2
    assert hub.client.get_orchestration_state(f"{instance}.child") is None


@daemon_only
def test_purge_only_the_parent(hub: SdkHub) -> None:
    instance = new_key()
    hub.run(parent_of_echo, 1, instance_id=instance)
    assert hub.client.purge_orchestration(instance, recursive=False).deleted_instance_count == 1
    assert hub.state(f"{instance}.child").get_output() == 1


def test_purge_by_filter(hub: SdkHub) -> None:
    before = datetime.now(UTC)
    echo = hub.start(orchestrate_echo, 1)
    stopped = start_and_wait(hub, wait_for_go, 1)
    hub.client.terminate_orchestration(stopped)
    hub.wait(echo)
    hub.wait(stopped)
    future = datetime.now(UTC) + timedelta(days=1)
    assert hub.client.purge_orchestrations_by(created_time_from=future).deleted_instance_count == 0
    result = hub.client.purge_orchestrations_by(
        created_time_from=before, created_time_to=future, runtime_status=[TERMINATED], timeout=timedelta(seconds=10)
    )
    assert result.deleted_instance_count == 1
    assert hub.client.get_orchestration_state(stopped) is None
    assert hub.state(echo).get_output() == 1


def reuse_policy(*statuses: OrchestrationStatus) -> pb.OrchestrationIdReusePolicy:
    return pb.OrchestrationIdReusePolicy(replaceableStatus=[status.value for status in statuses])


def test_an_id_that_is_taken(hub: SdkHub) -> None:
    hub.run(orchestrate_echo, 1, instance_id=(instance := new_key()))
    with pytest.raises(grpc.RpcError, match="ALREADY_EXISTS"):
        hub.start(orchestrate_echo, 2, instance_id=instance)
    with pytest.raises(grpc.RpcError, match="ALREADY_EXISTS"):
        hub.start(orchestrate_echo, 2, instance_id=instance, reuse_id_policy=reuse_policy(OrchestrationStatus.FAILED))
    assert hub.state(instance).get_output() == 1


def test_an_id_that_may_be_reused(hub: SdkHub) -> None:
    hub.run(orchestrate_echo, 1, instance_id=(instance := new_key()))
    hub.start(orchestrate_echo, 2, instance_id=instance, reuse_id_policy=reuse_policy(COMPLETED))
    assert hub.wait_for_state(instance, lambda state: state.serialized_output == "2", "output 2").get_input() == 2


@daemon_only
def test_a_running_instance_that_may_be_replaced(hub: SdkHub) -> None:
    instance = start_and_wait(hub, wait_for_go, 1)
    policy = reuse_policy(OrchestrationStatus.RUNNING, OrchestrationStatus.PENDING, TERMINATED)
    hub.start(orchestrate_echo, 2, instance_id=instance, reuse_id_policy=policy)
    assert hub.wait_for_state(instance, lambda state: state.serialized_output == "2", "output 2").get_input() == 2


@daemon_only
def test_a_delayed_start(hub: SdkHub) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1)
    instance = hub.start(orchestrate_echo, 1, start_at=due)
    assert hub.state(instance).runtime_status is OrchestrationStatus.PENDING
    state = hub.wait(instance)
    assert (state.runtime_status, state.get_output()) == (COMPLETED, 1)
    assert datetime.now(UTC) >= due


def test_a_start_in_the_past(hub: SdkHub) -> None:
    assert hub.run(orchestrate_echo, 1, start_at=datetime.now(UTC) - timedelta(hours=1)) == 1


def test_custom_status(hub: SdkHub) -> None:
    instance = hub.start(wait_for_go, ["ü", None])
    hub.wait_for_custom_status(instance, {"waits": ["ü", None]})
    hub.client.raise_orchestration_event(instance, "Go")
    assert hub.wait(instance).get_custom_status() == {"waits": ["ü", None]}
