"""The disk: the few file operations that the store is built on, each with its durability guarantee documented.

The store only uses the `Disk` protocol, so a simulated disk that loses power can replace the real one. Errors are
raised unchanged (OSError); callers translate them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from time import monotonic, sleep
from typing import NamedTuple, Protocol

from durablecli.errors import HubLocked
from durablecli.store.file_handles import wait_for_handle
from durablecli.store.process_identity import is_process_stopped

_CREATE_FLAGS = os.O_CREAT | os.O_EXCL
_SAFE_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_WARN_AFTER = 2.0
_LOCK_TIMEOUT = 30.0
"""How long, in seconds, to wait for a lock that is only ever held briefly."""
_FULL_SYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class FileInfo(NamedTuple):
    """A file or folder at a path. `kind` is file, folder, link or other; `identity` changes when it is replaced."""

    kind: str
    owner: int
    mode: int
    identity: tuple[int, int]


class Appender(Protocol):
    """An open file that only grows."""

    size: int

    def append(self, data: bytes) -> None:
        """Append all of `data`, or raise OSError and leave the file at its previous length."""

    def sync(self) -> None:
        """Return when all appended data is on disk."""

    def close(self) -> None: ...


class Disk(Protocol):
    """File operations by path. Only data that was synced, or written durably as documented, survives a power cut."""

    @property
    def can_sync_all(self) -> bool:
        """Whether `sync_all` waits for the data (elsewhere it may only start the writing)."""

    @property
    def user(self) -> int:
        """The uid of the user who must own the files."""

    def read(self, path: str) -> bytes: ...

    def read_from(self, path: str, offset: int, size: int = -1) -> bytes: ...

    def exists(self, path: str) -> bool: ...

    def size(self, path: str) -> int: ...

    def stat(self, path: str, *, follow_symlinks: bool = False) -> FileInfo | None:
        """Return the file or folder at `path`; None if there is none."""

    def listdir(self, path: str) -> list[str]:
        """Return the names in a folder; none if the folder is missing."""

    def appender(self, path: str, *, create: bool) -> Appender:
        """Open a file to append to it; with `create` the file must not exist."""

    def append_once(self, path: str, data: bytes, *, create: bool) -> None:
        """Open a file, append to it and close it, without sync; with `create` the file must not exist."""

    def create(self, path: str, data: bytes, *, sync: bool) -> None:
        """Create a file; raise FileExistsError if it exists. `sync` covers the bytes, not the name."""

    def rename(self, old: str, new: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def truncate(self, path: str, size: int) -> None: ...

    def make_folder(self, path: str) -> None:
        """Create one level of folder with mode 0700; no error if it exists."""

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder; raise OSError if it isn't empty."""

    def sync_file(self, path: str) -> None: ...

    def sync_folder(self, path: str) -> None:
        """Return when the folder's changes (files created, renamed, removed) are on disk."""

    def sync_all(self, path: str) -> None:
        """Return when the whole file system that holds `path` is on disk."""

    def replace(self, path: str, data: bytes) -> None:
        """Replace the file durably: after a crash it has the old bytes or the new ones, never a mixture."""

    def lock(self, path: str) -> AbstractContextManager[None]:
        """Hold the file's exclusive lock briefly, creating the file if missing; raise HubLocked after half a minute."""


def _sync(fd: int) -> None:
    if _FULL_SYNC is not None:
        # macOS: fsync hands the data to the drive, which may keep it in its cache.
        fcntl.fcntl(fd, _FULL_SYNC)
    elif sys.platform == "linux":
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def _write(fd: int, data: bytes) -> None:
    # A full disk first returns a short write without an error; the next write would raise ENOSPC.
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, "the disk took only a part of the write")


