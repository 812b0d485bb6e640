"""Writes commits to the journal, in a thread: all that are queued share one write and one sync.

While one sync runs the engine decides the next commits. If nothing else is queued the engine syncs in its own thread,
which saves two thread switches.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from durablecli.engine.background import BackgroundThread
from durablecli.store.history.spill_writer import SpillWriter
from durablecli.store.journal.writer import Journal

_MAX_WRITE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class SyncReport:
    """Every commit up to `commit_number` is on disk; or an error has ended a thread."""

    commit_number: int
    error: BaseException | None = None


class JournalWriter:
    """Takes encoded commits in order, and reports when they are on disk."""

    def __init__(
        self,
        journal: Journal,
        spill_writer: SpillWriter,
        report: Callable[[SyncReport], None],
        *,
        threaded: bool = True,
    ) -> None:
        self._journal = journal
        self._spill_writer = spill_writer
        self._report = report
        self._thread: BackgroundThread[tuple[bytes, int]] = BackgroundThread(
            "durable-journal", self._write_queued, lambda error: report(SyncReport(0, error)), threaded=threaded
        )
        self.sync_count = 0

    def enqueue(self, line: bytes, c: int) -> None:
        """Write a commit later; `report` is called when it is on disk."""
        self._thread.submit((line, c))

    def write_now(self, line: bytes, c: int) -> None:
        """Write a commit in this thread; no other may be queued. Raises StorageError."""
        self._append([line], c)

    def stop(self) -> None:
        """Write what is queued, then end the thread."""
        self._thread.stop()

    def _write_queued(self, first: tuple[bytes, int]) -> None:
        line, last = first
        lines, size = [line], len(line)
        while size < _MAX_WRITE_BYTES and (following := self._thread.take_queued()) is not None:
            line, last = following
            lines.append(line)
            size += len(line)
        self._append(lines, last)
        self._report(SyncReport(last))

    def _append(self, lines: list[bytes], last: int) -> None:
        self._spill_writer.write_queued(last)
        self._journal.append_lines(lines, last)
        self.sync_count += 1
