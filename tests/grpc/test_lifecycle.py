"""The life of a server: pings, Ctrl-C, and kills while clients wait and workers work."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any

import grpc
import pytest
from durabletask import task
from durabletask.client import TaskHubGrpcClient
from durabletask.worker import TaskHubGrpcWorker

from tests.grpc.conftest import GrpcDaemon, catch_error, start_grpc_daemon
from tests.grpc.test_workers import WorkStream, complete, work_stream
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until


def test_an_idle_worker_is_pinged(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub, DURABLE_GRPC__HEALTH_PING="0.2")
    with work_stream(daemon, "nothing") as stream:
        wait_until(lambda: stream.pings >= 3, seconds=5, description="pings")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_shutdown_ends_waits_and_streams_at_once(hub: CliHarness, number: int) -> None:
    daemon = start_grpc_daemon(hub)
    with daemon.make_client() as client, work_stream(daemon, "nothing") as stream, ThreadPoolExecutor(1) as threads:
        instance = client.schedule_new_orchestration("waiter")
        waiting = threads.submit(
            catch_error, lambda: client.wait_for_orchestration_completion(instance, timeout=60)
        )  # fmt: skip
        sleep(0.3)
        began = monotonic()
        daemon.process.send_signal(number)
        assert waiting.result(10)[0] is grpc.StatusCode.UNAVAILABLE
        assert daemon.process.wait_for_exit(15) == 0
        assert monotonic() - began < 8
        wait_until(lambda: stream.error is not None, description="the stream ends")
    assert "Traceback" not in daemon.process.output
    hub.assert_sound()


def test_a_worker_may_answer_while_the_daemon_stops(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    release, began = threading.Event(), threading.Event()

    def slow(context: task.ActivityContext, value: int) -> int:
        began.set()
        release.wait(20)
        return value

    def calls_slow(context: task.OrchestrationContext, value: int) -> Any:
        return (yield context.call_activity(slow, input=value))

    worker = TaskHubGrpcWorker(host_address=daemon.address, logger=logging.getLogger("tests.grpc.quiet"))
    worker.add_activity(slow)
    worker.add_orchestrator(calls_slow)
    worker.start()  # type: ignore[no-untyped-call]
    try:
        with daemon.make_client() as client:
            instance = client.schedule_new_orchestration(calls_slow, input=3)
            assert began.wait(20)
            daemon.process.send_signal(signal.SIGTERM)
            wait_until(lambda: is_refused(client), description="the daemon stops")
            sleep(1)
            assert daemon.process.alive, "it waits for the worker"
            release.set()
            assert daemon.process.wait_for_exit(15) == 0
    finally:
        worker.stop()  # type: ignore[no-untyped-call]
    kinds = [type(record.event).__name__ for record in hub.client.get_history(instance)]
    assert "TaskCompleted" in kinds


def test_a_daemon_that_waits_for_a_worker_is_not_idle_and_does_not_say_so_when_it_is_stopped(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    hub("start", "elsewhere")
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait_for_exit() == 0
    process = hub.start("run-daemon", "--until-idle", "--grpc", "0")
    process.wait_for_output("waiting for a worker that runs orchestrator 'elsewhere'")
    sleep(1)
    assert process.alive
    process.send_signal(signal.SIGTERM)
    assert process.wait_for_exit() == 0
    assert "idle" not in process.output
    assert "stopping" in process.output


def is_refused(client: TaskHubGrpcClient) -> bool:
    try:
        client.get_orchestration_state("nobody")
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_what_was_acknowledged_survives_a_kill_and_a_waiting_client_may_wait_again(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    with daemon.make_client() as client, ThreadPoolExecutor(8) as threads:
        waiter = client.schedule_new_orchestration("waiter")
        waiting = threads.submit(
            catch_error, lambda: client.wait_for_orchestration_completion(waiter, timeout=60)
        )  # fmt: skip
        started = list(threads.map(lambda _: client.schedule_new_orchestration("waiter"), range(50)))
        client.raise_orchestration_event(started[0], "go", data="kept")
        daemon.process.kill()
        assert waiting.result(20)[0] is grpc.StatusCode.UNAVAILABLE
        again = start_grpc_daemon(hub, daemon.address)
        wait_until(lambda: not is_refused(client), description="the client has connected again")
        assert all(client.get_orchestration_state(each) is not None for each in started)
        state = client.wait_for_orchestration_completion(started[0], timeout=20)
        assert state is not None
        assert state.get_output() == "kept"
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait_for_exit() == 0
    hub.assert_sound()


def test_an_answer_counts_after_a_restart_and_work_is_given_out_again(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    with daemon.make_client() as client, work_stream(daemon, "elsewhere") as stream:
        one, two = (client.schedule_new_orchestration("elsewhere") for _ in range(2))
        first, second = stream.wait_for_items(2)
    daemon.process.kill()
    daemon = start_grpc_daemon(hub, daemon.address)
    lost = next(item for item in (first, second) if item.orchestratorRequest.instanceId == two)
    kept = next(item for item in (first, second) if item.orchestratorRequest.instanceId == one)
    with daemon.make_client() as client:
        stream = WorkStream(daemon)
        stream.stub.CompleteOrchestratorTask(complete(kept, "1"))
        assert read_output(client, one) == 1
        again = next(item for item in stream.wait_for_items(1) if item.orchestratorRequest.instanceId == two)
        assert again.orchestratorRequest.pastEvents == lost.orchestratorRequest.pastEvents
        stream.stub.CompleteOrchestratorTask(complete(again, "2"))
        assert read_output(client, two) == 2
        stream.close()
    assert "Traceback" not in daemon.process.output


def read_output(client: TaskHubGrpcClient, instance: str) -> Any:
    state = client.wait_for_orchestration_completion(instance, timeout=20)
    assert state is not None
    return state.get_output()


def test_a_turn_above_the_message_limit_blocks_its_instance(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub, DURABLE_GRPC__MESSAGE_LIMIT="50000")
    with daemon.make_client() as client, work_stream(daemon, "elsewhere") as stream:
        big = client.schedule_new_orchestration("elsewhere", input="x" * 40_000)
        (item,) = stream.wait_for_items()
        client.raise_orchestration_event(big, "more", data="y" * 40_000)
        stream.stub.CompleteOrchestratorTask(complete(item, "", actions=[]))
        wait_until(lambda: hub.client.get_status(big).blocked is not None, description="blocked")
        blocked = hub.client.get_status(big).blocked
        assert blocked is not None
        assert "raise grpc.message_limit" in blocked.reason
        small = client.schedule_new_orchestration("elsewhere")
        stream.stub.CompleteOrchestratorTask(complete(stream.wait_for_items(2)[1], "1"))
        assert read_output(client, small) == 1


def test_keepalive_is_answered(daemon: GrpcDaemon) -> None:
    options = [("grpc.keepalive_time_ms", 100), ("grpc.http2.max_pings_without_data", 0)]
    with grpc.insecure_channel(daemon.address, options) as channel:
        stream = channel.unary_stream("/TaskHubSidecarService/GetWorkItems")(b"")
        sleep(1.5)  # a server that finds these pings too many would have closed the connection
        assert stream.is_active()
        stream.cancel()


def test_a_worker_that_accepts_no_large_message_blocks_the_instance_alone(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    with daemon.make_client() as client:
        big = client.schedule_new_orchestration("elsewhere", input="x" * 5_000_000)
        worker = TaskHubGrpcWorker(host_address=daemon.address, logger=logging.getLogger("tests.grpc.quiet"))

        def elsewhere(context: task.OrchestrationContext, _: Any) -> int:
            return 1

        worker.add_orchestrator(elsewhere)
        worker.start()  # type: ignore[no-untyped-call]
        try:
            wait_until(lambda: hub.client.get_status(big).blocked is not None, 60, "blocked")
            blocked = hub.client.get_status(big).blocked
            assert blocked is not None
            assert "grpc.max_receive_message_length" in blocked.reason
            assert read_output(client, client.schedule_new_orchestration("elsewhere")) == 1
        finally:
            worker.stop()  # type: ignore[no-untyped-call]


_SILENT_WORKER = """
import grpc, sys, time
from durabletask.internal import orchestrator_service_pb2 as pb, orchestrator_service_pb2_grpc as stubs
stub = stubs.TaskHubSidecarServiceStub(grpc.insecure_channel(sys.argv[1]))
for item in stub.GetWorkItems(pb.GetWorkItemsRequest()):
    print(item.orchestratorRequest.instanceId, flush=True)
"""


def test_a_worker_that_answers_no_ping_loses_its_work(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub, DURABLE_GRPC__KEEP_ALIVE="0.5")
    with daemon.make_client() as client:
        instance = client.schedule_new_orchestration("elsewhere")
        command = [sys.executable, "-c", _SILENT_WORKER, daemon.address]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as silent:
            try:
                assert silent.stdout is not None
                assert silent.stdout.readline().strip() == instance
                silent.send_signal(signal.SIGSTOP)
                with work_stream(daemon, "elsewhere") as stream:
                    (item,) = stream.wait_for_items(1, seconds=15)
                    stream.stub.CompleteOrchestratorTask(complete(item, "1"))
                    assert read_output(client, instance) == 1
            finally:
                silent.kill()
