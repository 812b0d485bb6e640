"""Writes commits to the journal, in a thread: all that are queued share one write and one sync.

While one sync runs the engine decides the next commits. If nothing else is queued the engine syncs in its own thread,
which saves two thread switches.
"""

from __future__ import annotations

from collections.abc import Callable

from durablecli.engine.background import BackgroundThread
from durablecli.store.journal.writer import Journal

_MAX_WRITE_BYTES = 64 * 1024 * 1024


class JournalWriter:
    """Takes encoded commits in order; `report(c, error)` says that all commits up to `c` are on disk, or why not."""

    def __init__(
        self, journal: Journal, report: Callable[[int, BaseException | None], None], *, threaded: bool = True
    ) -> None:
        self._journal = journal
        self._report = report
        self._thread: BackgroundThread[tuple[bytes, int]] = BackgroundThread(
            "durable-journal", self._write_queued, lambda error: report(0, error), threaded=threaded
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
        self._report(last, None)

    def _append(self, lines: list[bytes], last: int) -> None:
        self._journal.append_lines(lines, last)
        self.sync_count += 1
