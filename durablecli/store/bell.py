"""The bell: a named pipe that wakes an idle engine. Losing a ring costs a second, never a message."""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable


def path(root: str) -> str:
    return f"{root}/inbox/bell"


def ring(root: str) -> None:
    """Wake whoever listens. Never blocks, never fails: the engine looks every second anyway."""
    with contextlib.suppress(OSError):
        # Without a reader the open fails at once (ENXIO); a full pipe has rung already (EAGAIN).
        fd = os.open(path(root), os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, b"!")
        finally:
            os.close(fd)


class Bell:
    """Listens to the pipe of one hub in a thread of its own."""

    def __init__(self, root: str) -> None:
        self._path = path(root)
        self._fd = -1
        self._stop: tuple[int, int] = (-1, -1)
        self._thread: threading.Thread | None = None

    def listen(self, callback: Callable[[], None]) -> bool:
        """Call `callback` (in the bell's thread) after every ring. False where the file system has no pipes."""
        try:
            self._fd = self._open()
        except OSError:
            return False
        self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, args=(callback,), name="durablecli-bell", daemon=True)
        self._thread.start()
        return True

    def close(self) -> None:
        """Stop listening. The pipe stays; without a reader nobody can ring it."""
        if self._thread is None:
            return
        os.write(self._stop[1], b"!")
        self._thread.join()
        self._thread = None
        for fd in (self._fd, *self._stop):
            os.close(fd)

    def _open(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISFIFO(os.lstat(self._path).st_mode):
                os.unlink(self._path)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._path, 0o600)
        # Open for writing too: else the pipe reports its end as soon as the first ringer has closed it.
        fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fchmod(fd, 0o600)
        return fd

    def _run(self, callback: Callable[[], None]) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._stop[0]], [], [])
            if self._stop[0] in ready:
                return
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 65536)
            callback()
