"""The lock that lets one engine run a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablecli.errors import HubLocked, NoPermission, StorageError
from durablecli.store.disk import Disk
from durablecli.store.hub_file import EngineProcess, read_engine_process
from durablecli.store.layout import LOCK_FILE

if TYPE_CHECKING:  # filelock imports asyncio, which is too slow for verbs that take no lock
    from filelock import FileLock


class EngineLock:
    """The lock of one hub, on a separate file that is never removed: removing it would let two processes hold the
    lock."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self.path = f"{root}/{LOCK_FILE}"
        self._lock: FileLock | None = None

    def acquire(self, timeout: float = 1.0) -> None:
        """Acquire the lock; raise HubLocked, which names the holder, after `timeout` seconds."""
        from filelock import FileLock, Timeout

        # By default the lock would belong to a thread, and fall back to a soft lock that survives a crash.
        lock = FileLock(self.path, timeout=timeout, mode=0o600, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire()
        except Timeout:
            raise HubLocked(self._conflict_text()) from None
        except PermissionError as error:
            raise NoPermission(f"can't lock {self.path}: {error.strerror}; use a --state-dir of your own") from error
        except (OSError, NotImplementedError) as error:
            raise StorageError(f"can't lock {self.path}: {error}; use a --state-dir on another disk") from error
        self._lock = lock

    def release(self) -> None:
        """Release the lock, if it is held."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    @property
    def is_held(self) -> bool:
        return self._lock is not None

    def engine_process(self) -> EngineProcess | None:
        """Return the engine that hub.json names."""
        return read_engine_process(self._disk, self._root)

    def _conflict_text(self) -> str:
        holder = self.engine_process()
        who = "another engine (still starting)"
        if holder is not None:
            who = f"pid {holder.pid}, since {holder.since:%Y-%m-%d %H:%M:%SZ}"
        return f"the hub {self._root} is run by {who}; stop that one first, or use another --state-dir"
