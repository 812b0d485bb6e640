"""The wakeup pipe: a named pipe that wakes an idle engine. Losing a wakeup costs a second, never a message.

The pipe isn't in the hub, because a folder that contains one can't be copied: it is in a folder of the hub's owner for
temporary files, named after the inode of the inbox. A process with another temporary folder (another TMPDIR, another
container) can't use it, and the engine finds the message when it polls, once a second.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import threading
from collections.abc import Callable

from durablecli.store.layout import INBOX_FOLDER


def pipe_path(root: str) -> str:
    """Return the path of a hub's pipe; raises OSError if there is no such hub."""
    inbox = os.stat(f"{root}/{INBOX_FOLDER}")
    return f"{_pipe_folder(inbox.st_uid)}/{inbox.st_dev:x}-{inbox.st_ino:x}"


def _pipe_folder(owner: int) -> str:
    return f"{os.environ.get('TMPDIR') or '/tmp'}/durablecli-{owner}"  # noqa: S108  the content is checked


def notify(root: str) -> None:
    """Wake the engine, if one is listening. Never blocks, never fails: the engine polls every second anyway."""
    with contextlib.suppress(OSError):
        pipe = pipe_path(root)
        _check_folder(os.path.dirname(pipe), os.stat(f"{root}/{INBOX_FOLDER}").st_uid)
        # Without a reader the open fails at once (ENXIO); a full pipe has woken it already (EAGAIN).
        fd = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, b"!")
        finally:
            os.close(fd)


def _check_folder(folder: str, owner: int) -> None:
    """Raise OSError unless this user owns the folder: anybody may have created that name."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o022:
        raise PermissionError(f"{folder} isn't a folder of its own")


class WakeupPipe:
    """Listens to the pipe of one hub in its own thread."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._path = ""
        self._fd = -1
        self._stop_pipe: tuple[int, int] = (-1, -1)
        self._thread: threading.Thread | None = None

    def listen(self, callback: Callable[[], None]) -> bool:
        """Call `callback` (in the pipe's own thread) after every wakeup. Return False if the pipe can't be used."""
        try:
            self._fd = self._open()
        except OSError:
            return False
        self._stop_pipe = os.pipe()
        thread = threading.Thread(
            target=self._wait_for_wakeups, args=(callback,), name="durablecli-wakeup", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has run out of threads
            for fd in (self._fd, *self._stop_pipe):
                os.close(fd)
            return False
        self._thread = thread
        return True

    def close(self) -> None:
        """Stop listening, and remove the pipe."""
        if self._thread is None:
            return
        os.write(self._stop_pipe[1], b"!")
        self._thread.join()
        self._thread = None
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        for fd in (self._fd, *self._stop_pipe):
            os.close(fd)

    def _open(self) -> int:
        self._path = pipe_path(self._root)
        folder = os.path.dirname(self._path)
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder, 0o700)
        _check_folder(folder, os.geteuid())
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISFIFO(os.lstat(self._path).st_mode):
                os.unlink(self._path)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._path, 0o600)
        # Open for writing too: otherwise the pipe reports its end as soon as the first client has closed it.
        fd = os.open(self._path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fchmod(fd, 0o600)
        return fd

    def _wait_for_wakeups(self, callback: Callable[[], None]) -> None:
        while True:
            ready, _, _ = select.select([self._fd, self._stop_pipe[0]], [], [])
            if self._stop_pipe[0] in ready:
                return
            with contextlib.suppress(BlockingIOError):
                os.read(self._fd, 65536)
            callback()
