"""The faulty disk: what isn't synced may vanish, tear, turn to zeroes or be reordered when the power goes.

It works in bytes, under the real store. Names and bytes fare apart from each other, every file apart from the others.
A name's changes keep their order; changes of different names don't.
"""

from __future__ import annotations

import copy
import errno
import os
import random
from collections.abc import Callable
from typing import NamedTuple

from durablecli.store.memory_disk import Inode, MemoryDisk

_BLOCK = 64


class PowerCut(BaseException):
    """The process is gone at this very operation."""


class UnsyncedWrite(NamedTuple):
    """An unsynced change of a file: cut to `size`, then `data` behind it."""

    size: int
    data: bytes


class UnsyncedNameChange(NamedTuple):
    """An unsynced change of names: these paths go, these come; it happens as a whole or not at all."""

    removed: tuple[str, ...]
    added: dict[str, Inode]
    folder: str | None = None
    removed_folder: str | None = None

    @property
    def paths(self) -> set[str]:
        return {*self.removed, *self.added, *filter(None, (self.folder, self.removed_folder))}


class FaultyDisk(MemoryDisk):
    """`skip(operation, path)` leaves a sync (or a cut) out, as a program does that forgot it.

    `step(operation, path)` is called before every operation that changes something; what it raises is what happens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skip: Callable[[str, str], bool] = lambda operation, path: False
        self.step: Callable[[str, str], None] = lambda operation, path: None
        self.durable_files: dict[str, Inode] = {}
        self.durable_folders = set(self.folders)
        self.durable_bytes: dict[int, bytes] = {}
        self.unsynced_bytes: dict[int, list[UnsyncedWrite]] = {}
        self.unsynced_names: list[UnsyncedNameChange] = []

    def __deepcopy__(self, memo: dict[int, object]) -> FaultyDisk:
        new = FaultyDisk()
        nodes: dict[int, Inode] = {}

        def copy_node(node: Inode) -> Inode:
            if node.number not in nodes:
                nodes[node.number] = Inode(node.number)
                nodes[node.number].data[:] = node.data
            return nodes[node.number]

        new.files = {path: copy_node(node) for path, node in self.files.items()}
        new.folders = set(self.folders)
        new._numbers = copy.copy(self._numbers)
        new.durable_files = {path: copy_node(node) for path, node in self.durable_files.items()}
        new.durable_folders = set(self.durable_folders)
        new.durable_bytes = dict(self.durable_bytes)
        new.unsynced_bytes = {number: list(changes) for number, changes in self.unsynced_bytes.items()}
        new.unsynced_names = [
            change._replace(added={path: copy_node(node) for path, node in change.added.items()})
            for change in self.unsynced_names
        ]
        return new

    # ── the changes ────────────────────────────────────────────────────────────────────────────────────────────────

    def extend(self, node: Inode, data: bytes, path: str) -> None:
        self.step("write", path)
        self._add_unsynced(node, UnsyncedWrite(len(node.data), data))
        super().extend(node, data, path)

    def truncate(self, path: str, size: int) -> None:
        self.step("truncate", path)
        if not self.skip("truncate", path):
            self._add_unsynced(self._find_inode(path), UnsyncedWrite(size, b""))
            super().truncate(path, size)

    def link(self, path: str, node: Inode) -> None:
        self.step("create", path)
        super().link(path, node)
        self.unsynced_names.append(UnsyncedNameChange((), {path: node}))

    def rename(self, old: str, new: str) -> None:
        self.step("rename", new)
        node = self._find_inode(old)
        super().rename(old, new)
        self.unsynced_names.append(UnsyncedNameChange((os.path.normpath(old),), {os.path.normpath(new): node}))

    def unlink(self, path: str) -> None:
        self.step("unlink", path)
        super().unlink(path)
        self.unsynced_names.append(UnsyncedNameChange((os.path.normpath(path),), {}))

    def make_folder(self, path: str) -> None:
        self.step("make_folder", path)
        known = self._is_folder(path)
        super().make_folder(path)
        if not known:
            self.unsynced_names.append(UnsyncedNameChange((), {}, os.path.normpath(path)))

    def remove_folder(self, path: str) -> None:
        self.step("remove_folder", path)
        super().remove_folder(path)
        self.unsynced_names.append(UnsyncedNameChange((), {}, removed_folder=os.path.normpath(path)))

    # ── the syncs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def sync_inode(self, node: Inode, path: str) -> None:
        self.step("sync", path)
        if not self.skip("sync", path):
            self._sync_node(node)

    def sync_folder(self, path: str) -> None:
        self.step("sync_folder", path)
        super().sync_folder(path)
        if not self.skip("sync_folder", path):
            folder = "" if path in ("", ".") else os.path.normpath(path)
            self._sync_names(lambda change: any(os.path.dirname(each) == folder for each in change.paths))

    def sync_all(self, path: str) -> None:
        self.step("sync_all", path)
        if not self.skip("sync_all", path):
            for node in self.files.values():
                self._sync_node(node)
            self._sync_names(lambda change: True)

    def _add_unsynced(self, node: Inode, change: UnsyncedWrite) -> None:
        self.unsynced_bytes.setdefault(node.number, []).append(change)

    def _sync_node(self, node: Inode) -> None:
        self.durable_bytes[node.number] = bytes(node.data)
        self.unsynced_bytes.pop(node.number, None)

    def _sync_names(self, chosen: Callable[[UnsyncedNameChange], bool]) -> None:
        settled = [change for change in self.unsynced_names if chosen(change)]
        for change in settled:
            self._apply(change)
        # An older change of a name that has now settled can't come to the disk behind it.
        fixed = {
            path: at for at, change in enumerate(self.unsynced_names) if change in settled for path in change.paths
        }
        for at, change in enumerate(self.unsynced_names):
            if change in settled and change.removed_folder is not None:
                inner = {path for each in self.unsynced_names[:at] for path in each.paths}
                for path in inner:
                    if os.path.dirname(path) == change.removed_folder:
                        fixed[path] = max(at, fixed.get(path, -1))
        self.unsynced_names = [
            change
            for at, change in enumerate(self.unsynced_names)
            if change not in settled and all(fixed.get(path, -1) < at for path in change.paths)
        ]

    def _apply(self, change: UnsyncedNameChange) -> None:
        for path in change.removed:
            self.durable_files.pop(path, None)
        self.durable_files.update(change.added)
        if change.folder is not None:
            self.durable_folders.add(change.folder)
        if change.removed_folder is not None:
            # A folder of this name that is made later is another one, and empty.
            inside = f"{change.removed_folder}/"
            self.durable_folders.discard(change.removed_folder)
            self.durable_files = {
                path: node for path, node in self.durable_files.items() if not path.startswith(inside)
            }

    # ── the ends ───────────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self) -> None:
        """The process dies; the page cache, and so every unsynced change, stays."""
        self._locks.clear()

    def power_cut(self, rng: random.Random) -> None:
        """The machine dies: of what wasn't synced, `dice` says what is left."""
        self._locks.clear()
        mood = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        lost: set[str] = set()
        for change in self.unsynced_names:
            if change.paths & lost or rng.random() >= mood:
                lost |= change.paths
            else:
                self._apply(change)
        nodes = {node.number: self._survive_power_cut(node, rng) for node in self.durable_files.values()}
        self.folders = {"", ".", "/"}
        for path in sorted(self.durable_folders, key=len):
            if os.path.dirname(path) in self.folders:
                self.folders.add(path)
        self.files = {
            path: nodes[node.number]
            for path, node in self.durable_files.items()
            if os.path.dirname(path) in self.folders
        }
        self.durable_files = dict(self.files)
        self.durable_folders = set(self.folders)
        self.durable_bytes = {node.number: bytes(node.data) for node in self.files.values()}
        self.unsynced_bytes.clear()
        self.unsynced_names.clear()

    def _survive_power_cut(self, node: Inode, rng: random.Random) -> Inode:
        data = bytearray(self.durable_bytes.get(node.number, b""))
        changes = self.unsynced_bytes.get(node.number, [])
        changes = changes[: rng.choice([0, len(changes), len(changes), rng.randint(0, len(changes))])]
        fate = rng.choice(["whole", "torn", "zero", "holes", "stale"])
        for at, change in enumerate(changes):
            written = bytearray(change.data)
            if fate == "torn" and at == len(changes) - 1:
                del written[rng.randint(0, len(written)) :]
            elif fate == "zero" and rng.random() < 0.7:
                written[:] = bytes(len(written))
            elif fate in ("holes", "stale"):
                # What stands in a block that was never written: zeroes, or what another file left there.
                left_there = b"\0" if fate == "holes" else b"s"
                for block in range(0, len(written), _BLOCK):
                    if rng.random() < 0.3:
                        written[block : block + _BLOCK] = left_there * len(written[block : block + _BLOCK])
            data[change.size :] = b""
            data += bytes(change.size - len(data)) + written
        left = Inode(node.number)
        left.data = data
        return left


def fail_from(number: int, operations: set[str], code: int = errno.EIO) -> Callable[[str, str], None]:
    """A `step` that fails the `number`-th (from 1) of these operations and all later ones."""
    seen = 0

    def step(operation: str, path: str) -> None:
        nonlocal seen
        seen += operation in operations
        if operation in operations and seen >= number:
            raise OSError(code, os.strerror(code), path)

    return step


def fail_on(operation: str, path_part: str, code: int) -> Callable[[str, str], None]:
    """Return a `step` that fails this operation on every path with this part."""

    def step(done: str, path: str) -> None:
        if done == operation and path_part in path:
            raise OSError(code, os.strerror(code), path)

    return step
