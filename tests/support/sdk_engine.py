"""Another engine that speaks the Durable Task protocol, with a worker of the Python SDK: what a client is tried on."""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from durabletask import task
from durabletask.entities import EntityContext
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

from durablecli.dts.address import EngineAddress
from tests.support.cli_harness import CliHarness
from tests.support.ports import find_free_port

_EMPTY_APP = "import durablecli as df\n\n\n@df.activity\ndef unused() -> None: ...\n"
_NO_CITIES: dict[str, str] = {}


def hello(ctx: task.ActivityContext, city: str) -> str:
    """Greet a city; raise ValueError, caused by a KeyError, without one."""
    if not city:
        try:
            _NO_CITIES[city]
        except KeyError as missing:
            raise ValueError("empty city") from missing
    return f"Hello {city}!"


def tour(ctx: task.OrchestrationContext, city: str) -> Generator[task.Task[Any], Any, Any]:
    """Greet one city."""
    ctx.set_custom_status({"city": city})
    return (yield ctx.call_activity(hello, input=city))


def tours(ctx: task.OrchestrationContext, cities: list[str]) -> Generator[task.Task[Any], Any, Any]:
    """Greet each city in an orchestration of its own."""
    return (yield task.when_all([ctx.call_sub_orchestrator(tour, input=city) for city in cities]))


def approval(ctx: task.OrchestrationContext, _: Any) -> Generator[task.Task[Any], Any, Any]:
    """Return the data of the event Approved."""
    return (yield ctx.wait_for_external_event("Approved"))


def nap(ctx: task.OrchestrationContext, seconds: float) -> Generator[task.Task[Any], Any, str]:
    """Sleep."""
    yield ctx.create_timer(timedelta(seconds=seconds))
    return "awake"


def counter(ctx: EntityContext, amount: Any) -> Any:
    """Count: add, get, or delete the state."""
    if ctx.operation == "delete":
        ctx.set_state(None)
        return None
    total = (ctx.get_state(int, 0) or 0) + (amount or 0)
    ctx.set_state(total)
    return total


def add_functions(worker: TaskHubGrpcWorker) -> None:
    """Register the functions above."""
    for orchestrator in (tour, tours, approval, nap):
        worker.add_orchestrator(orchestrator)
    worker.add_activity(hello)
    worker.add_entity(counter)


@contextmanager
def run_in_memory_engine() -> Iterator[EngineAddress]:
    """Run the backend in memory of the Python SDK, with a worker; give its address."""
    port = find_free_port()
    backend = create_test_backend(port=port)
    try:
        with run_sdk_worker(f"127.0.0.1:{port}"):
            yield EngineAddress("127.0.0.1", port)
    finally:
        backend.stop(grace=0)


@contextmanager
def run_own_engine(folder: Path) -> Iterator[EngineAddress]:
    """Run a daemon with gRPC, and a worker; give its address."""
    (folder / "app.py").write_text(_EMPTY_APP)
    hub = CliHarness(folder)
    try:
        daemon = hub.start("run-daemon", "--app", "app.py", "--grpc", "0")
        daemon.wait_for_output("listening for gRPC on ")
        found = re.search(r"listening for gRPC on (\S+):(\d+) \(hub ", daemon.output)
        assert found is not None
        with run_sdk_worker(f"{found[1]}:{found[2]}"):
            yield EngineAddress(found[1], int(found[2]))
    finally:
        hub.close()


@contextmanager
def run_sdk_worker(address: str) -> Iterator[None]:
    """Run the functions above in a worker of the SDK, which logs nothing."""
    with TaskHubGrpcWorker(host_address=address, logger=logging.getLogger("tests.sdk_engine.quiet")) as worker:
        add_functions(worker)
        worker.start()  # type: ignore[no-untyped-call]
        yield
