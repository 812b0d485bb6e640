"""What the commands say of a worker of the Python SDK and its work, beside a daemon."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from durabletask import task
from durabletask.worker import TaskHubGrpcWorker

from tests.grpc.conftest import start_grpc_daemon
from tests.support.cli_harness import CliHarness
from tests.support.waiting import wait_until

GATE = threading.Event()


def held(context: task.ActivityContext, value: int) -> str:
    GATE.wait(60)
    return "not JSON"


def order(context: task.OrchestrationContext, value: int) -> Generator[Any, Any, Any]:
    context.set_custom_status("calling")
    text = yield context.call_activity(held, input=value)
    go = yield context.wait_for_external_event("Go")
    return [text, go]


def pause(context: task.OrchestrationContext, value: str) -> Generator[Any, Any, Any]:
    yield context.create_timer(timedelta(milliseconds=10))
    return value


def waits_of(hub: CliHarness, instance: str) -> list[Any]:
    found: list[Any] = json.loads(hub("status", instance, "-o", "json").out)["waitingFor"]
    return found


def test_the_commands_know_what_a_worker_does(hub: CliHarness) -> None:
    daemon = start_grpc_daemon(hub)
    started = hub("start", "order", "--id", "o", "--input", "7")
    assert "'order' isn't loaded here: it waits for a worker that runs it (no worker connected)" in started.err
    wait_until(lambda: "a worker that runs 'order' (no worker is connected)" in hub("status", "o").out)
    daemon.process.wait_for_output("waiting for a worker that runs orchestrator 'order' (no worker connected)")
    worker = TaskHubGrpcWorker(host_address=daemon.address, logger=logging.getLogger("tests.grpc.quiet"))
    worker.add_orchestrator(order)
    worker.add_orchestrator(pause)
    worker.add_activity(held)
    worker.start()  # type: ignore[no-untyped-call]
    try:
        wait_until(lambda: [each.get("state") for each in waits_of(hub, "o")] == ["running"])
        assert re.search(
            r"activity held \(id \d+\), running for .* on worker 127\.0\.0\.1:\d+\n", hub("status", "o").out
        )
        (listed,) = json.loads(hub("functions", "-o", "json").out)["workers"]
        assert (listed["label"].startswith("127.0.0.1:"), listed["inFlight"]) == (True, {"activity": 1})
        GATE.set()
        wait_until(lambda: not waits_of(hub, "o"))
        assert "what its code awaits, such as an external event" in hub("status", "o").out
        hub("raise-event", "o", "Go", "--data", '"now"')
        assert json.loads(hub("wait", "o").out) == ["not JSON", "now"]
        assert hub("doctor").exit_code == 0
        assert json.loads(hub("run", "pause", "--input", '"seen"').out) == "seen"
    finally:
        GATE.set()
        worker.stop()  # type: ignore[no-untyped-call]