class LocalAppender:
    """The one descriptor through which the journal is written."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.size = os.fstat(fd).st_size

    def append(self, data: bytes) -> None:
        try:
            _write(self._fd, data)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, self.size)
                _sync(self._fd)
            raise
        self.size += len(data)

    def sync(self) -> None:
        _sync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class LocalDisk:
    """The local file system.

    Refuses a symlink at the end of a path; creates files with mode 0600 and folders with 0700, whatever the umask.
    """

    can_sync_all = sys.platform == "linux"

    @property
    def user(self) -> int:
        return os.geteuid()

    def read(self, path: str) -> bytes:
        return self.read_from(path, 0)

    def read_from(self, path: str, offset: int, size: int = -1) -> bytes:
        fd = _open(path, os.O_RDONLY | _SAFE_FLAGS)
        try:
            wanted = os.fstat(fd).st_size - offset if size < 0 else size
            pieces: list[bytes] = []
            while wanted > 0:
                piece = os.pread(fd, min(wanted, 1 << 30), offset)
                if not piece:
                    break
                pieces.append(piece)
                offset += len(piece)
                wanted -= len(piece)
        finally:
            os.close(fd)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def size(self, path: str) -> int:
        return os.lstat(path).st_size

    def stat(self, path: str, *, follow_symlinks: bool = False) -> FileInfo | None:
        try:
            found = os.stat(path, follow_symlinks=follow_symlinks)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "other")
        return FileInfo(kind, found.st_uid, stat.S_IMODE(found.st_mode), (found.st_dev, found.st_ino))

    def listdir(self, path: str) -> list[str]:
        try:
            return wait_for_handle(lambda: os.listdir(path))
        except FileNotFoundError:
            return []

    def appender(self, path: str, *, create: bool) -> LocalAppender:
        return LocalAppender(_open_to_append(path, create))

    def append_once(self, path: str, data: bytes, *, create: bool) -> None:
        fd = _open_to_append(path, create)
        try:
            _write(fd, data)
        finally:
            os.close(fd)

    def create(self, path: str, data: bytes, *, sync: bool) -> None:
        fd = _open_to_append(path, True)
        try:
            if data:
                _write(fd, data)
            if sync:
                _sync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def truncate(self, path: str, size: int) -> None:
        fd = _open(path, os.O_WRONLY | _SAFE_FLAGS)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    def make_folder(self, path: str) -> None:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "not a folder of its own", path) from None
        else:
            os.chmod(path, 0o700)

    def remove_folder(self, path: str) -> None:
        os.rmdir(path)

    def sync_file(self, path: str) -> None:
        fd = _open(path, os.O_RDONLY | _SAFE_FLAGS)
        try:
            _sync(fd)
        finally:
            os.close(fd)

    def sync_folder(self, path: str) -> None:
        fd = _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_all(self, path: str) -> None:
        if sys.platform != "linux":
            os.sync()
            return
        import ctypes  # here: it is slow to import, and only large checkpoints need it

        libc = ctypes.CDLL(None, use_errno=True)
        fd = _open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.syncfs(fd) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), path)
        finally:
            os.close(fd)

    def replace(self, path: str, data: bytes) -> None:
        temporary = f"{path}.tmp"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        self.create(temporary, data, sync=True)
        os.rename(temporary, path)
        self.sync_folder(os.path.dirname(path) or ".")

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        fd = _open(path, os.O_RDWR | os.O_CREAT | _SAFE_FLAGS, 0o600)
        try:
            _wait_for_lock(fd, path)
            with suppress(OSError):  # on a full disk the holder stays unnamed
                os.pwrite(fd, b"%011d\n" % os.getpid(), 0)
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)  # closing isn't enough: a child forked meanwhile may have it open
            os.close(fd)


def _wait_for_lock(fd: int, path: str) -> None:
    """Acquire the lock within half a minute; name the holder if its process is stopped."""
    began, pause, has_warned = monotonic(), 0.0005, False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        waited = monotonic() - began
        if waited > _LOCK_TIMEOUT:
            raise HubLocked(
                f"{path} is held by {_describe_holder(fd)}; nothing was done. End that process, then try again"
            )
        if waited > _LOCK_WARN_AFTER and not has_warned:
            has_warned = True
            with suppress(OSError, ValueError, AttributeError):  # there may be no stderr
                sys.stderr.write(f"waiting for {path}, which is held by {_describe_holder(fd)}\n")
        sleep(pause)
        pause = min(pause * 1.5, 0.02)


def _describe_holder(fd: int) -> str:
    """Describe the process that wrote its pid into a file it has locked."""
    text = os.pread(fd, 12, 0).strip()
    if not text.isdigit():
        return "another process"
    pid = int(text)
    return f"pid {pid}, which is stopped" if is_process_stopped(pid) else f"pid {pid}"


def _open(path: str, flags: int, mode: int = 0o777) -> int:
    return wait_for_handle(lambda: os.open(path, flags, mode))


def _open_to_append(path: str, create: bool) -> int:
    flags = os.O_WRONLY | os.O_APPEND | _SAFE_FLAGS
    if not create:
        return _open(path, flags)
    fd = _open(path, flags | _CREATE_FLAGS, 0o600)
    os.fchmod(fd, 0o600)
    return fd
