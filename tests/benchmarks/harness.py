"""What every benchmark stands on: a run and its folder, engines in this process, and durablecli as processes.

Nothing is deleted between measurements: on ext4 that makes creating files slow for minutes.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, process_time, sleep
from typing import IO, NamedTuple

from durablecli.config import ConcurrencyConfig
from durablecli.engine.engine import Engine
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.registry import Registry
from durablecli.store.disk import Appender, Disk, LocalDisk
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks import app
from tests.benchmarks.table import Cost
from workflows import bank

APP = str(Path(app.__file__))
BARE_LOOP = str(Path(__file__).parent / "bare_loop.py")


class Run(NamedTuple):
    """A run of benchmarks in its folder. `limit` bounds every size, to see in seconds that the benchmarks work."""

    folder: str
    limit: int | None = None

    def size(self, size: int) -> int:
        return size if self.limit is None else min(size, self.limit)

    def sizes(self, *sizes: int) -> list[int]:
        return sorted({self.size(each) for each in sizes})

    def rounds(self, count: int) -> range:
        return range(1 if self.limit is not None else count)

    def make_folder(self) -> str:
        return tempfile.mkdtemp(dir=self.folder)


def registry() -> Registry:
    """The functions that are measured, and the bank among the samples."""
    found = Registry()
    found.add_module(app)
    found.add_module(bank)
    return found


# ── engines in this process ──────────────────────────────────────────────────────────────────────────────────────────


class SlowSyncDisk:
    """A disk whose journal takes at least so long to sync: what a busy or a spinning disk does."""

    def __init__(self, disk: Disk, seconds: float) -> None:
        self._disk = disk
        self._seconds = seconds

    def __getattr__(self, name: str) -> object:
        return getattr(self._disk, name)

    def appender(self, path: str, *, create: bool) -> Appender:
        file = self._disk.appender(path, create=create)
        sync = file.sync

        def slow_sync() -> None:
            sleep(self._seconds)
            sync()

        file.sync = slow_sync  # type: ignore[method-assign]
        return file


@contextmanager
def open_engine(root: str, *, sync: float = 0.0) -> Iterator[Engine]:
    """A running engine over the hub `root`, which is made if need be; `sync` adds that many seconds to every sync."""
    disk: Disk = SlowSyncDisk(LocalDisk(), sync) if sync else LocalDisk()  # type: ignore[assignment]
    hub = open_hub(root, disk)
    functions = registry()
    location = AppLocation([APP])
    found = Engine(
        hub, functions, make_dispatcher=lambda report: Dispatcher(functions, report, ConcurrencyConfig(), location)
    )
    found.open()
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)  # as the daemon does
    try:
        yield found
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        found.close()
        close_hub(hub)


def measure_run(engine: Engine, items: list[MessageItem], kind: str = "start") -> Cost:
    """What some messages take until all their work has ended, every commit on disk and every history written."""
    began = perf_counter(), process_time()
    for item in items:
        engine.submit(kind, [item])
    engine.run(lambda engine: engine.is_idle)
    engine.flush()
    return Cost(perf_counter() - began[0], process_time() - began[1])


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Outside(NamedTuple):
    """What a process took, from its start to its end, as the system counts it, and its output.

    `memory` is its peak RSS in MB, but not less than what this process had when it started the other.
    """

    cost: Cost
    memory: float
    output: str


def run_process(arguments: Sequence[str]) -> Outside:
    """Run Python with these arguments; a failure is an error."""
    began = perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read()
    assert process.returncode == 0, f"{' '.join(arguments)} exited with {process.returncode}: {text}"
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Outside(Cost(seconds, usage.ru_utime + usage.ru_stime), usage.ru_maxrss / scale, text)


def run_durable(*arguments: str) -> Outside:
    return run_process(["-m", "durablecli", *arguments])


@contextmanager
def run_daemon(state: str, *options: str, output: IO[str] | int = subprocess.DEVNULL) -> Iterator[int]:
    """A daemon over a hub, in a process of its own; its process id."""
    command = [sys.executable, "-u", "-m", "durablecli", "run-daemon", "--app", APP, "--state-dir", state, *options]
    with subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def write_batch(folder: str, count: int) -> str:
    """A file for `start --batch`: so many empty inputs."""
    path = f"{folder}/batch.jsonl"
    Path(path).write_text("null\n" * count)
    return path


# ── the bare loop ────────────────────────────────────────────────────────────────────────────────────────────────────


class BareLoopCost(NamedTuple):
    """What the bare loop takes for one instance: from outside with the interpreter's start, and in its process."""

    outside: Cost
    inside: Cost


def measure_bare_loop(run: Run, count: int) -> BareLoopCost:
    folder = run.make_folder()
    found = run_process([BARE_LOOP, write_batch(folder, count), f"{folder}/files"])
    inside = [float(each) / count for each in found.output.split()]
    return BareLoopCost(Cost(found.cost.seconds / count, found.cost.cpu / count), Cost(inside[0], inside[1]))


def average(costs: Sequence[Cost]) -> Cost:
    return Cost(sum(each.seconds for each in costs) / len(costs), sum(each.cpu for each in costs) / len(costs))
