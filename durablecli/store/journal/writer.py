"""The journal: the one place where a commit becomes durable.

A commit is one line; a batch of commits is one write and one sync. After the first error nothing more is appended: a
failed sync leaves pages that appear clean but aren't on disk, so only a restart can determine what is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from durablecli.errors import StorageError
from durablecli.store.disk import Appender, Disk
from durablecli.store.journal.commits import (
    Commit,
    encode_commit,
    seal_lines,
)
from durablecli.store.journal.reader import (
    FORMAT,
    JournalCheckpoint,
    JournalTail,
    SegmentHeader,
    read_checkpoint,
    segment_numbers,
    segment_path,
    write_checkpoint,
)
from durablecli.store.json_lines import encode_line
from durablecli.store.layout import CHECKPOINT_FILE
from durablecli.store.os_errors import make_fail_stop_error


class Journal:
    """The live segment. `last_commit` is the last one written, `last_durable` the last one on disk.

    Only one thread at a time may call `write` and `sync`, and each write must follow the sync of the previous one.
    """

    def __init__(self, disk: Disk, folder: str, hub: str, last: int, number: int) -> None:
        self._disk = disk
        self._folder = folder
        self._hub = hub
        self._first_commits: dict[int, int] = {}
        self._checkpoint = 0
        self._error: StorageError | None = None
        self._file: Appender
        self.last_commit = self.last_durable = last
        self.segment = number

    @classmethod
    def open(cls, disk: Disk, folder: str, *, hub: str, first: int) -> Journal:
        """Begin a new segment, with an unused number, for the commits from `first` on."""
        known = segment_numbers(disk, folder)
        lowest = read_checkpoint(disk, folder).segment if disk.exists(f"{folder}/{CHECKPOINT_FILE}") else 0
        journal = cls(disk, folder, hub, first - 1, max([lowest, *known]))
        journal._begin_segment(first)
        return journal

    @classmethod
    def resume(cls, disk: Disk, folder: str, *, hub: str, tail: JournalTail, clean: bool = False) -> Journal:
        """Continue after `tail`. On return its commits are on disk, whatever a dead process left in the page cache.

        They are copied: syncing the old file again would prove nothing, because after a failed sync the next one
        succeeds without having written anything. After a `clean` stop the last segment, still empty, is used again.
        """
        if clean and not tail.lines and tail.is_last_segment_empty:
            journal = cls(disk, folder, hub, tail.next_commit - 1, max(tail.segments))
            journal._file = disk.appender(segment_path(folder, journal.segment), create=False)
            journal._file.sync()  # the hub may be a copy, which nobody has synced
            disk.sync_folder(folder)
            journal._remember_segments(tail)
            journal._first_commits[journal.segment] = journal._checkpoint = tail.next_commit
            return journal
        if not tail.lines:
            journal = cls.open(disk, folder, hub=hub, first=tail.next_commit)
            journal._remember_segments(tail)
            return journal
        first, last = tail.next_commit - len(tail.lines), tail.next_commit - 1
        number = max(tail.segments) + 1
        path = segment_path(folder, number)
        head = encode_line(SegmentHeader(FORMAT, hub, number, first, last))
        with suppress(FileNotFoundError):
            disk.unlink(f"{path}.tmp")
        disk.create(f"{path}.tmp", head + b"".join(each + b"\n" for each in tail.lines), sync=True)
        disk.rename(f"{path}.tmp", path)
        disk.sync_folder(folder)
        journal = cls(disk, folder, hub, last, number)
        journal._file = disk.appender(path, create=False)
        journal._remember_segments(tail)
        journal._first_commits[number] = first
        journal.record_checkpoint(first)
        return journal

    @property
    def is_empty(self) -> bool:
        """Whether no commit is needed any more, and the last checkpoint says so."""
        return self._error is None and self._checkpoint == self.last_commit + 1

    @property
    def size(self) -> int:
        """The size of the live segment in bytes."""
        return self._file.size

    def append(self, commits: Sequence[Commit]) -> None:
        """Make commits durable; raises StorageError, and then none of them may be acknowledged."""
        self.append_lines([encode_commit(commit) for commit in commits], commits[-1].c)

    def append_lines(self, lines: list[bytes], last_commit: int) -> None:
        """Make encoded commits durable; `last_commit` is the number of the last of them."""
        self.write(lines, last_commit)
        self.sync()

    def write(self, lines: list[bytes], last_commit: int) -> None:
        """Write lines in one call, not yet durable."""
        self._raise_if_failed()
        if last_commit - len(lines) != self.last_commit:
            raise ValueError(f"commit {last_commit - len(lines) + 1} can't follow commit {self.last_commit}")
        try:
            self._file.append(seal_lines(lines, self.last_durable))
        except OSError as error:
            raise self._fail(error) from error
        self.last_commit = last_commit

    def sync(self) -> None:
        """Return when all written data is on disk."""
        self._raise_if_failed()
        last = self.last_commit
        try:
            self._file.sync()
        except OSError as error:
            raise self._fail(error) from error
        self.last_durable = last

    def roll(self, first: int) -> None:
        """Begin a new segment for the commits from `first` on, between two appends."""
        self._raise_if_failed()
        if first != self.last_commit + 1 or self.last_commit != self.last_durable:
            raise ValueError(
                f"a segment can't begin with commit {first} behind {self.last_commit}, {self.last_durable} on disk"
            )
        file = self._file
        try:
            self._begin_segment(first)
        except OSError as error:
            raise self._fail(error) from error
        file.close()

    def record_checkpoint(self, first: int) -> None:
        """Record that commits before `first` are no longer needed, then remove the segments that hold only such
        commits."""
        number = max(segment for segment, begins in self._first_commits.items() if begins <= first)
        write_checkpoint(self._disk, self._folder, JournalCheckpoint(first, number))
        self._checkpoint = first
        for old in [each for each in self._first_commits if each < number]:
            del self._first_commits[old]
        for old in segment_numbers(self._disk, self._folder):
            if old < number:
                self._disk.unlink(segment_path(self._folder, old))

    def close(self) -> None:
        self._file.close()
        self._error = self._error or StorageError(f"{self._folder} is closed")

    def _begin_segment(self, first: int) -> None:
        number = self.segment + 1
        file = self._disk.appender(segment_path(self._folder, number), create=True)
        file.append(encode_line(SegmentHeader(FORMAT, self._hub, number, first)))
        file.sync()
        # Without this the name may disappear in a power cut, with everything written to the segment.
        self._disk.sync_folder(self._folder)
        self._file = file
        self.segment = number
        self._first_commits[number] = first

    def _remember_segments(self, tail: JournalTail) -> None:
        self._first_commits = {
            **{number: 0 for number in tail.segments if number < self.segment},
            **self._first_commits,
        }

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise self._error

    def _fail(self, error: OSError) -> StorageError:
        path = segment_path(self._folder, self.segment)
        self._error = make_fail_stop_error(error, path)
        return self._error
