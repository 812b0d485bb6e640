"""One engine per hub: the lock it holds, and who holds it."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Protocol

import msgspec

from durablecli.errors import HubLocked, NoPermission, StorageError

if TYPE_CHECKING:  # filelock brings asyncio with it, which verbs that take no lock must not pay for
    from filelock import FileLock


class FileReader(Protocol):
    """What of the disk is needed here."""

    def read(self, path: str) -> bytes: ...


class EngineProcess(msgspec.Struct, frozen=True):
    """The process that runs a hub, as hub.json names it. `started` tells it from a later process of its number."""

    pid: int
    started: str
    since: datetime

    @property
    def is_alive(self) -> bool:
        """Whether that very process still runs."""
        return is_process_alive(self.pid, self.started)


class _NamedEngine(msgspec.Struct, frozen=True):
    engine: EngineProcess | None = None


_decode_engine = msgspec.json.Decoder(_NamedEngine).decode


def read_engine_process(disk: FileReader, root: str) -> EngineProcess | None:
    """Whom hub.json names as the engine of this hub; dead or alive. None where it names nobody or can't be read."""
    try:
        return _decode_engine(disk.read(f"{root}/hub.json")).engine
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


class EngineLock:
    """The lock of one hub, on a file of its own that is never removed: removing it would let two hold it."""

    def __init__(self, disk: FileReader, root: str) -> None:
        self._disk = disk
        self._root = root
        self.path = f"{root}/engine.lock"
        self._lock: FileLock | None = None

    def acquire(self, timeout: float = 1.0) -> None:
        """Take the lock; raises HubLocked, which names the holder, when `timeout` seconds weren't enough."""
        from filelock import FileLock, Timeout

        # By default the lock would belong to a thread, and fall back to a soft lock that a crash leaves behind.
        lock = FileLock(self.path, timeout=timeout, mode=0o600, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise HubLocked(self._conflict_text()) from None
        except PermissionError as error:
            raise NoPermission(f"{self.path} can't be locked: {error.strerror}") from error
        except (OSError, NotImplementedError) as error:
            raise StorageError(f"{self.path} can't be locked: {error}") from error
        self._lock = lock

    def release(self) -> None:
        """Give the lock back. Does nothing when it isn't held."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    @property
    def is_held(self) -> bool:
        return self._lock is not None

    def engine_process(self) -> EngineProcess | None:
        """The engine that hub.json names."""
        return read_engine_process(self._disk, self._root)

    def _conflict_text(self) -> str:
        holder = self.engine_process()
        who = "another engine (it hasn't said its name yet)"
        if holder is not None:
            who = f"pid {holder.pid}, since {holder.since:%Y-%m-%d %H:%M:%SZ}"
        return f"the hub {self._root} is run by {who}; stop that one first, or use another --state-dir"


# ── processes: a pid alone says nothing, since numbers are used again ───────────────────────────────────────────────


@cache
def boot_id() -> str:
    """What names this run of the machine, from power-on to power-off."""
    if sys.platform == "darwin":
        return _run_command("sysctl", "-n", "kern.bootsessionuuid")
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_token(pid: int) -> str | None:
    """What no other process of this number has; None when there is no such process."""
    if sys.platform == "darwin":
        started = _run_command("ps", "-o", "lstart=", "-p", str(pid))
        return f"{boot_id()}:{started}" if started else None
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()  # the command before it may hold anything
    except OSError:
        return None
    if fields[0] in (b"Z", b"X"):
        return None  # dead, and only not yet waited for
    return f"{boot_id()}:{int(fields[19])}"


@cache
def pid_namespace() -> str:
    """What names the PID namespace of this process; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def is_process_alive(pid: int, started: str) -> bool:
    """Whether the process that had this token still runs."""
    return start_token(pid) == started


def this_process(since: datetime) -> EngineProcess:
    """The holder that hub.json should name when this process runs the hub."""
    pid = os.getpid()
    return EngineProcess(pid, start_token(pid) or "", since)


def _run_command(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
