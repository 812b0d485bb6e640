"""The time-outs of running activities: one thread watches all calls that have one; others cost nothing. Without threads
`maintain` does that, by a clock that need not be the system's.

A time-out is the result of its attempt. Whoever settles the call first reports its result: the pool that runs it, or
the thread here. So what a function returns after its time-out is dropped, even if the same call runs again meanwhile.
A call that was cancelled times out too, if its function hasn't returned by then: so it gives up its slot.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic

from durablecli.durations import format_length
from durablecli.engine.thread_start import start_thread
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.rate_window import TOLERANCE
from durablecli.errors import ActivityTimedOut
from durablecli.model.activity_options import ActivityOptions
from durablecli.model.events import TaskScheduled
from durablecli.model.failures import Failure, qualified_name

_LONGEST_WAIT = 3600.0
_MIN_REMOVED = 64
"""Entries of settled calls that may stay in the heap, beside as many as there are others."""


class Deadlines:
    """Watches calls. `expire` is called, in a thread of its own, with each call whose time-out has passed, and with
    what to say of it. Time is counted by `clock`, in seconds; one that isn't the system's needs `threaded=False`."""

    def __init__(
        self,
        expire: Callable[[ActivityCall, str], object],
        clock: Callable[[], float] = monotonic,
        *,
        threaded: bool = True,
    ) -> None:
        self._expire = expire
        self.clock = clock
        self._threaded = threaded
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int]] = []
        self._watched: dict[int, tuple[CallTimer, ActivityCall]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def make_timer(self, options: ActivityOptions, task: TaskScheduled, *, remote: bool) -> CallTimer | None:
        """Make the timer of a call; None if it has no time-out. What the call sets replaces what the activity declares.

        A remote activity can't send heartbeats.
        """
        timeout, heartbeat = task.timeout, None if remote else task.heartbeat_timeout
        if timeout is None and options.timeout is not None:
            timeout = options.timeout.total_seconds()
        if heartbeat is None and options.heartbeat_timeout is not None:
            heartbeat = options.heartbeat_timeout.total_seconds()
        return CallTimer(self, timeout, heartbeat) if timeout is not None or heartbeat is not None else None

    def maintain(self) -> None:
        """Start the thread if calls are watched and it couldn't be started for lack of threads. Without threads, expire
        the calls whose time-out has passed."""
        if not self._threaded:
            while (expired := self._take_next()) is not None:
                self._end(*expired)
        elif self._thread is None and self._watched:
            with self._changed:
                self._start_thread()

    @property
    def next_due_in(self) -> float | None:
        """In how many seconds `maintain` has something to do without threads; None if no call is watched."""
        with self._changed:
            while self._heap and self._heap[0][1] not in self._watched:
                heapq.heappop(self._heap)
            return max(0.0, self._heap[0][0] - self.clock()) if self._heap else None

    def stop(self) -> None:
        """Expire nothing more."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def watch(self, timer: CallTimer, call: ActivityCall) -> None:
        """Begin to watch a call, or start its time again."""
        with self._changed:
            if timer.is_settled:
                return
            self._drop(timer)
            timer.began = timer.last_beat = self.clock()
            timer.number = number = next(self._numbers)
            self._watched[number] = timer, call
            self._push(timer.due_at, number)
            if self._thread is None:
                self._start_thread()

    def unwatch(self, timer: CallTimer, *, settle: bool) -> bool:
        """Watch a call no longer. False if its time-out has passed, and its result is that."""
        with self._changed:
            if timer.is_settled:
                return False
            timer.is_settled = settle
            self._drop(timer)
            if len(self._heap) > 2 * len(self._watched) + _MIN_REMOVED:
                self._heap = [entry for entry in self._heap if entry[1] in self._watched]
                heapq.heapify(self._heap)
            return True

    def _drop(self, timer: CallTimer) -> None:
        if timer.number is not None:
            self._watched.pop(timer.number, None)
            timer.number = None

    def _push(self, due: float, number: int) -> None:
        heapq.heappush(self._heap, (due, number))
        if self._heap[0][1] == number:
            self._changed.notify()

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="durable-deadlines", daemon=True)
        if self._threaded and not self._stopped and start_thread(thread):
            self._thread = thread

    def _run(self) -> None:
        while (expired := self._wait_for_next()) is not None:
            self._end(*expired)

    def _end(self, timer: CallTimer, call: ActivityCall) -> None:
        with suppress(Exception):  # one call must not end the watch over the others
            self._expire(call, timer.describe())

    def _wait_for_next(self) -> tuple[CallTimer, ActivityCall] | None:
        """Wait for the next call whose time-out passes, and settle it; None when the engine stops."""
        with self._changed:
            while not self._stopped:
                if (found := self._take_expired()) is not None:
                    return found
                self._changed.wait(min(_LONGEST_WAIT, self._heap[0][0] - self.clock()) if self._heap else None)
        return None

    def _take_next(self) -> tuple[CallTimer, ActivityCall] | None:
        with self._changed:
            return None if self._stopped else self._take_expired()

    def _take_expired(self) -> tuple[CallTimer, ActivityCall] | None:
        """Settle the next call whose time-out has passed, and return it; None if there is none now."""
        now = self.clock()
        while self._heap and self._heap[0][0] <= now + TOLERANCE:
            _, number = heapq.heappop(self._heap)
            if (found := self._watched.get(number)) is None:
                continue
            timer = found[0]
            if timer.due_at > now + TOLERANCE:  # a heartbeat came
                self._push(timer.due_at, number)
                continue
            self._drop(timer)
            timer.is_settled = True
            return found
        return None


