"""Runs synchronous activities, and the operations of entities, in threads."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from time import monotonic

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.call_queue import CallQueue
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.fork_guard import exit_if_forked
from durablecli.engine.workers.pool import ReportResult, WorkItem
from durablecli.resources.shared_scopes import close_thread_scopes


class ThreadPool:
    """Runs each call in a thread. Threads are created as needed, up to the capacity, and not awaited at exit."""

    def __init__(self, capacity: int, report: ReportResult, name: str = "activity") -> None:
        self._name = name
        self._capacity = capacity
        self._report = report
        self._queue: CallQueue[WorkItem] = CallQueue()
        self._idle: deque[threading.Lock] = deque()
        self._threads: list[threading.Thread] = []
        self._grow_lock = threading.Lock()
        self._running: dict[WorkKey, float] = {}
        self._lost: dict[int, tuple[WorkItem, float]] = {}
        """The calls that have timed out and whose functions haven't returned, with the times since when."""
        self._ended_early: set[int] = set()
        """Calls whose functions have returned between their time-out and `expire`."""
        self._engine_pid = os.getpid()
        self._paused = False
        self._stopped = False

    def start(self, calls: Iterable[WorkItem]) -> None:
        self._queue.extend(calls)
        self._wake_thread()
        self._add_threads()

    def cancel(self, key: WorkKey) -> None:
        """Do nothing: a thread can't be stopped, but its function can check `context.cancelled`."""

    def expire(self, call: WorkItem) -> None:
        """Give the slot of a call that has timed out to another thread. Its own ends when its function returns."""
        with self._grow_lock:
            self._running.pop(call.key, None)
            if id(call) in self._ended_early:
                self._ended_early.discard(id(call))
            else:
                self._lost[id(call)] = call, monotonic()
        self._add_threads()

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

    def list_lost(self) -> list[tuple[WorkItem, float]]:
        """Return the calls that have timed out and whose functions still run, with the monotonic times since when."""
        with self._grow_lock:
            return list(self._lost.values())

    @property
    def _thread_count(self) -> int:
        return len(self._threads) - len(self._lost)

    def _end_lost_thread(self, call: WorkItem) -> None:
        with self._grow_lock:
            self._threads.remove(threading.current_thread())
            if self._lost.pop(id(call), None) is None:
                self._ended_early.add(id(call))

    def _wake_thread(self) -> None:
        try:
            self._idle.popleft().release()
        except IndexError:  # another thread was quicker
            return

    def _add_threads(self) -> None:
        """Have a thread for each queued and running call, up to the capacity: one that blocks delays no other."""
        with self._grow_lock:
            while self._thread_count < min(self._capacity, len(self._queue) + len(self._running)):
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
            if call.cancellation.timer is not None and isinstance(call, ActivityCall):
                call.cancellation.timer.begin(call)
            if self._queue and self._thread_count < self._capacity:
                self._add_threads()  # the thread that queued these may not have counted this call as running
            try:
                result = call.run()
            except BaseException as error:  # noqa: BLE001 - user code may raise where nobody expects it
                result = call.make_failed_result(error)
            exit_if_forked(self._engine_pid, result)
            if call.cancellation.timer is not None and not call.cancellation.timer.settle():
                self._end_lost_thread(call)
                break
            del self._running[call.key]
            self._report(result)
        close_thread_scopes()
