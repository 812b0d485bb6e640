"""A disk that keeps every commit, and cuts the power at any change."""

from __future__ import annotations

from durablecli.model.codec import CorruptLine
from durablecli.store.history.spilled_files import read_line
from durablecli.store.journal.commits import Commit, decode_commit
from durablecli.store.memory_disk import Inode, MemoryDisk
from tests.support.faulty_disk import PowerCut


class PowerCutDisk(MemoryDisk):
    """`operations_left` counts down to the power cut; once `powered_off`, nothing changes any more."""

    def __init__(self) -> None:
        super().__init__()
        self.operations_left: int | None = None
        self.powered_off = False
        self.commits: dict[int, Commit] = {}
        """The commits, with their spilled records."""
        self._written_lines: dict[int, list[list[bytes]]] = {}

    def _count_operation(self) -> None:
        if self.operations_left is not None:
            self.operations_left -= 1
            if self.operations_left <= 0:
                self.operations_left, self.powered_off = None, True
        if self.powered_off:
            raise PowerCut

    def extend(self, node: Inode, data: bytes, path: str) -> None:
        self._count_operation()
        super().extend(node, data, path)
        if "/journal/" in path:
            for line in data.split(b"\n"):
                self._record_commit(line)

    def _record_commit(self, line: bytes) -> None:
        if not line.startswith(b'{"c":'):
            return
        try:
            commit = decode_commit(line)
        except CorruptLine:
            raise AssertionError(f"a commit that can't be read: {line!r}") from None
        lines = self._written_lines.setdefault(commit.c, [write.lines for write in commit.writes])
        assert lines == [write.lines for write in commit.writes], f"commit {commit.c} was changed"
        if commit.c not in self.commits:
            for write in commit.writes:
                write.lines = [read_line(self, "hub", line) for line in write.lines]
            self.commits[commit.c] = commit

    def link(self, path: str, node: Inode) -> None:
        self._count_operation()
        super().link(path, node)

    def rename(self, old: str, new: str) -> None:
        self._count_operation()
        super().rename(old, new)

    def unlink(self, path: str) -> None:
        self._count_operation()
        super().unlink(path)

    def remove_folder(self, path: str) -> None:
        self._count_operation()
        super().remove_folder(path)

    def truncate(self, path: str, size: int) -> None:
        self._count_operation()
        super().truncate(path, size)
