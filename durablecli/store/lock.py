"""The lock that lets one engine run a hub."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from time import monotonic, sleep

from durablecli.errors import HubLocked, NoPermission, StorageError
from durablecli.store.disk import Disk
from durablecli.store.file_handles import wait_for_handle
from durablecli.store.hub_file import EngineProcess, read_engine_process
from durablecli.store.layout import LOCK_FILE

_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_RETRY_INTERVAL = 0.05
_descriptors: set[int] = set()
"""The descriptors of the locks in this process. A forked child closes them: its copies would keep the locks held."""


class EngineLock:
    """The lock of one hub, on a separate file that is never removed: removing it would let two processes hold the
    lock."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self.path = f"{root}/{LOCK_FILE}"
        self._descriptor: int | None = None

    def acquire(self, timeout: float = 1.0) -> None:
        """Acquire the lock; raise HubLocked, which names the holder, after `timeout` seconds."""
        try:
            descriptor = wait_for_handle(lambda: os.open(self.path, _OPEN_FLAGS, 0o600))
            _descriptors.add(descriptor)
            try:
                is_locked = _try_to_lock(descriptor, timeout)
            except BaseException:
                _close(descriptor)
                raise
        except PermissionError as error:
            raise NoPermission(f"can't lock {self.path}: {error.strerror}; use a --state-dir of your own") from error
        except OSError as error:
            raise StorageError(f"can't lock {self.path}: {error}; use a --state-dir on another disk") from error
        if not is_locked:
            _close(descriptor)
            raise HubLocked(self._conflict_text())
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock, if it is held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor in _descriptors:  # else this is a forked child
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing isn't enough: a child forked meanwhile may have it open
            _close(descriptor)

    @property
    def is_held(self) -> bool:
        return self._descriptor is not None

    def engine_process(self) -> EngineProcess | None:
        """Return the engine that hub.json names."""
        return read_engine_process(self._disk, self._root)

    def _conflict_text(self) -> str:
        holder = self.engine_process()
        who = "another engine (still starting)"
        if holder is not None:
            who = f"pid {holder.pid}, since {holder.since:%Y-%m-%d %H:%M:%SZ}"
        return f"the hub {self._root} is run by {who}; stop that one first, or use another --state-dir"


def _try_to_lock(descriptor: int, timeout: float) -> bool:
    """Lock an open file; False if another process, or another lock of this one, still holds it after the time."""
    until = monotonic() + timeout
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if monotonic() >= until:
            return False
        sleep(_RETRY_INTERVAL)


def _close(descriptor: int) -> None:
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _close_inherited() -> None:
    for descriptor in list(_descriptors):
        with suppress(OSError):
            _close(descriptor)


os.register_at_fork(after_in_child=_close_inherited)
