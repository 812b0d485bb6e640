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


class Bytes(NamedTuple):
    """An unsynced change of a file: cut to `size`, then `data` behind it."""

    size: int
    data: bytes


class Name(NamedTuple):
    """An unsynced change of names: these paths go, these come; it happens as a whole or not at all."""

    gone: tuple[str, ...]
    come: dict[str, Inode]
    folder: str | None = None

    @property
    def paths(self) -> set[str]:
        return {*self.gone, *self.come, *([self.folder] if self.folder else [])}


class FaultyDisk(MemoryDisk):
    """`skip(operation, path)` leaves a sync (or a cut) out, as a program does that forgot it.

    `step(operation, path)` is called before every operation that changes something; what it raises is what happens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.skip: Callable[[str, str], bool] = lambda operation, path: False
        self.step: Callable[[str, str], None] = lambda operation, path: None
        self.safe_files: dict[str, Inode] = {}
        self.safe_folders = set(self.folders)
        self.safe_bytes: dict[int, bytes] = {}
        self.loose_bytes: dict[int, list[Bytes]] = {}
        self.loose_names: list[Name] = []

    def __deepcopy__(self, memo: dict[int, object]) -> FaultyDisk:
        new = FaultyDisk()
        nodes: dict[int, Inode] = {}

        def twin(node: Inode) -> Inode:
            if node.number not in nodes:
                nodes[node.number] = Inode(node.number)
                nodes[node.number].data[:] = node.data
            return nodes[node.number]

        new.files = {path: twin(node) for path, node in self.files.items()}
        new.folders = set(self.folders)
        new._numbers = copy.copy(self._numbers)
        new.safe_files = {path: twin(node) for path, node in self.safe_files.items()}
        new.safe_folders = set(self.safe_folders)
        new.safe_bytes = dict(self.safe_bytes)
        new.loose_bytes = {number: list(changes) for number, changes in self.loose_bytes.items()}
        new.loose_names = [
            change._replace(come={path: twin(node) for path, node in change.come.items()})
            for change in self.loose_names
        ]
        return new

    # ── the changes ────────────────────────────────────────────────────────────────────────────────────────────────

    def extend(self, node: Inode, data: bytes, path: str) -> None:
        self.step("write", path)
        self._loose(node, Bytes(len(node.data), data))
        super().extend(node, data, path)

    def truncate(self, path: str, size: int) -> None:
        self.step("truncate", path)
        if not self.skip("truncate", path):
            self._loose(self._find_inode(path), Bytes(size, b""))
            super().truncate(path, size)

    def enter(self, path: str, node: Inode) -> None:
        self.step("create", path)
        super().link(path, node)
        self.loose_names.append(Name((), {path: node}))

    def rename(self, old: str, new: str) -> None:
        self.step("rename", new)
        node = self._find_inode(old)
        super().rename(old, new)
        self.loose_names.append(Name((os.path.normpath(old),), {os.path.normpath(new): node}))

    def unlink(self, path: str) -> None:
        self.step("unlink", path)
        super().unlink(path)
        self.loose_names.append(Name((os.path.normpath(path),), {}))

    def make_folder(self, path: str) -> None:
        self.step("make_folder", path)
        known = self._is_folder(path)
        super().make_folder(path)
        if not known:
            self.loose_names.append(Name((), {}, os.path.normpath(path)))

    # ── the syncs ──────────────────────────────────────────────────────────────────────────────────────────────────

    def settle(self, node: Inode, path: str) -> None:
        self.step("sync", path)
        if not self.skip("sync", path):
            self._settle(node)

    def sync_folder(self, path: str) -> None:
        self.step("sync_folder", path)
        super().sync_folder(path)
        if not self.skip("sync_folder", path):
            folder = "" if path in ("", ".") else os.path.normpath(path)
            self._settle_names(lambda change: any(os.path.dirname(each) == folder for each in change.paths))

    def sync_all(self, path: str) -> None:
        self.step("sync_all", path)
        if not self.skip("sync_all", path):
            for node in self.files.values():
                self._settle(node)
            self._settle_names(lambda change: True)

    def _loose(self, node: Inode, change: Bytes) -> None:
        self.loose_bytes.setdefault(node.number, []).append(change)

    def _settle(self, node: Inode) -> None:
        self.safe_bytes[node.number] = bytes(node.data)
        self.loose_bytes.pop(node.number, None)

    def _settle_names(self, chosen: Callable[[Name], bool]) -> None:
        settled = [change for change in self.loose_names if chosen(change)]
        for change in settled:
            self._apply(change)
        # An older change of a name that has now settled can't come to the disk behind it.
        fixed = {path: at for at, change in enumerate(self.loose_names) if change in settled for path in change.paths}
        self.loose_names = [
            change
            for at, change in enumerate(self.loose_names)
            if change not in settled and all(fixed.get(path, -1) < at for path in change.paths)
        ]

    def _apply(self, change: Name) -> None:
        for path in change.gone:
            self.safe_files.pop(path, None)
        self.safe_files.update(change.come)
        if change.folder is not None:
            self.safe_folders.add(change.folder)

    # ── the ends ───────────────────────────────────────────────────────────────────────────────────────────────────

    def kill(self) -> None:
        """The process dies; the page cache, and so every unsynced change, stays."""
        self._locks.clear()

    def power_cut(self, dice: random.Random) -> None:
        """The machine dies: of what wasn't synced, `dice` says what is left."""
        self._locks.clear()
        mood = dice.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        lost: set[str] = set()
        for change in self.loose_names:
            if change.paths & lost or dice.random() >= mood:
                lost |= change.paths
            else:
                self._apply(change)
        nodes = {node.number: self._what_is_left(node, dice) for node in self.safe_files.values()}
        self.folders = {path for path in self.safe_folders if self._reachable(path)}
        self.files = {
            path: nodes[node.number] for path, node in self.safe_files.items() if self._reachable(os.path.dirname(path))
        }
        self.safe_files = dict(self.files)
        self.safe_folders = set(self.folders)
        self.safe_bytes = {node.number: bytes(node.data) for node in self.files.values()}
        self.loose_bytes.clear()
        self.loose_names.clear()

    def _reachable(self, path: str) -> bool:
        while path not in ("", ".", "/"):
            if path not in self.safe_folders:
                return False
            path = os.path.dirname(path)
        return True

    def _what_is_left(self, node: Inode, dice: random.Random) -> Inode:
        data = bytearray(self.safe_bytes.get(node.number, b""))
        changes = self.loose_bytes.get(node.number, [])
        changes = changes[: dice.choice([0, len(changes), len(changes), dice.randint(0, len(changes))])]
        fate = dice.choice(["whole", "torn", "zero", "holes", "stale"])
        for at, change in enumerate(changes):
            written = bytearray(change.data)
            if fate == "torn" and at == len(changes) - 1:
                del written[dice.randint(0, len(written)) :]
            elif fate == "zero" and dice.random() < 0.7:
                written[:] = bytes(len(written))
            elif fate in ("holes", "stale"):
                # What stands in a block that was never written: zeroes, or what another file left there.
                left_there = b"\0" if fate == "holes" else b"s"
                for block in range(0, len(written), _BLOCK):
                    if dice.random() < 0.3:
                        written[block : block + _BLOCK] = left_there * len(written[block : block + _BLOCK])
            data[change.size :] = b""
            data += bytes(change.size - len(data)) + written
        left = Inode(node.number)
        left.data = data
        return left


def refusing(number: int, operations: set[str], code: int = errno.EIO) -> Callable[[str, str], None]:
    """A `step` that fails the `number`-th (from 1) of these operations and all later ones."""
    seen = 0

    def step(operation: str, path: str) -> None:
        nonlocal seen
        seen += operation in operations
        if operation in operations and seen >= number:
            raise OSError(code, os.strerror(code), path)

    return step
