"""Workers of the Python SDK, and streams of work by hand, against a daemon."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import grpc
import pytest
from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

from durablecli.grpc import work_streams
from durablecli.grpc.sent_activities import SentActivities
from durablecli.protocol.generated import pb, stubs
from tests.grpc.conftest import GrpcDaemon, catch_error
from tests.support.waiting import wait_until


def double(context: task.ActivityContext, value: int) -> int:
    return value * 2


def chain(context: task.OrchestrationContext, value: int) -> Generator[Any, Any, Any]:
    for _ in range(3):
        value = yield context.call_activity(double, input=value)
    return value


def uses_local_activity(context: task.OrchestrationContext, text: str) -> Generator[Any, Any, Any]:
    return (yield context.call_activity("shout", input=text))


def calls_local_child(context: task.OrchestrationContext, text: str) -> Generator[Any, Any, Any]:
    return (yield context.call_sub_orchestrator("greeting", input=text))


@contextmanager
def sdk_worker(daemon: GrpcDaemon, *functions: Callable[..., Any]) -> Iterator[TaskHubGrpcWorker]:
    worker = TaskHubGrpcWorker(host_address=daemon.address, logger=logging.getLogger("tests.grpc.quiet"))
    for function in functions:
        if function is double:
            worker.add_activity(function)
        else:
            worker.add_orchestrator(function)
    worker.start()  # type: ignore[no-untyped-call]
    try:
        yield worker
    finally:
        worker.stop()  # type: ignore[no-untyped-call]


class WorkStream:
    """A stream of work, read by hand."""

    def __init__(self, daemon: GrpcDaemon, **request: Any) -> None:
        # Channels of one process share their connections, unless they are told not to.
        self.channel = grpc.insecure_channel(daemon.address, [("grpc.use_local_subchannel_pool", 1)])
        self.stub: Any = stubs.TaskHubSidecarServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self.items: list[Any] = []
        self.pings = 0
        self.error: Any = None
        self._call = self.stub.GetWorkItems(pb.GetWorkItemsRequest(**request))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for item in self._call:
                if item.WhichOneof("request") == "healthPing":
                    self.pings += 1
                else:
                    self.items.append(item)
        except grpc.RpcError as error:
            self.error = error

    def wait_for_items(self, count: int = 1, seconds: float = 20) -> list[Any]:
        wait_until(lambda: len(self.items) >= count, seconds, f"{count} work items")
        return self.items

    def close_stream(self) -> None:
        self._call.cancel()

    def close(self) -> None:
        self.channel.close()


@contextmanager
def work_stream(daemon: GrpcDaemon, name: str, **more: Any) -> Iterator[WorkStream]:
    filters = pb.WorkItemFilters(orchestrations=[pb.OrchestrationFilter(name=name)])
    stream = WorkStream(daemon, workItemFilters=filters, **more)
    try:
        yield stream
    finally:
        stream.close()


def complete(item: Any, result: str, **changes: Any) -> Any:
    action = pb.OrchestratorAction(
        id=1,
        completeOrchestration=pb.CompleteOrchestrationAction(
            orchestrationStatus=pb.ORCHESTRATION_STATUS_COMPLETED, result={"value": result}
        ),
    )
    fields = {"instanceId": item.orchestratorRequest.instanceId, "actions": [action]}
    return pb.OrchestratorResponse(**fields | {"completionToken": item.completionToken} | changes)


def wait(client: TaskHubGrpcClient, instance: str) -> Any:
    state = client.wait_for_orchestration_completion(instance, timeout=20)
    assert state is not None
    return state


def test_orchestrators_and_activities_run_in_a_worker(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    with sdk_worker(daemon, chain, double):
        assert wait(client, client.schedule_new_orchestration(chain, input=5)).get_output() == 40


def test_a_remote_orchestrator_calls_local_functions(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    with sdk_worker(daemon, uses_local_activity, calls_local_child):
        for function in (uses_local_activity, calls_local_child):
            assert wait(client, client.schedule_new_orchestration(function, input="hey")).get_output() == "HEY"


def test_a_worker_gets_what_its_filters_name(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    one, other = f"one-{uuid4().hex}", f"other-{uuid4().hex}"
    with work_stream(daemon, one) as first, work_stream(daemon, other) as second:
        wanted = {name: client.schedule_new_orchestration(name) for name in (one, other)}
        for stream, name in ((first, one), (second, other)):
            (item,) = stream.wait_for_items()
            assert item.orchestratorRequest.instanceId == wanted[name]
            stream.stub.CompleteOrchestratorTask(complete(item, '"done"'))
            assert wait(client, wanted[name]).get_output() == "done"


def test_a_worker_gets_no_more_than_it_takes_at_once(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name, maxConcurrentOrchestrationWorkItems=2) as stream:
        for _ in range(5):
            client.schedule_new_orchestration(name)
        stream.wait_for_items(2)
        with pytest.raises(AssertionError):
            stream.wait_for_items(3, seconds=0.5)
        for done in range(5):
            stream.stub.CompleteOrchestratorTask(complete(stream.wait_for_items(done + 1)[done], "1"))
        assert len({item.orchestratorRequest.instanceId for item in stream.items}) == 5


def test_an_answer_without_a_token_is_for_what_the_worker_has(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    schedule = pb.OrchestratorAction(id=7, scheduleTask=pb.ScheduleTaskAction(name=name))
    stream = WorkStream(
        daemon,
        workItemFilters=pb.WorkItemFilters(
            orchestrations=[pb.OrchestrationFilter(name=name)], activities=[pb.ActivityFilter(name=name)]
        ),
    )
    instance = client.schedule_new_orchestration(name)
    stream.wait_for_items()
    stream.stub.CompleteOrchestratorTask(pb.OrchestratorResponse(instanceId=instance, actions=[schedule]))
    activity = stream.wait_for_items(2)[1]
    assert (activity.activityRequest.name, activity.activityRequest.taskId) == (name, 7)
    stream.stub.CompleteActivityTask(pb.ActivityResponse(instanceId=instance, taskId=7, result={"value": "3"}))
    last = stream.wait_for_items(3)[2]
    stream.stub.CompleteOrchestratorTask(complete(last, "4", completionToken=""))
    assert wait(client, instance).get_output() == 4
    stream.close()


def test_an_answer_in_parts_is_put_together(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        instance = client.schedule_new_orchestration(name)
        (item,) = stream.wait_for_items()
        for index in (1, 0):
            timer = pb.OrchestratorAction(id=2 + index, createTimer=pb.CreateTimerAction())
            timer.createTimer.fireAt.GetCurrentTime()
            timer.createTimer.fireAt.seconds += 3600
            part = complete(item, "", actions=[timer], isPartial=True, chunkIndex={"value": index})
            part.customStatus.value = '"in parts"'
            stream.stub.CompleteOrchestratorTask(part)
        assert client.get_orchestration_state(instance).runtime_status is OrchestrationStatus.PENDING  # type: ignore[union-attr]
        last = complete(item, "", actions=[], chunkIndex={"value": 2})
        stream.stub.CompleteOrchestratorTask(last)
        state = client.get_orchestration_state(instance)
        assert state is not None
        assert (state.runtime_status, state.get_custom_status()) == (OrchestrationStatus.RUNNING, "in parts")


def test_abandoned_work_is_given_out_again(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        instance = client.schedule_new_orchestration(name)
        (item,) = stream.wait_for_items()
        stream.stub.AbandonTaskOrchestratorWorkItem(
            pb.AbandonOrchestrationTaskRequest(completionToken=item.completionToken)
        )
        again = stream.wait_for_items(2)[1]
        assert again.orchestratorRequest == item.orchestratorRequest
        stream.stub.CompleteOrchestratorTask(complete(again, "1"))
        assert wait(client, instance).get_output() == 1


def test_a_broken_connection_gives_its_work_back_at_once(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        instances = [client.schedule_new_orchestration(name) for _ in range(3)]
        stream.wait_for_items(3)
        with work_stream(daemon, name) as other:
            stream.close()
            for item in other.wait_for_items(3, seconds=4):
                other.stub.CompleteOrchestratorTask(complete(item, "1"))
            assert [wait(client, each).get_output() for each in instances] == [1] * 3


def test_a_worker_that_closes_its_stream_may_still_answer(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        instance = client.schedule_new_orchestration(name)
        (item,) = stream.wait_for_items()
        stream.close_stream()
        with work_stream(daemon, name) as other:
            with pytest.raises(AssertionError):
                other.wait_for_items(seconds=1)
            stream.stub.CompleteOrchestratorTask(complete(item, "5"))
            assert wait(client, instance).get_output() == 5
            assert not other.items


def test_a_second_answer_has_no_effect_and_is_acknowledged(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        instance = client.schedule_new_orchestration(name)
        (item,) = stream.wait_for_items()
        for result in ("1", "2"):
            stream.stub.CompleteOrchestratorTask(complete(item, result))
        assert wait(client, instance).get_output() == 1


def test_tokens_that_no_hub_has_given_out_are_refused(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        client.schedule_new_orchestration(name)
        (item,) = stream.wait_for_items()
        calls = (
            lambda: stream.stub.CompleteOrchestratorTask(complete(item, "1", completionToken="x")),
            lambda: stream.stub.CompleteActivityTask(pb.ActivityResponse(completionToken=item.completionToken)),
            lambda: stream.stub.CompleteEntityTask(pb.EntityBatchResult()),
            lambda: stream.stub.AbandonTaskActivityWorkItem(pb.AbandonActivityTaskRequest(completionToken="@@")),
        )
        for call in calls:
            code, text = catch_error(call)
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            assert "completion token" in text
        stream.stub.CompleteOrchestratorTask(complete(item, "1"))


def test_an_answer_that_cannot_be_used_blocks_its_instance_only(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    name = uuid4().hex
    with work_stream(daemon, name) as stream:
        bad, good = client.schedule_new_orchestration(name), client.schedule_new_orchestration(name)
        for item in stream.wait_for_items(2):
            if item.orchestratorRequest.instanceId == bad:
                empty = complete(item, "", actions=[pb.OrchestratorAction(id=1)])
                assert catch_error(lambda: stream.stub.CompleteOrchestratorTask(empty))[0] is (  # noqa: B023  called at once
                    grpc.StatusCode.INVALID_ARGUMENT
                )
            else:
                stream.stub.CompleteOrchestratorTask(complete(item, "1"))
        assert wait(client, good).get_output() == 1


def test_a_result_that_is_too_large_fails_its_activity(daemon: GrpcDaemon, client: TaskHubGrpcClient) -> None:
    def make_large(context: task.ActivityContext, _: None) -> str:
        return "x" * (17 * 1024 * 1024)

    def calls_large(context: task.OrchestrationContext, _: None) -> Generator[Any, Any, Any]:
        return (yield context.call_activity("make_large"))

    worker = TaskHubGrpcWorker(host_address=daemon.address, logger=logging.getLogger("tests.grpc.quiet"))
    worker.add_activity(make_large)
    worker.add_orchestrator(calls_large)
    worker.start()  # type: ignore[no-untyped-call]
    try:
        state = wait(client, client.schedule_new_orchestration(calls_large))
        assert state.runtime_status is OrchestrationStatus.FAILED
        assert "the limit is 16,777,216" in state.failure_details.message
    finally:
        worker.stop()  # type: ignore[no-untyped-call]


def test_work_that_cannot_be_told_to_a_worker_is_refused_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[tuple[object, str]] = []

    class Pool:
        def refuse(self, key: object, reason: str) -> None:
            refused.append((key, reason))

    def fail(work: object) -> object:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(work_streams, "make_work_item", fail)
    streams = work_streams.WorkStreams(
        Pool(), SentActivities(), lambda: False, ping_interval=1, message_limit=1  # type: ignore[arg-type]
    )  # fmt: skip
    work: Any = SimpleNamespace(key="key")
    assert asyncio.run(streams._make_item(work)) is None
    assert refused == [("key", "internal error: the next message to its worker can't be made; see the log")]
