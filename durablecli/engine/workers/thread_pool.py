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

from durablecli.app import Function
from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import Call, Outcome
from durablecli.engine.workers.entity_batch import Batch, BatchOutcome
from durablecli.engine.workers.fork_guard import end_child_of

Key = tuple[str, str, int]
Work = Call | Batch
"""One activity, or the operations of one entity."""
Report = Callable[[Outcome | BatchOutcome], None]


class Executor(Protocol):
    """Runs calls at the same time, up to its limit, and keeps the rest in order."""

    def start(self, calls: Iterable[Work]) -> None: ...
    def cancel(self, key: Key) -> None:
        """Stop a call that runs, where that can be done. One that hasn't begun is asked to stop, and never begins."""
        ...

    def tell(self, key: Key) -> None:
        """Let a call that runs see that it is to stop, where it can't see that by itself."""
        ...

    def hold_back(self) -> None:
        """Begin nothing more; what has begun goes on."""
        ...

    def tend(self) -> None:
        """Go on with what couldn't be started for want of threads. Called about once a second."""
        ...

    @property
    def busy(self) -> bool:
        """Whether a call is being run."""
        ...

    @property
    def most(self) -> int:
        """How many calls it runs at the same time."""
        ...

    @property
    def queued(self) -> int:
        """How many calls wait for one that runs to end."""
        ...

    def running(self) -> dict[Key, float]:
        """The calls that have begun and not ended, with the monotonic time at which each began."""
        ...

    def stop(self) -> None: ...


class Threads:
    """Synchronous calls. Threads are made as needed, up to the limit, and are never waited for at exit."""

    def __init__(self, most: int, report: Report, name: str = "activity") -> None:
        self._name = name
        self._most = most
        self._report = report
        self._calls: deque[Work] = deque()
        self._idle: deque[threading.Lock] = deque()
        self._threads: list[threading.Thread] = []
        self._growing = threading.Lock()
        self._running: dict[Key, float] = {}
        self._process = os.getpid()
        self._held_back = False
        self._stopped = False

    def start(self, calls: Iterable[Work]) -> None:
        self._calls.extend(calls)
        self._wake()
        self._grow()

    def cancel(self, key: Key) -> None:
        """A thread can't be stopped; its function may look at `context.cancelled`."""

    def tell(self, key: Key) -> None: ...

    def hold_back(self) -> None:
        self._held_back = True

    def tend(self) -> None:
        if self._calls:
            self._grow()

    @property
    def busy(self) -> bool:
        return bool(self._running)

    @property
    def most(self) -> int:
        return self._most

    @property
    def queued(self) -> int:
        return len(self._calls)

    def running(self) -> dict[Key, float]:
        return self._running.copy()

    def stop(self) -> None:
        self._stopped = True
        while self._idle:
            self._wake()

    def _wake(self) -> None:
        with suppress(IndexError):
            self._idle.popleft().release()

    def _grow(self) -> None:
        """A thread for each call that waits or runs, up to the limit: one that never returns holds no other up."""
        with self._growing:
            while len(self._threads) < min(self._most, len(self._calls) + len(self._running)):
                name = f"durable-{self._name}-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                if not start_thread(thread):
                    return
                self._threads.append(thread)

    def _take(self, lock: threading.Lock) -> Work | None:
        """The next call, waiting for one. Whoever takes one wakes the next thread while there is more to do, so a batch
        of short calls is done by few threads, and a batch of long ones by all."""
        while not self._stopped:
            with suppress(IndexError):
                call = self._calls.popleft()
                if self._calls and self._idle:
                    self._wake()
                return call
            self._idle.append(lock)
            if self._calls or self._stopped:
                self._wake()  # something came before this thread was seen to be idle
            lock.acquire()
        return None

    def _work(self) -> None:
        lock = threading.Lock()
        lock.acquire()
        while (call := self._take(lock)) is not None:
            if self._held_back:
                continue
            if call.cancellation.dropped:
                self._report(call.dropped())
                continue
            self._running[call.key] = monotonic()
            if self._calls and len(self._threads) < self._most:
                self._grow()  # whoever started these may not have seen this one run yet
            try:
                outcome = call.run()
            except BaseException as error:  # noqa: BLE001 - user code may raise where nobody expects any
                outcome = call.failed(error)
            end_child_of(self._process, outcome)
            del self._running[call.key]
            self._report(outcome)


class Gate:
    """Holds calls back where a function's own `max_concurrency` is reached."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Call]] = {}

    def enter(self, call: Call) -> bool:
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

    def leave(self, function: Function) -> Call | None:
        """One has ended: the call that may start in its place."""
        if function.max_concurrency is None:
            return None
        waiting = self._waiting.get(function.name)
        if waiting:
            return waiting.popleft()
        self._running[function.name] -= 1
        return None
