"""grpc: hello5 and chains whose code runs in workers, beside the in-memory backend of the Python SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from tests.benchmarks.bench_sleepers import read_cpu
from tests.benchmarks.harness import APP, Run, run_process
from tests.benchmarks.table import Budget, Cost, Row, make_percentile, make_rate, make_time
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

COUNT, ALONE, ROUNDS = 200, 40, 3
LENGTHS = (100, 1_000)
STATELESS_LENGTHS = (100, 400)
STEP_BUDGET = Budget(1.2, 1.0)
_START_SECONDS = 60


class Server(NamedTuple):
    """A server in a process of its own."""

    address: str
    pid: int


class SdkCost(NamedTuple):
    """Seconds of the program with the SDK, for all at once and for each alone; and the server's CPU for each."""

    seconds: float
    alone: list[float]
    cpu: float


def measure(run: Run) -> Iterator[Row]:
    folder = run.make_folder()
    with serve_hub(folder) as ours, serve_in_memory(folder) as theirs:
        yield from compare_hello5(run, {"ours": ours, "in memory": theirs})
        yield from measure_chains(run, folder, ours)


@contextmanager
def serve_hub(folder: str) -> Iterator[Server]:
    """A daemon without an app."""
    port = find_free_port()
    command = ["-m", "durablecli", "run-daemon", "--state-dir", f"{folder}/state", "--grpc", str(port)]
    with run_until_ready(command, folder, "listening for gRPC") as pid:
        yield Server(f"127.0.0.1:{port}", pid)


@contextmanager
def serve_in_memory(folder: str) -> Iterator[Server]:
    """The backend of the SDK."""
    port = find_free_port()
    with run_until_ready(["-m", "tests.benchmarks.sdk_program", "--serve", str(port)], folder, "ready") as pid:
        yield Server(f"127.0.0.1:{port}", pid)


@contextmanager
def run_until_ready(arguments: Sequence[str], folder: str, text: str) -> Iterator[int]:
    """A Python process that has printed `text`, by its id; it is stopped in the end."""
    log = Path(folder) / f"log-{find_free_port()}"
    with (
        log.open("w") as output,
        subprocess.Popen([sys.executable, "-u", *arguments], stdout=output, stderr=subprocess.STDOUT) as process,
    ):
        try:
            wait_until(lambda: text in log.read_text() or process.poll() is not None, _START_SECONDS)
            assert process.poll() is None, log.read_text()
            yield process.pid
        finally:
            process.terminate()
            process.wait(60)


def run_sdk(server: Server, name: str, given: Any, count: int, alone: int) -> SdkCost:
    arguments = [server.address, name, json.dumps(given), str(count), str(alone)]
    before = read_cpu(server.pid)
    printed = run_process(["-m", "tests.benchmarks.sdk_program", *arguments]).output
    seconds, took = json.loads(printed.splitlines()[-1])
    return SdkCost(seconds, took, (read_cpu(server.pid) - before) / (count + alone))


def compare_hello5(run: Run, servers: dict[str, Server]) -> Iterator[Row]:
    """hello5 by the SDK's worker and client, in turns on both servers."""
    count, alone = run.size(COUNT), run.size(ALONE)
    found: dict[str, list[SdkCost]] = {name: [] for name in servers}
    for _ in run.rounds(ROUNDS):
        for name, server in servers.items():
            found[name].append(run_sdk(server, "sdk_hello5", None, count, alone))
    medians = {}
    for name, costs in found.items():
        yield make_rate(
            f"gRPC: hello5 by the Python SDK, {count}, {name}", count, [Cost(c.seconds, c.cpu * count) for c in costs]
        )
        took = [seconds for cost in costs for seconds in cost.alone]
        yield make_percentile(f"gRPC: hello5 by the Python SDK, alone, {name}, median", took, 50, "ms")
        medians[name] = sorted(cost.seconds for cost in costs)[len(costs) // 2], sorted(took)[len(took) // 2]
    (our_seconds, our_time), (their_seconds, their_time) = medians["ours"], medians["in memory"]
    yield Row("gRPC: rate of hello5 beside the backend in memory", their_seconds / our_seconds, "×")
    yield Row("gRPC: time of a hello5 alone beside the backend in memory", our_time / their_time, "×")


def measure_chains(run: Run, folder: str, server: Server) -> Iterator[Row]:
    """A step of chains by durablecli's worker, which keeps sessions, and by the SDK's, which does not."""
    command = ["-m", "durablecli", "run-daemon", "--engine", f"dts://{server.address}", "--app", APP]
    with run_until_ready(command, folder, "connected to"):
        yield from compare_steps(run, "durablecli's worker", LENGTHS, lambda steps: time_chain(server.address, steps))
    yield from compare_steps(
        run,
        "the Python SDK's worker",
        STATELESS_LENGTHS,
        lambda steps: run_sdk(server, "sdk_chain", steps, 1, 0).seconds,
    )


def compare_steps(run: Run, whose: str, lengths: Sequence[int], time: Callable[[int], float]) -> Iterator[Row]:
    found = {length: [time(length) / length for _ in run.rounds(ROUNDS)] for length in run.sizes(*lengths)}
    for length, rounds in found.items():
        yield make_time(f"gRPC: chain of {length:,} by {whose}, a step", rounds, "µs")
    shortest, longest = min(found), max(found)
    ratio = min(found[longest]) / min(found[shortest])
    budget = STEP_BUDGET if lengths is LENGTHS else None
    yield Row(f"gRPC: a step of {longest:,} beside one of {shortest:,}, by {whose}", ratio, "×", budget=budget)


def time_chain(address: str, steps: int) -> float:
    """The seconds of a chain in a worker that is connected."""
    from durabletask.client import OrchestrationStatus, TaskHubGrpcClient  # grpc would weigh on other subjects

    with TaskHubGrpcClient(host_address=address) as client:
        began = perf_counter()
        instance = client.schedule_new_orchestration("chain", input=steps)
        state = client.wait_for_orchestration_completion(instance, timeout=600)
    assert state is not None
    assert state.runtime_status is OrchestrationStatus.COMPLETED, state
    return perf_counter() - began
