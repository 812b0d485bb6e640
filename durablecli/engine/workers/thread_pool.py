"""Runs synchronous activities, and the operations of entities, in threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from time import monotonic

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.fork_guard import exit_if_forked
from durablecli.engine.workers.pool import ReportResult, WorkItem


class ThreadPool:
    """Runs each call in a thread. Threads are created as needed, up to the capacity, and not awaited at exit."""

    def __init__(self, capacity: int, report: ReportResult, name: str = "activity") -> None:
        self._name = name
        self._capacity = capacity
        self._report = report
        self._queue: deque[WorkItem] = deque()
        self._idle: deque[threading.Lock] = deque()
        self._threads: list[threading.Thread] = []
        self._grow_lock = threading.Lock()
        self._running: dict[WorkKey, float] = {}
        self._engine_pid = os.getpid()
        self._paused = False
        self._stopped = False

    def start(self, calls: Iterable[WorkItem]) -> None:
        self._queue.extend(calls)
        self._wake_thread()
        self._add_threads()

    def cancel(self, key: WorkKey) -> None:
        """Do nothing: a thread can't be stopped, but its function can check `context.cancelled`."""

    def notify_cancel(self, key: WorkKey) -> None: ...

    def pause(self) -> None:
        self._paused = True

    def maintain(self) -> None:
        if self._queue:
            self._add_threads()

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def queue_length(self) -> int:
        return len(self._queue)

    def start_times(self) -> dict[WorkKey, float]:
        return self._running.copy()

    def stop(self) -> None:
        self._stopped = True
        while self._idle:
            self._wake_thread()

    def _wake_thread(self) -> None:
        try:
            self._idle.popleft().release()
        except IndexError:  # another thread was quicker
            return

    def _add_threads(self) -> None:
        """Have a thread for each queued and running call, up to the capacity: one that blocks delays no other."""
        with self._grow_lock:
            while len(self._threads) < min(self._capacity, len(self._queue) + len(self._running)):
                name = f"durable-{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._run_thread, name=name, daemon=True)
                if not start_thread(thread):
                    return
                self._threads.append(thread)

    def _wait_for_call(self, lock: threading.Lock) -> WorkItem | None:
        """Wait for the next call; None when the pool stops.

        A thread that takes a call wakes the next thread while there is more to do, so a few threads do a batch of
        short calls, and all threads one of long calls.
        """
        while not self._stopped:
            try:
                call = self._queue.popleft()
            except IndexError:
                self._idle.append(lock)
            else:
                if self._queue and self._idle:
                    self._wake_thread()
                return call
            if self._queue or self._stopped:
                self._wake_thread()  # a call was queued before this thread was listed as idle
            lock.acquire()
        return None

    def _run_thread(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        while (call := self._wait_for_call(lock)) is not None:
            if self._paused:
                continue
            if call.cancellation.abandoned:
                self._report(call.make_cancelled_result())
                continue
            self._running[call.key] = monotonic()
            if self._queue and len(self._threads) < self._capacity:
                self._add_threads()  # the thread that queued these may not have counted this call as running
            try:
                result = call.run()
            except BaseException as error:  # noqa: BLE001 - user code may raise where nobody expects it
                result = call.make_failed_result(error)
            exit_if_forked(self._engine_pid, result)
            del self._running[call.key]
            self._report(result)
