"""Ranges of time, as filters give them."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from durablecli.model.validation import check_time


class TimeRange(NamedTuple):
    """From `first` to `last`, both included; None leaves that end open."""

    first: datetime | None = None
    last: datetime | None = None

    @classmethod
    def checked(cls, first: datetime | None, last: datetime | None) -> TimeRange:
        """A range of the times that a caller gives; naive ones are UTC."""
        return cls(*(None if time is None else check_time(time, "a time") for time in (first, last)))

    def contains(self, time: datetime | None) -> bool:
        """Whether a time lies in the range. None, for something that never happened, lies only in the open range."""
        if time is None:
            return self == (None, None)
        return (self.first is None or self.first <= time) and (self.last is None or time <= self.last)