class CallTimer:
    """The time-outs of one call, in seconds, and its state: `is_settled` once its result is known."""

    def __init__(self, deadlines: Deadlines, timeout: float | None, heartbeat_timeout: float | None) -> None:
        self._deadlines = deadlines
        self._timeout = timeout
        self.heartbeat_timeout = heartbeat_timeout
        self.number: int | None = None
        self.began = self.last_beat = 0.0
        self.is_settled = False

    def begin(self, call: ActivityCall) -> None:
        """Note that the call begins to run now, perhaps once more. From now on its time counts."""
        self._deadlines.watch(self, call)

    def suspend(self) -> bool:
        """Note that the call waits to begin once more. False if its time-out has passed already."""
        return self._deadlines.unwatch(self, settle=False)

    def settle(self) -> bool:
        """Note that the call has ended. False if its time-out has passed before: then its result doesn't count."""
        return self._deadlines.unwatch(self, settle=True)

    def beat(self) -> None:
        """Note a heartbeat."""
        self.last_beat = self._deadlines.clock()

    @property
    def due_at(self) -> float:
        """The time at which it times out, by the clock, unless a heartbeat comes."""
        total = float("inf") if self._timeout is None else self.began + self._timeout
        beat = float("inf") if self.heartbeat_timeout is None else self.last_beat + self.heartbeat_timeout
        return min(total, beat)

    def describe(self) -> str:
        """Say which time-out has passed."""
        if self._timeout is not None and self.due_at == self.began + self._timeout:
            return f"ran longer than {_format_seconds(self._timeout)}"
        assert self.heartbeat_timeout is not None
        return f"sent no heartbeat for {_format_seconds(self.heartbeat_timeout)}"


def make_timed_out_result(key: WorkKey, text: str) -> ActivityResult:
    """Return the result of an attempt that has timed out; `text` is what its timer says."""
    bases = tuple(map(qualified_name, ActivityTimedOut.__mro__[1:-2]))
    return ActivityResult(key, None, Failure(qualified_name(ActivityTimedOut), text, bases))


def _format_seconds(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 100 else format_length(timedelta(seconds=seconds))
