"""The machine that a run is measured on. The figures are only worth something with the sync on."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import subprocess
import sysconfig
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import msgspec

MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
_FASTEST_SYNC = 20e-6
"""A disk that syncs faster is memory."""


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


def find_file_system(folder: str) -> str:
    """The kind of file system that a folder is on."""
    mounts = Path("/proc/mounts")
    if mounts.exists():
        kinds = {fields[1]: fields[2] for fields in map(str.split, mounts.read_text().splitlines())}
        return next(kinds[str(each)] for each in (Path(folder).resolve() / "_").parents if str(each) in kinds)
    found = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "an unknown file system"


def check_disk(folder: str) -> None:
    """Refuse a disk that is no disk, unless DURABLE_BENCH_RAM is set."""
    if os.environ.get("DURABLE_BENCH_RAM"):
        return
    if find_file_system(folder) in MEMORY_FILE_SYSTEMS or measure_sync(folder) < _FASTEST_SYNC:
        raise SystemExit(
            f"{folder} is in memory; DURABLE_BENCH_DIR can name a folder on a disk (DURABLE_BENCH_RAM=1: measure it)"
        )


def describe_environment(folder: str, limit: int | None) -> list[tuple[str, str]]:
    """What the figures depend on, by heading; `limit` bounds the sizes."""
    built = "with" if "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "") else "without"
    python = f"Python {platform.python_version()} (built {built} optimizations)"
    libraries = f"msgspec {msgspec.__version__}, SQLite {sqlite3.sqlite_version}"
    return [
        ("Date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}"),
        ("Machine", f"{os.cpu_count()} cores, {_processor()}, {platform.system()} {platform.release()}"),
        ("Disk", f"{find_file_system(folder)}, median sync {measure_sync(folder) * 1e6:.0f} µs"),
        ("Versions", f"durablecli {version('durablecli')}{_commit()}, {python}, {libraries}"),
        ("Sizes", "as planned" if limit is None else f"none above {limit:,}"),
        ("Durability", "the journal is synced (fdatasync) once per batch of commits, before anything is acknowledged"),
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return f" at {found.stdout.strip()}" if found.returncode == 0 else ""
