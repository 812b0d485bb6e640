"""A worker and a client of the Python SDK: `python -m tests.benchmarks.sdk_program ADDRESS FUNCTION INPUT COUNT ALONE`.

It starts COUNT instances of an orchestrator at once, and ALONE ones one after another, and prints the seconds. As
`python -m tests.benchmarks.sdk_program --serve PORT` it is the SDK's backend in memory.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Generator
from time import perf_counter
from typing import Any

from durabletask import task
from durabletask.client import OrchestrationStatus, TaskHubGrpcClient
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

Turns = Generator[task.Task[Any], Any, Any]


def sdk_hello(context: task.ActivityContext, city: str) -> str:
    return f"Hello {city}!"


def sdk_hello5(context: task.OrchestrationContext, _: Any) -> Turns:
    said = []
    for city in ("Tokyo", "Seattle", "London", "Paris", "Lima"):
        said.append((yield context.call_activity(sdk_hello, input=city)))
    return said


def sdk_chain(context: task.OrchestrationContext, steps: int) -> Turns:
    for step in range(steps):
        yield context.call_activity(sdk_hello, input=str(step))
    return "done"


def measure(address: str, name: str, given: Any, count: int, alone: int) -> tuple[float, list[float]]:
    """The seconds of all at once, and of each alone."""
    with TaskHubGrpcWorker(host_address=address) as worker, TaskHubGrpcClient(host_address=address) as client:
        for orchestrator in (sdk_hello5, sdk_chain):
            worker.add_orchestrator(orchestrator)
        worker.add_activity(sdk_hello)
        worker.start()  # type: ignore[no-untyped-call]

        def wait(instance: str) -> None:
            state = client.wait_for_orchestration_completion(instance, timeout=600)
            assert state is not None
            assert state.runtime_status is OrchestrationStatus.COMPLETED, state

        wait(client.schedule_new_orchestration(sdk_hello5))
        began = perf_counter()
        for instance in [client.schedule_new_orchestration(name, input=given) for _ in range(count)]:
            wait(instance)
        seconds = perf_counter() - began
        took = []
        for _ in range(alone):
            began = perf_counter()
            wait(client.schedule_new_orchestration(name, input=given))
            took.append(perf_counter() - began)
    return seconds, took


def main() -> None:
    """Measure, or serve."""
    logging.disable(logging.ERROR)
    if sys.argv[1] == "--serve":
        create_test_backend(port=int(sys.argv[2]))
        print("ready", flush=True)
        threading.Event().wait()
    address, name, given, count, alone = sys.argv[1:]
    print(json.dumps(measure(address, name, json.loads(given), int(count), int(alone))))


if __name__ == "__main__":
    main()
