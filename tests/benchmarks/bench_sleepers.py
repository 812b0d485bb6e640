"""Very many instances that sleep for days: starting them, opening their hub, commands on it, and a daemon over it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter, sleep, time

from durablecli.client import Client
from durablecli.store.query import Query
from tests.benchmarks.app import return_at_once
from tests.benchmarks.harness import APP, Run, run_daemon, run_durable, write_batch
from tests.benchmarks.table import Budget, Row, make_percentile, make_rate, make_time

SLEEPERS = 100_000
MESSAGES = 300
IDLE_SECONDS = 5.0
RSS_BUDGET = Budget(400)
COMMAND_BUDGET = Budget(250, 150)


def measure(run: Run) -> Iterator[Row]:
    count, folder = run.size(SLEEPERS), run.make_folder()
    state = f"{folder}/state"
    started = run_durable("start", "sleeper", "--app", APP, "--state-dir", state, "--batch", write_batch(folder, count))
    yield make_rate(f"start --batch, {count:,}", count, [started.cost], memory=started.memory)
    slept = run_durable("run-daemon", "--app", APP, "--state-dir", state, "--until-idle")
    yield make_rate(f"start and sleep 72 h, {count:,}", count, [slept.cost], memory=slept.memory)
    yield Row("peak RSS of the sleep", slept.memory, "MB", budget=RSS_BUDGET)
    yield from measure_commands(run, state, count)
    yield from measure_daemon(run, state, count)


def measure_commands(run: Run, state: str, count: int) -> Iterator[Row]:
    instance = Client(state).page(Query(limit=1)).rows[0].id
    yield measure_command(run, "durable --help", ["--help"])
    yield measure_command(
        run, f"durable status ID, {count:,}", ["status", instance, "--state-dir", state], COMMAND_BUDGET
    )
    yield measure_command(run, f"durable list, {count:,}", ["list", "--state-dir", state], COMMAND_BUDGET)


def measure_command(run: Run, what: str, arguments: Sequence[str], budget: Budget | None = None) -> Row:
    found = [run_durable(*arguments) for _ in run.rounds(5)]
    return make_time(what, [each.cost.seconds for each in found], "ms", budget=budget)


def measure_daemon(run: Run, state: str, count: int) -> Iterator[Row]:
    """Daemons over the sleepers: until one has handled a message that waited, then what it takes to stay."""
    client = Client(state)
    opened = []
    memory = 0.0
    for _ in run.rounds(3):
        instance = client.start_new(return_at_once)
        began = perf_counter()
        with run_daemon(state) as pid:
            while not client.has_ended(instance):
                sleep(0.002)
            opened.append(perf_counter() - began)
            memory = max(memory, read_memory(pid))
    yield make_time(f"open the hub of {count:,} sleepers", opened, "s", memory=memory, budget=Budget(3, 1))
    yield Row("peak RSS of the open hub", memory, "MB", budget=RSS_BUDGET)
    with run_daemon(state) as pid:
        yield from measure_messages(client, run.size(MESSAGES))
        yield measure_idle(pid, IDLE_SECONDS if run.limit is None else 0.2)


def measure_messages(client: Client, count: int) -> Iterator[Row]:
    """From the acknowledgement of a start, in this process, to the time that its first record bears."""
    client.wait(client.start_new(return_at_once))
    posted, taken = [], []
    for _ in range(count):
        sleep(0.01)  # the daemon is idle again
        began = time()
        instance = client.start_new(return_at_once)
        acknowledged = time()
        client.wait(instance)
        posted.append(acknowledged - began)
        taken.append(max(0.0, client.get_history(instance)[0].at.timestamp() - acknowledged))
    yield make_percentile("post a message, median", posted, 50, "ms")
    yield make_percentile("posted until an idle daemon takes it, median", taken, 50, "ms")
    yield make_percentile("posted until an idle daemon takes it, p99", taken, 99, "ms", budget=Budget(50, 1))


def measure_idle(pid: int, seconds: float) -> Row:
    sleep(seconds / 10)
    before = read_cpu(pid)
    sleep(seconds)
    return Row("CPU of an idle daemon", (read_cpu(pid) - before) / seconds * 100, "%", budget=Budget(1))


def read_memory(pid: int) -> float:
    """The peak RSS of a running process, in MB."""
    status = Path(f"/proc/{pid}/status")
    found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(found[0]) / 1024


def read_cpu(pid: int) -> float:
    """The seconds of CPU that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
