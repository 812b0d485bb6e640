"""The sliding window of a rate: never do more than `limit` calls begin within any `period`.

A call counts from its admission on, and until a period after it has begun. That is later: a worker has to take it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from durablecli.model.activity_options import Rate

_MAX_EXACT = 100
"""Up to this limit each begin has a time of its own; with a higher one, those within a hundredth of the period share
the last one's, so that a window takes little memory."""
TOLERANCE = 1e-7
"""The rounding error of times, in seconds: that of a clock which counts for years."""


class Permit:
    """The right of one call to begin. Its worker notes when that is."""

    __slots__ = ("_clock", "admitted_at", "began_at", "id")

    def __init__(self, id: int, clock: Callable[[], float], now: float) -> None:
        self.id = id
        self.admitted_at = now
        self.began_at: float | None = None
        self._clock = clock

    def begin(self) -> None:
        """Note that the call begins now; any thread may call this."""
        self.began_at = self._clock()


class RateWindow:
    """The calls of one key that count at present. Times are in seconds, by any clock that doesn't go back."""

    def __init__(self, starts: Iterable[tuple[float, int]] = ()) -> None:
        """`starts` are times at which calls have begun, with their numbers, the earliest first."""
        self._starts = [(at, at, count) for at, count in starts]
        """When calls have begun: the first and the last time, and their number; the earliest first."""
        self._pending: dict[Permit, None] = {}
        """The calls that were admitted and haven't begun yet."""

    def admit(self, permit: Permit) -> None:
        """Count a call from now on."""
        self._pending[permit] = None

    def withdraw(self, permit: Permit) -> None:
        """Count a call no longer if it hasn't begun: it has ended before."""
        if permit.began_at is None:
            self._pending.pop(permit, None)

    def refresh(self, rate: Rate, now: float) -> list[Permit]:
        """Bring the window up to date. Returns the calls that have begun since the last time."""
        begun = [permit for permit in self._pending if permit.began_at is not None]
        width = 0.0 if rate.limit <= _MAX_EXACT else rate.period.total_seconds() / 100
        for permit in sorted(begun, key=lambda each: each.began_at or 0.0):
            del self._pending[permit]
            self._add(permit.began_at or 0.0, width)
        expired = now - rate.period.total_seconds() + TOLERANCE
        kept = next((i for i, (_, last, _) in enumerate(self._starts) if last > expired), len(self._starts))
        if kept:
            del self._starts[:kept]
        return begun

    def _add(self, at: float, width: float) -> None:
        first, last, count = self._starts[-1] if self._starts else (at - width - 1.0, at, 0)
        if count and (at <= last or at - first < width):
            self._starts[-1] = (first, max(at, last), count + 1)
        else:
            self._starts.append((at, at, 1))

    def count_free(self, rate: Rate) -> int:
        """How many calls may begin now, in a window that is up to date."""
        return rate.limit - len(self._pending) - sum(count for _, _, count in self._starts)

    def next_free_time(self, rate: Rate, now: float) -> float:
        """When the next call may begin, if none may now. With calls that haven't begun it is a time to ask again."""
        period = rate.period.total_seconds()
        times = [last + period for _, last, _ in self._starts[:1]]
        if self._pending:
            oldest = next(iter(self._pending)).admitted_at + period
            times.append(oldest if oldest > now else now + min(period, 1.0))
        return min(times, default=now + period)

    @property
    def pending(self) -> Collection[Permit]:
        """The calls that haven't begun yet."""
        return self._pending

    @property
    def starts(self) -> list[tuple[float, int]]:
        """When calls have begun: times and numbers."""
        return [(last, count) for _, last, count in self._starts]

    @property
    def last_start(self) -> float | None:
        """The last time at which a call has begun, None if none counts any more."""
        return self._starts[-1][1] if self._starts else None
