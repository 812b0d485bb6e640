"""The journal's thread: everything that waits is written at once and shares one sync.

While one sync runs the engine decides the next commits. When nothing else waits the sync is done in place, which spares
two changes of thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from durablecli.engine.thread_start import start_thread
from durablecli.errors import StorageError
from durablecli.store.journal.writer import Journal


class JournalWriter:
    """Takes encoded commits in order; `report(c, error)` says that everything up to `c` is on disk, or why it isn't."""

    def __init__(
        self, journal: Journal, report: Callable[[int, StorageError | None], None], *, threaded: bool = True
    ) -> None:
        self._threaded = threaded
        self._journal = journal
        self._report = report
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._started = False
        self.sync_count = 0

    def enqueue(self, line: bytes, c: int) -> None:
        """Have a commit written, later."""
        if not self._threaded:
            self.write_now(line, c)
            self._report(c, None)
            return
        if not self._started and not self._start():
            self._write_without_thread(line, c)
            return
        self._queue.put((line, c))

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name="durable-journal", daemon=True)
        self._started = start_thread(thread)
        self._thread = thread
        return self._started

    def _write_without_thread(self, line: bytes, c: int) -> None:
        """Do the thread's work here: slower, but no commit waits for a thread that can't be had."""
        try:
            self.write_now(line, c)
        except StorageError as error:
            self._report(c, error)
        else:
            self._report(c, None)

    def write_now(self, line: bytes, c: int) -> None:
        """Write a commit here and now; nothing may be waiting. Raises StorageError."""
        self._journal.append_lines([line], c)
        self.sync_count += 1

    def stop(self) -> None:
        if self._started and self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, more = self._collect(first)
            try:
                self._journal.append_lines([line for line, _ in batch], batch[-1][1])
            except StorageError as error:
                self._report(batch[-1][1], error)
                return
            self.sync_count += 1
            self._report(batch[-1][1], None)
            if not more:
                return

    def _collect(self, first: tuple[bytes, int]) -> tuple[list[tuple[bytes, int]], bool]:
        """All that waits, up to what one write takes; False when the end was asked for."""
        batch, size = [first], len(first[0])
        while size < 64 * 1024 * 1024:
            try:
                following = self._queue.get_nowait()
            except Empty:
                break
            if following is None:
                return batch, False
            batch.append(following)
            size += len(following[0])
        return batch, True
