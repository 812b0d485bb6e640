"""The clock of an engine: the system's, or one that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Protocol

_ROUNDING = 0.0005
"""The rounding error of times, in microseconds."""


class Clock(Protocol):
    """Returns the time, in UTC."""

    def now(self) -> datetime: ...


class SystemClock:
    """The wall clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class VirtualClock:
    """A clock that moves only when a test moves it."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def time_after(self, seconds: float) -> datetime:
        """Return the time `seconds` from now, rounded up, so that what is due then is due at the time returned."""
        return self._now + timedelta(microseconds=ceil(seconds * 1e6 - _ROUNDING))

    def move_to(self, time: datetime) -> None:
        self._now = time

    def advance(self, by: timedelta) -> None:
        self._now += by
