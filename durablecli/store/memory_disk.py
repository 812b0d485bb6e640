"""A disk in memory, for hubs that needn't outlive their process, such as those of tests."""

from __future__ import annotations

import errno
import functools
import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from durablecli.store.disk import FileInfo

_normpath = functools.lru_cache(4_096)(os.path.normpath)
"""Normalizes a path. Nearly every operation needs this, and a hub has few paths."""


class Inode:
    """The bytes of a file, without its name."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.data = bytearray()


class MemoryAppender:
    def __init__(self, disk: MemoryDisk, node: Inode, path: str) -> None:
        self._disk = disk
        self._node = node
        self._path = path
        self.size = len(node.data)

    def append(self, data: bytes) -> None:
        self._disk.extend(self._node, data, self._path)
        self.size += len(data)

    def sync(self) -> None:
        self._disk.sync_inode(self._node, self._path)

    def close(self) -> None:
        pass


class MemoryDisk:
    """Names, files and folders as Python objects. Every change is made by one of the methods under "changes"."""

    can_sync_all = True
    user = 0

    def __init__(self) -> None:
        self.files: dict[str, Inode] = {}
        self.folders: set[str] = {"", ".", "/"}
        self._numbers = itertools.count(1)
        self._guard = threading.RLock()
        self._locks: dict[str, threading.Lock] = {}

    # ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def extend(self, node: Inode, data: bytes, path: str) -> None:
        """Append to a file."""
        with self._guard:
            node.data += data

    def sync_inode(self, node: Inode, path: str) -> None:
        """Sync a file's bytes."""

    def link(self, path: str, node: Inode) -> None:
        """Give a file a name, replacing any file of that name."""
        with self._guard:
            self._require_folder(path)
            self.files[path] = node

    def rename(self, old: str, new: str) -> None:
        old, new = _normpath(old), _normpath(new)
        with self._guard:
            node = self._find_inode(old)
            self._require_folder(new)
            del self.files[old]
            self.files[new] = node

    def unlink(self, path: str) -> None:
        path = _normpath(path)
        with self._guard:
            self._find_inode(path)
            del self.files[path]

    def truncate(self, path: str, size: int) -> None:
        with self._guard:
            data = self._find_inode(path).data
            data[:] = data[:size].ljust(size, b"\0")

    def make_folder(self, path: str) -> None:
        path = _normpath(path)
        with self._guard:
            if path in self.files:
                raise NotADirectoryError(errno.ENOTDIR, "not a folder of its own", path)
            self._require_folder(path)
            self.folders.add(path)

    def remove_folder(self, path: str) -> None:
        path = _normpath(path)
        with self._guard:
            if path not in self.folders:
                raise FileNotFoundError(errno.ENOENT, "no such folder", path)
            if self.listdir(path):
                raise OSError(errno.ENOTEMPTY, "the folder isn't empty", path)
            self.folders.discard(path)

    def sync_folder(self, path: str) -> None:
        if not self._is_folder(path):
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)

    def sync_all(self, path: str) -> None:
        pass

    # ── derived operations ───────────────────────────────────────────────────────────────────────────────────────────

    def _is_folder(self, path: str) -> bool:
        return path in self.folders or _normpath(path) in self.folders

    def _require_folder(self, path: str) -> None:
        if not self._is_folder(os.path.dirname(path)):
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)

    def _find_inode(self, path: str) -> Inode:
        node = self.files.get(_normpath(path))
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return node

    def _create_inode(self, path: str) -> Inode:
        path = _normpath(path)
        with self._guard:
            if path in self.files or path in self.folders:
                raise FileExistsError(errno.EEXIST, "the file is there", path)
            node = Inode(next(self._numbers))
            self.link(path, node)
            return node

    def read(self, path: str) -> bytes:
        with self._guard:
            return bytes(self._find_inode(path).data)

    def read_from(self, path: str, offset: int, size: int = -1) -> bytes:
        with self._guard:
            data = self._find_inode(path).data
            return bytes(data[offset:] if size < 0 else data[offset : offset + size])

    def exists(self, path: str) -> bool:
        return _normpath(path) in self.files or self._is_folder(path)

    def size(self, path: str) -> int:
        with self._guard:
            return len(self._find_inode(path).data)

    def stat(self, path: str, *, follow_symlinks: bool = False) -> FileInfo | None:
        with self._guard:
            node = self.files.get(_normpath(path))
            if node is not None:
                return FileInfo("file", self.user, 0o600, (0, node.number))
            return FileInfo("folder", self.user, 0o700, (0, 0)) if self._is_folder(path) else None

    def listdir(self, path: str) -> list[str]:
        inside = f"{_normpath(path)}/"
        start = len(inside)
        with self._guard:
            below = [each[start:] for each in (*self.files, *self.folders) if each.startswith(inside)]
        return [each for each in below if each and "/" not in each]

    def appender(self, path: str, *, create: bool) -> MemoryAppender:
        node = self._create_inode(path) if create else self._find_inode(path)
        return MemoryAppender(self, node, path)

    def append_once(self, path: str, data: bytes, *, create: bool) -> None:
        self.appender(path, create=create).append(data)

    def create(self, path: str, data: bytes, *, sync: bool) -> None:
        file = self.appender(path, create=True)
        if data:
            file.append(data)
        if sync:
            file.sync()

    def sync_file(self, path: str) -> None:
        self.sync_inode(self._find_inode(path), path)

    def replace(self, path: str, data: bytes) -> None:
        temporary = f"{path}.tmp"
        if self.exists(temporary):
            self.unlink(temporary)
        self.create(temporary, data, sync=True)
        self.rename(temporary, path)
        self.sync_folder(os.path.dirname(path))

    @contextmanager
    def lock(self, path: str) -> Iterator[None]:
        with self._guard:
            if not self.exists(path):
                self.create(path, b"", sync=False)
            held = self._locks.setdefault(_normpath(path), threading.Lock())
        with held:
            yield
