"""hello5 on durabletask in memory: `python durabletask_hello5.py COUNT ALONE PORT`, with the packages of the peers."""

from __future__ import annotations

import json
import logging
import sys
import time
from importlib.metadata import version

from durabletask import client, worker
from durabletask.testing.in_memory_backend import create_test_backend


def hello(context, city):
    return f"Hello {city}!"


def hello5(context, _):
    said = []
    for city in ("Tokyo", "Seattle", "London", "Paris", "Lima"):
        said.append((yield context.call_activity(hello, input=city)))
    return said


def main() -> None:
    count, alone, port = (int(each) for each in sys.argv[1:])
    logging.disable(logging.ERROR)
    backend = create_test_backend(port=port)
    address = f"localhost:{port}"
    with worker.TaskHubGrpcWorker(host_address=address) as running:
        running.add_orchestrator(hello5)
        running.add_activity(hello)
        running.start()
        hub = client.TaskHubGrpcClient(host_address=address)
        wait = hub.wait_for_orchestration_completion
        wait(hub.schedule_new_orchestration(hello5), timeout=60)
        began = time.perf_counter()
        for id_ in [hub.schedule_new_orchestration(hello5) for _ in range(count)]:
            assert wait(id_, timeout=600).runtime_status == client.OrchestrationStatus.COMPLETED
        seconds = time.perf_counter() - began
        took = []
        for _ in range(alone):
            began = time.perf_counter()
            wait(hub.schedule_new_orchestration(hello5), timeout=60)
            took.append(time.perf_counter() - began)
    backend.stop()
    versions = f"durabletask {version('durabletask')}"
    print(json.dumps({"seconds": seconds, "alone": took, "version": versions, "durability": "none: in memory"}))


if __name__ == "__main__":
    main()
