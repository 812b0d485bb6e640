"""A thread that handles items in order, for work that the engine's own thread mustn't wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from durablecli.engine.thread_start import start_thread

Item = TypeVar("Item")


class BackgroundThread(Generic[Item]):
    """Handles items in order. The thread starts with the first item, and ends with the first error, which it reports.

    While no thread can be started, the caller handles its items itself. With `threaded=False` it always does, and
    errors are raised to it.
    """

    def __init__(
        self,
        name: str,
        handle: Callable[[Item], None],
        report: Callable[[BaseException], None],
        *,
        threaded: bool = True,
    ) -> None:
        self._name = name
        self._handle = handle
        self._report = report
        self._threaded = threaded
        self._queue: SimpleQueue[Item | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, item: Item) -> None:
        """Have an item handled, after those submitted before it."""
        if not self._threaded:
            self._handle(item)
        elif self._thread is not None or self._start():
            self._queue.put(item)
        else:
            self._try_to_handle(item)

    def take_queued(self) -> Item | None:
        """Return the next queued item, for a handler that handles several at once; None if there is none."""
        try:
            item = self._queue.get_nowait()
        except Empty:
            return None
        if item is None:
            self._queue.put(None)  # the end is still to be seen by the thread's loop
        return item

    def stop(self) -> None:
        """Handle what has been submitted, then end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        if not start_thread(thread):
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            if not self._try_to_handle(item):
                return

    def _try_to_handle(self, item: Item) -> bool:
        try:
            self._handle(item)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the engine has to know
            self._report(error)
            return False
        return True
