"""Where user code runs: threads, an event loop, worker processes. One hand-off and one wake-up per batch of calls.

An executor reports each outcome once, from whatever thread it likes; `report` is thread-safe.
"""

from __future__ import annotations

import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Protocol

from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult
from durablecli.engine.workers.fork_guard import exit_if_forked
from durablecli.registry import Function

WorkKey = tuple[str, str, int]
WorkItem = ActivityCall | EntityBatchCall
"""One activity, or the operations of one entity."""
ReportResult = Callable[[ActivityResult | EntityBatchResult], None]


class WorkerPool(Protocol):
    """Runs calls at the same time, up to its limit, and keeps the rest in order."""

    def start(self, calls: Iterable[WorkItem]) -> None: ...
    def cancel(self, key: WorkKey) -> None:
        """Stop a call that runs, where that can be done. One that hasn't begun is asked to stop, and never begins."""
        ...

    def notify_cancel(self, key: WorkKey) -> None:
        """Let a call that runs see that it is to stop, where it can't see that by itself."""
        ...

    def pause(self) -> None:
        """Begin nothing more; what has begun goes on."""
        ...

    def maintain(self) -> None:
        """Go on with what couldn't be started for want of threads. Called about once a second."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether a call is being run."""
        ...

    @property
    def capacity(self) -> int:
        """How many calls it runs at the same time."""
        ...

    @property
    def queue_length(self) -> int:
        """How many calls wait for one that runs to end."""
        ...

    def start_times(self) -> dict[WorkKey, float]:
        """The calls that have begun and not ended, with the monotonic time at which each began."""
        ...

    def stop(self) -> None: ...


class ThreadPool:
    """Synchronous calls. Threads are made as needed, up to the limit, and are never waited for at exit."""

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
        """A thread can't be stopped; its function may look at `context.cancelled`."""

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
        with suppress(IndexError):
            self._idle.popleft().release()

    def _add_threads(self) -> None:
        """A thread for each call that waits or runs, up to the limit: one that never returns holds no other up."""
        with self._grow_lock:
            while len(self._threads) < min(self._capacity, len(self._queue) + len(self._running)):
                name = f"durable-{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._run_thread, name=name, daemon=True)
                if not start_thread(thread):
                    return
                self._threads.append(thread)

    def _wait_for_call(self, lock: threading.Lock) -> WorkItem | None:
        """The next call, waiting for one. Whoever takes one wakes the next thread while there is more to do, so a batch
        of short calls is done by few threads, and a batch of long ones by all."""
        while not self._stopped:
            with suppress(IndexError):
                call = self._queue.popleft()
                if self._queue and self._idle:
                    self._wake_thread()
                return call
            self._idle.append(lock)
            if self._queue or self._stopped:
                self._wake_thread()  # something came before this thread was seen to be idle
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
                self._add_threads()  # whoever started these may not have seen this one run yet
            try:
                outcome = call.run()
            except BaseException as error:  # noqa: BLE001 - user code may raise where nobody expects any
                outcome = call.make_failed_result(error)
            exit_if_forked(self._engine_pid, outcome)
            del self._running[call.key]
            self._report(outcome)


class ConcurrencyLimiter:
    """Holds calls back where a function's own `max_concurrency` is reached."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[ActivityCall]] = {}

    def try_enter(self, call: ActivityCall) -> bool:
        """Whether the call may start now; else it is kept."""
        most = call.function.max_concurrency
        if most is None:
            return True
        name = call.function.name
        if self._running[name] >= most:
            self._waiting.setdefault(name, deque()).append(call)
            return False
        self._running[name] += 1
        return True

    def leave(self, function: Function) -> ActivityCall | None:
        """One has ended: the call that may start in its place."""
        if function.max_concurrency is None:
            return None
        waiting = self._waiting.get(function.name)
        if waiting:
            return waiting.popleft()
        self._running[function.name] -= 1
        return None
