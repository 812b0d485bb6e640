"""The calls of clients for one instance, with the client of the SDK against a daemon."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Timer
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from google.protobuf.wrappers_pb2 import StringValue

from durablecli.model.ids import new_id
from durablecli.protocol.generated import pb
from tests.grpc.conftest import GrpcDaemon, catch_error

Status = OrchestrationStatus


def reuse(*statuses: OrchestrationStatus) -> Any:
    return pb.OrchestrationIdReusePolicy(replaceableStatus=[status.value for status in statuses])


def start_waiter(client: TaskHubGrpcClient, instance: str | None = None, name: str = "waiter", **options: Any) -> str:
    started = str(client.schedule_new_orchestration(name, instance_id=instance, **options))
    state = client.wait_for_orchestration_start(started, timeout=20)
    assert state is not None
    assert state.runtime_status is Status.RUNNING
    return started


def wait(client: TaskHubGrpcClient, instance: str) -> Any:
    state = client.wait_for_orchestration_completion(instance, timeout=20)
    assert state is not None
    return state


def test_an_orchestration_runs_with_its_input(client: TaskHubGrpcClient) -> None:
    before = datetime.now(UTC).replace(tzinfo=None)
    instance = client.schedule_new_orchestration("greeting", input="hello", version="1.5", tags={"a": "b"})
    state = wait(client, instance)
    assert (state.runtime_status, state.serialized_output) == (Status.COMPLETED, '"HELLO"')
    assert (state.instance_id, state.name, state.serialized_input) == (instance, "greeting", '"hello"')
    assert before <= state.created_at <= state.last_updated_at
    found = client._stub.GetInstance(pb.GetInstanceRequest(instanceId=instance)).orchestrationState
    assert (found.version.value, dict(found.tags)) == ("1.5", {"a": "b"})
    assert not found.HasField("input")
    assert found.HasField("completedTimestamp")


def test_an_event_reaches_an_instance_that_waits(client: TaskHubGrpcClient) -> None:
    instance = start_waiter(client)
    assert client.get_orchestration_state(instance).serialized_custom_status == '"waiting"'  # type: ignore[union-attr]
    client.raise_orchestration_event(instance, "go", data={"a": [1, None]})
    assert wait(client, instance).get_output() == {"a": [1, None]}
    client.raise_orchestration_event(instance, "go", data=2)  # has no effect


def test_a_failure_is_told(client: TaskHubGrpcClient) -> None:
    state = wait(client, client.schedule_new_orchestration("failing"))
    assert state.runtime_status is Status.FAILED
    assert state.failure_details.message == "nothing works"


def test_a_name_that_nobody_knows_is_accepted_because_a_worker_may_bring_it(client: TaskHubGrpcClient) -> None:
    instance = client.schedule_new_orchestration("elsewhere")
    assert client.get_orchestration_state(instance).runtime_status is Status.PENDING  # type: ignore[union-attr]
    with pytest.raises(TimeoutError):
        client.wait_for_orchestration_completion(instance, timeout=0.3)


def test_an_unknown_id_is_an_error_or_no_state(client: TaskHubGrpcClient) -> None:
    assert client.get_orchestration_state("nobody") is None
    assert client.wait_for_orchestration_completion("nobody", timeout=5) is None
    calls = (
        lambda: client.raise_orchestration_event("nobody", "go"),
        lambda: client.suspend_orchestration("nobody"),
        lambda: client.resume_orchestration("nobody"),
        lambda: client.terminate_orchestration("nobody"),
        lambda: client.rewind_orchestration("nobody"),
        lambda: client.restart_orchestration("nobody"),
    )
    for call in calls:
        assert catch_error(call) == (grpc.StatusCode.NOT_FOUND, "orchestration instance 'nobody' not found")


def test_nobody_is_waited_for_only_while_the_client_has_time(client: TaskHubGrpcClient) -> None:
    assert client.wait_for_orchestration_completion("nobody", timeout=1) is None
    assert client.wait_for_orchestration_start("nobody", timeout=1) is None


def test_an_instance_that_is_about_to_be_started_is_waited_for(client: TaskHubGrpcClient) -> None:
    instance = new_id()
    start = Timer(0.5, lambda: client.schedule_new_orchestration("greeting", input="hi", instance_id=instance))
    start.start()
    state = client.wait_for_orchestration_completion(instance, timeout=20)
    start.join()
    assert state is not None
    assert state.get_output() == "HI"


@pytest.mark.parametrize("output", ["stop", None, {"a": 1}, [], "null"])
def test_terminate_sets_any_output(client: TaskHubGrpcClient, output: Any) -> None:
    instance = start_waiter(client)
    client.terminate_orchestration(instance, output=output)
    state = wait(client, instance)
    assert state.runtime_status is Status.TERMINATED
    assert state.get_output() == output
    client.terminate_orchestration(instance, output="again")
    assert wait(client, instance).get_output() == output


@pytest.mark.parametrize("recursive", [True, False])
def test_terminate_reaches_children_if_it_is_asked_to(client: TaskHubGrpcClient, recursive: bool) -> None:
    instance = start_waiter(client, name="parent")
    child = f"{instance}-child"
    client.wait_for_orchestration_start(child, timeout=20)
    client.terminate_orchestration(instance, output="over", recursive=recursive)
    wait(client, instance)
    if recursive:
        assert wait(client, child).get_output() == "over"
    else:
        client.raise_orchestration_event(child, "go", data=1)
        assert wait(client, child).runtime_status is Status.COMPLETED


def test_suspend_and_resume(client: TaskHubGrpcClient) -> None:
    instance = start_waiter(client)
    client.suspend_orchestration(instance, reason="tea")
    client.suspend_orchestration(instance)
    assert client.get_orchestration_state(instance).runtime_status is Status.SUSPENDED  # type: ignore[union-attr]
    client.raise_orchestration_event(instance, "go", data=1)
    client.resume_orchestration(instance)
    client.resume_orchestration(instance)
    assert wait(client, instance).runtime_status is Status.COMPLETED
    client.suspend_orchestration(instance)
    assert wait(client, instance).runtime_status is Status.COMPLETED


def test_restart_and_rewind_need_an_instance_that_has_ended(client: TaskHubGrpcClient) -> None:
    instance = start_waiter(client)
    for call, what in (
        (lambda: client.restart_orchestration(instance), "terminal"),
        (lambda: client.rewind_orchestration(instance), "failed"),
    ):
        code, text = catch_error(call)
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        assert text == f"orchestration instance '{instance}' is not in a {what} state: it is Running"
    another = client.restart_orchestration(instance, restart_with_new_instance_id=True)
    assert client.wait_for_orchestration_start(another, timeout=20).runtime_status is Status.RUNNING  # type: ignore[union-attr]
    client.terminate_orchestration(instance)
    wait(client, instance)
    assert client.restart_orchestration(instance) == instance
    again = client.restart_orchestration(wait_failed(client), restart_with_new_instance_id=True)
    assert wait(client, again).runtime_status is Status.FAILED
    client.rewind_orchestration(again)
    assert wait(client, again).runtime_status is Status.FAILED


def wait_failed(client: TaskHubGrpcClient) -> str:
    return str(wait(client, client.schedule_new_orchestration("failing")).instance_id)


# ── ids that exist ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_id_is_used_once_without_a_policy(client: TaskHubGrpcClient) -> None:
    for name, instance in (("waiter", start_waiter(client)), ("failing", wait_failed(client))):
        code, text = catch_error(partial(client.schedule_new_orchestration, name, instance_id=instance))
        assert code is grpc.StatusCode.ALREADY_EXISTS
        assert text == f"an orchestration instance with the id '{instance}' already exists"


def test_a_policy_replaces_an_instance_of_its_statuses_only(client: TaskHubGrpcClient) -> None:
    live, failed = start_waiter(client, input=1), wait_failed(client)
    ended_only, any_status = reuse(Status.COMPLETED, Status.FAILED), reuse(Status.RUNNING, Status.TERMINATED)
    for instance, policy in ((live, ended_only), (failed, any_status)):
        code, _ = catch_error(
            partial(client.schedule_new_orchestration, "waiter", instance_id=instance, reuse_id_policy=policy)
        )
        assert code is grpc.StatusCode.ALREADY_EXISTS
    client.schedule_new_orchestration("greeting", input="new", instance_id=failed, reuse_id_policy=ended_only)
    assert wait(client, failed).get_output() == "NEW"
    client.schedule_new_orchestration("greeting", input="new", instance_id=live, reuse_id_policy=any_status)
    assert wait(client, live).get_output() == "NEW"


def test_a_policy_that_would_refuse_what_it_terminates_is_invalid(client: TaskHubGrpcClient) -> None:
    code, text = catch_error(
        lambda: client.schedule_new_orchestration("waiter", reuse_id_policy=reuse(Status.RUNNING, Status.COMPLETED))
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot exclude 'Terminated' while also allowing reuse of running instances" in text


def test_of_many_starts_at_once_with_one_id_one_succeeds(daemon: GrpcDaemon) -> None:
    def start(number: int) -> grpc.StatusCode:
        with daemon.make_client() as client:
            try:
                client.schedule_new_orchestration("waiter", instance_id="contested", input=number)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

    with ThreadPoolExecutor(8) as threads:
        codes = Counter(threads.map(start, range(16)))
    assert codes == {grpc.StatusCode.OK: 1, grpc.StatusCode.ALREADY_EXISTS: 15}


def test_of_many_starts_at_once_that_may_replace_each_succeeds_and_the_last_one_counts(daemon: GrpcDaemon) -> None:
    policy = reuse(Status.PENDING, Status.RUNNING, Status.TERMINATED, Status.COMPLETED)

    def start(number: int) -> None:
        with daemon.make_client() as client:
            client.schedule_new_orchestration("greeting", instance_id="replaced", input="x", reuse_id_policy=policy)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(start, range(16))) == [None] * 16
    with daemon.make_client() as client:
        assert wait(client, "replaced").get_output() == "X"


# ── input that can't be used ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "request_",
    [
        pb.CreateInstanceRequest(name=""),
        pb.CreateInstanceRequest(name="x" * 257),
        pb.CreateInstanceRequest(name="greeting", instanceId="a/b"),
        pb.CreateInstanceRequest(name="greeting", instanceId="@counter@1"),
        pb.CreateInstanceRequest(name="greeting", instanceId="x" * 2000),
        pb.CreateInstanceRequest(name="greeting", tags={"a=b": "c"}),
    ],
)
def test_a_start_that_cannot_be_recorded_is_refused_in_words(client: TaskHubGrpcClient, request_: Any) -> None:
    code, text = catch_error(lambda: client._stub.StartInstance(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "\n" not in text


def test_the_beginning_of_1970_is_no_time_of_a_start(client: TaskHubGrpcClient) -> None:
    for seconds, is_told in ((0, False), (1, True)):
        request = pb.CreateInstanceRequest(instanceId=new_id(), name="greeting", input=StringValue(value='"x"'))
        request.scheduledStartTimestamp.seconds = seconds
        client._stub.StartInstance(request)
        wait(client, request.instanceId)
        found = client._stub.GetInstance(pb.GetInstanceRequest(instanceId=request.instanceId))
        assert found.orchestrationState.HasField("scheduledStartTimestamp") is is_told


def test_a_start_may_be_scheduled(client: TaskHubGrpcClient) -> None:
    at = datetime.now(UTC) + timedelta(seconds=1)
    instance = client.schedule_new_orchestration("greeting", input="x", start_at=at)
    assert client.get_orchestration_state(instance).runtime_status is Status.PENDING  # type: ignore[union-attr]
    assert wait(client, instance).last_updated_at >= at.replace(tzinfo=None)
