"""Limits the calls of activities: how many of one function and key run at the same time, and how many begin.

Calls wait in a queue of their function and key, so those of another key, or of another function, never wait for them.
Only the engine's thread uses a limiter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from msgspec.structs import replace

from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.call_keys import make_key
from durablecli.engine.workers.call_queue import CallQueue
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.rate_window import TOLERANCE, Permit, RateWindow
from durablecli.model.activity_options import ActivityOptions
from durablecli.registry import Function
from durablecli.store.rate_file import RateFile, RateKey, Starts

_SAVE_INTERVAL = 1.0
_UNKNOWN_PERIOD = 86_400.0
"""For how long calls of functions that aren't loaded are remembered, in seconds."""


class CallGroup:
    """The calls of one function and key."""

    __slots__ = ("due", "has_cancelled", "name", "options", "queue", "running", "window")

    def __init__(self, name: RateKey, options: ActivityOptions) -> None:
        self.name = name
        self.options = options
        self.queue: CallQueue[ActivityCall] = CallQueue()
        self.running = 0
        self.window: RateWindow | None = None
        self.due: float | None = None
        """When it has to be looked at again, because of its rate."""
        self.has_cancelled = False


class LimitedQueue(NamedTuple):
    """Calls that wait for a limit. If that is the rate, the next one may begin in `next_in` seconds."""

    name: str
    key: str
    options: ActivityOptions
    running: int
    queued: int
    next_in: float | None


