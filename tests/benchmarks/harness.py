"""What every benchmark stands on: a hub in a folder of its own, the facts of the machine, and the bare loop beside it.

The figures are only worth something with the sync on. A disk that syncs in under 20 µs is memory, and refused unless
DURABLE_BENCH_RAM=1. Nothing is deleted between measurements: on ext4 that makes creating files slow for minutes.
"""

from __future__ import annotations

import gc
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from time import perf_counter, sleep
from typing import Any

import msgspec

import durablecli as df
from durablecli.config import ConcurrencyConfig
from durablecli.engine.engine import Engine
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.registry import Registry
from durablecli.store.disk import Appender, Disk, LocalDisk
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.inbox.messages import MessageItem
from workflows import bank


@df.activity
def hello(city: str) -> str:
    return f"Hello {city}!"


@df.orchestrator
def hello5(context: df.DurableOrchestrationContext) -> Generator[Any, Any, list[str]]:
    said = []
    for city in ("Tokyo", "Seattle", "London", "Paris", "Lima"):
        said.append((yield context.call_activity(hello, city)))
    return said


@df.orchestrator
def chain(context: df.DurableOrchestrationContext) -> Generator[Any, Any, str]:
    for step in range(context.get_input()):
        yield context.call_activity(hello, str(step))
    return "done"


@df.entity
def tally(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 0) + context.get_input())


@df.orchestrator
def fan_out_signals(context: df.DurableOrchestrationContext) -> str:
    given = context.get_input()
    keys = [f"{given['round']}-{key}" for key in range(given["entities"])]
    for number in range(given["signals"]):
        context.signal_entity(df.EntityId("tally", keys[number % len(keys)]), "add", 1)
    return "sent"


def registry() -> Registry:
    """The functions of this file, and the bank among the samples."""
    found = Registry()
    found.add_module(sys.modules[__name__])
    found.add_module(bank)
    return found


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
def open_engine(folder: str, *, sync: float = 0.0) -> Iterator[Engine]:
    """A running engine over a new hub in `folder`; `sync` adds that many seconds to every sync of the journal."""
    root = tempfile.mkdtemp(prefix="hub-", dir=folder)
    disk: Disk = SlowSyncDisk(LocalDisk(), sync) if sync else LocalDisk()  # type: ignore[assignment]
    hub = open_hub(f"{root}/state", disk)
    functions = registry()
    found = Engine(hub, functions, make_dispatcher=lambda report: Dispatcher(functions, report, ConcurrencyConfig()))
    found.open()
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 10, 10)  # as the daemon does
    try:
        yield found
    finally:
        found.close()
        close_hub(hub)


def measure_run(engine: Engine, items: list[MessageItem]) -> float:
    """Seconds from the first start to the last end, every commit on disk and every history written."""
    before = perf_counter()
    for item in items:
        engine.submit("start", [item])
    engine.run(lambda engine: engine.is_idle)
    engine.flush()
    return perf_counter() - before


def measure_bare_loop() -> float:
    """Seconds for a fixed piece of Python: what the machine gives at this moment."""
    before = perf_counter()
    total = 0
    for i in range(3_000_000):
        total += i & 7
    return perf_counter() - before


def measure_sync(folder: str) -> float:
    """The median of 200 appends of 4 KiB, each with its fdatasync, in seconds."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(200):
            os.write(file.fileno(), b"x" * 4096)
            before = perf_counter()
            os.fdatasync(file.fileno())
            took.append(perf_counter() - before)
    return statistics.median(took)


def bench_folder() -> str:
    """Where the hubs go: DURABLE_BENCH_DIR, or the folder for temporary files."""
    return os.environ.get("DURABLE_BENCH_DIR") or tempfile.gettempdir()


def print_environment() -> str:
    """Print the machine, the disk and the versions; refuse a disk that is no disk. Returns the folder to use."""
    root = bench_folder()
    sync = measure_sync(root)
    kind = subprocess.run(["stat", "-f", "-c", "%T", root], capture_output=True, text=True, check=False).stdout.strip()
    print(f"machine    {os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}")
    print(f"python     {platform.python_version()}, msgspec {msgspec.__version__}, sqlite {sqlite3.sqlite_version}")
    print(f"disk       {root} on {kind or 'an unknown file system'}, median sync {sync * 1e6:.0f} µs")
    print("durability one fdatasync of the journal per batch of commits, before anything is acknowledged")
    if sync < 20e-6 and not os.environ.get("DURABLE_BENCH_RAM"):
        raise SystemExit("this disk syncs faster than any disk does; DURABLE_BENCH_RAM=1 to measure all the same")
    return root