class CallLimiter:
    """Holds back the calls of functions that have a `max_concurrency` or a `rate`."""

    def __init__(
        self,
        drop: Callable[[ActivityCall], None],
        find_function: Callable[[str], Function | None],
        clock: Callable[[], float],
        file: RateFile | None = None,
    ) -> None:
        """`drop` takes the cancelled calls. Without a `file` a restart forgets which calls have begun."""
        self._drop = drop
        self._find_function = find_function
        self._clock = clock
        self._file = file
        self._groups: dict[RateKey, CallGroup] = {}
        self._members: dict[WorkKey, tuple[CallGroup, Permit | None]] = {}
        """The calls that were let through and haven't ended."""
        self._waiting: dict[WorkKey, CallGroup] = {}
        self._changed: dict[RateKey, CallGroup] = {}
        self._due: list[tuple[float, int, CallGroup]] = []
        self._sequence = count(1)
        self._earlier: Starts | None = None
        """The calls of earlier engines that count still; None before the file is read."""
        self._unconfirmed: dict[RateKey, CallGroup] = {}
        """Groups with calls that were let through, and may not have begun yet."""
        self._begun: list[tuple[int, float]] = []
        """The numbers of calls, and when they have begun: not in the file yet."""
        self._saved_at = 0.0

    # ── calls ────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, call: ActivityCall) -> None:
        """Queue a call. Raises what decoding its input, or its key function, raises."""
        name = call.function.name, make_key(call)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = CallGroup(name, call.function.options)
        self._set_options(group, call.function.options)
        group.queue.append(call)
        self._waiting[call.key] = group

    def _set_options(self, group: CallGroup, options: ActivityOptions) -> None:
        group.options = options
        if options.rate is not None and group.window is None:
            group.window = RateWindow(self._read_earlier().pop(group.name, ()))
        self._changed[group.name] = group

    def take_new_options(self) -> None:
        """Take what the functions of queued and running calls declare now; `take_ready` then applies it."""
        for group in self._groups.values():
            function = self._find_function(group.name[0])
            if function is not None:
                self._set_options(group, function.options)

    def leave(self, key: WorkKey) -> None:
        """Note that a call has ended."""
        found = self._members.pop(key, None)
        if found is None:
            return
        group, permit = found
        group.running -= 1
        if permit is not None and group.window is not None:
            group.window.withdraw(permit)
        self._changed[group.name] = group

    def note_cancelled(self, key: WorkKey) -> None:
        """Note that a call was cancelled: if it waits, it is dropped."""
        group = self._waiting.get(key)
        if group is not None:
            group.has_cancelled = True
            self._changed[group.name] = group

    def take_ready(self) -> list[ActivityCall]:
        """Take the calls that may begin now. Those with a rate are in the file when this returns."""
        now = self._clock()
        while self._due and self._due[0][0] <= now + TOLERANCE:
            at, _, group = heappop(self._due)
            if group.due == at:
                group.due = None
                if self._groups.get(group.name) is group:
                    self._changed[group.name] = group
        ready: list[ActivityCall] = []
        admitted: list[tuple[int, str, str]] = []
        for group in self._changed.values():
            self._take_ready_of(group, now, ready, admitted)
        self._changed.clear()
        if admitted:
            self._save(admitted, now)
        return ready

    def _take_ready_of(
        self, group: CallGroup, now: float, ready: list[ActivityCall], admitted: list[tuple[int, str, str]]
    ) -> None:
        if group.has_cancelled:
            self._drop_cancelled(group)
        rate, window = group.options.rate, group.window
        if window is None or rate is None:
            room = len(group.queue)
        else:
            self._begun += [(each.id, each.began_at or now) for each in window.refresh(rate, now)]
            room = window.count_free(rate)
        if group.options.max_concurrency is not None:
            room = min(room, group.options.max_concurrency - group.running)
        for _ in range(min(room, len(group.queue))):
            call, permit = group.queue.popleft(), None
            if window is not None and rate is not None:
                permit = Permit(next(self._sequence), self._clock, now)
                window.admit(permit)
                self._unconfirmed[group.name] = group
                admitted.append((permit.id, *group.name))
                call = replace(call, on_begin=permit.begin)
            group.running += 1
            del self._waiting[call.key]
            self._members[call.key] = group, permit
            ready.append(call)
        self._schedule(group, now)

    def _drop_cancelled(self, group: CallGroup) -> None:
        group.has_cancelled = False
        calls = [*group.queue]
        group.queue.clear()
        for call in calls:
            if call.cancellation.abandoned:
                del self._waiting[call.key]
                self._drop(call)
            else:
                group.queue.append(call)

    def _schedule(self, group: CallGroup, now: float) -> None:
        """Have the group looked at when its rate lets the next call begin, or when its state isn't needed any more."""
        rate, window = group.options.rate, group.window
        if group.queue and rate is not None and window is not None and window.count_free(rate) <= 0:
            self._add_due(group, window.next_free_time(rate, now))
        elif not group.queue and not group.running:
            last = None if rate is None or window is None else window.last_start
            if last is None or rate is None:
                self._groups.pop(group.name, None)
            else:
                self._add_due(group, last + rate.period.total_seconds())

    def _add_due(self, group: CallGroup, at: float) -> None:
        if group.due is None or at < group.due:
            group.due = at
            heappush(self._due, (at, next(self._sequence), group))

    # ── time and status ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def next_due(self) -> float | None:
        """When `take_ready` has something to do, by the clock; None if that isn't known."""
        return self._due[0][0] if self._due else None

    def maintain(self) -> bool:
        """Save what is known now; return whether `take_ready` has something to do. Called about once a second."""
        now = self._clock()
        if self._file is not None and abs(now - self._saved_at) >= _SAVE_INTERVAL:
            self._saved_at = now
            self._note_begun(now)
        return bool(self._changed) or (self.next_due is not None and self.next_due <= now + TOLERANCE)

    def close(self) -> None:
        """Save what is known, and close the file."""
        if self._file is not None:
            self._note_begun(self._clock())
            self._file.close()

    def find_queue(self, key: WorkKey) -> RateKey | None:
        """Return the name and key of the queue in which a call waits; None if it doesn't wait for a limit."""
        group = self._waiting.get(key)
        return None if group is None else group.name

    def list_queues(self) -> Iterator[LimitedQueue]:
        """Describe the queues in which calls wait for a limit."""
        if self._waiting:
            now = self._clock()
            yield from (_describe(group, now) for group in self._groups.values() if group.queue)

    # ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _read_earlier(self) -> Starts:
        if self._earlier is None:
            self._earlier = {} if self._file is None else self._file.read(self._clock())
        return self._earlier

    def _save(self, admitted: list[tuple[int, str, str]], now: float) -> None:
        """Note the calls that are about to begin, and when earlier ones have begun."""
        if self._file is None:
            self._begun.clear()
            return
        if self._file.is_rewrite_due:
            self._file.rewrite(self._collect_starts(now), now)
            admitted = [(each.id, *group.name) for group in self._unconfirmed.values() for each in _pending(group)]
            self._begun.clear()
        self._file.append(admitted, self._begun)
        self._begun.clear()
        self._saved_at = now

    def _note_begun(self, now: float) -> None:
        for group in [*self._unconfirmed.values()]:
            rate, window = group.options.rate, group.window
            if rate is not None and window is not None:
                self._begun += [(each.id, each.began_at or now) for each in window.refresh(rate, now)]
            if window is None or not window.pending:
                del self._unconfirmed[group.name]
        if self._begun:
            self._save([], now)

    def _rated_groups(self) -> Iterable[CallGroup]:
        return (group for group in self._groups.values() if group.window is not None)

    def _collect_starts(self, now: float) -> Starts:
        found: Starts = {}
        for name, starts in self._read_earlier().items():
            function = self._find_function(name[0])
            rate = None if function is None else function.options.rate
            period = _UNKNOWN_PERIOD if rate is None else rate.period.total_seconds()
            if starts[-1][0] + period > now:
                found[name] = starts
        for group in self._rated_groups():
            if group.window is not None and group.window.starts:
                found[group.name] = group.window.starts
        return found


def _pending(group: CallGroup) -> Iterable[Permit]:
    return () if group.window is None else group.window.pending


def _describe(group: CallGroup, now: float) -> LimitedQueue:
    options, window = group.options, group.window
    is_full = options.max_concurrency is not None and group.running >= options.max_concurrency
    next_in = None
    if options.rate is not None and window is not None and not is_full:
        next_in = max(0.0, window.next_free_time(options.rate, now) - now)
    return LimitedQueue(*group.name, options, group.running, len(group.queue), next_in)
