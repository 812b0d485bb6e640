"""The due times of a schedule in its time zone, also where its clocks change.

Two kinds of cron expressions differ there. With a fixed hour, each time of day is due once a day: one that the clocks
skip is due right after the gap, and one that comes twice is due the first time. With `*` as the hour the expression
counts real hours: what is skipped isn't made up for, and what comes twice is due twice. So a job that runs every ten
minutes does so all night. An interval counts real time, from 1970-01-01T00:00 UTC.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from durablecli.errors import UsageError
from durablecli.model.time_spans import parse_duration
from durablecli.scheduling.cron import CronExpression, parse_cron
from durablecli.scheduling.time_zones import find_offset_change, find_time_zone

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_MIN_INTERVAL = _SECOND
_MAX_INTERVAL = timedelta(days=366)
_FIRST_WINDOW = timedelta(minutes=2)
_WINDOW_GROWTH = 4


class DueTimes:
    """The due times of one expression in one time zone, all in UTC."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone

    def next_after(self, moment: datetime) -> datetime:
        """The first due time after `moment`. Raises ValueError if there is none."""
        raise NotImplementedError

    def latest(self, start: datetime, until: datetime, limit: int) -> LatestDueTimes:
        """The latest due times from `start` on, itself a due time, up to `until`: at most `limit`.

        It looks back from `until` in growing windows, so a long time with very many due times takes no longer.
        """
        window = _FIRST_WINDOW
        while until - window > start:
            times = self._collect(self.next_after(until - window), until, limit)
            if len(times) >= limit:
                return LatestDueTimes(times, is_complete=False)
            window *= _WINDOW_GROWTH
        times = self._collect(start, until, limit + 1)
        return LatestDueTimes(times[-limit:], is_complete=len(times) <= limit)

    def _collect(self, first: datetime, until: datetime, limit: int) -> list[datetime]:
        found: deque[datetime] = deque(maxlen=limit)
        moment = first
        while moment <= until:
            found.append(moment)
            moment = self.next_after(moment)
        return list(found)


class LatestDueTimes(NamedTuple):
    """Due times in order. Unless `is_complete`, there are earlier ones."""

    times: list[datetime]
    is_complete: bool


class IntervalDueTimes(DueTimes):
    """Due at all multiples of an interval since 1970."""

    def __init__(self, every: timedelta, zone: tzinfo) -> None:
        super().__init__(zone)
        self.every = every

    def next_after(self, moment: datetime) -> datetime:
        return _EPOCH + ((moment - _EPOCH) // self.every + 1) * self.every


class RealTimeDueTimes(DueTimes):
    """Due whenever the clock of the zone shows a time of the expression."""

    def __init__(self, cron: CronExpression, zone: tzinfo) -> None:
        super().__init__(zone)
        self._cron = cron

    def next_after(self, moment: datetime) -> datetime:
        local = moment.astimezone(self.zone)
        shown, offset = local.replace(tzinfo=None, fold=0), local.utcoffset()
        while True:
            assert offset is not None
            found = (self._cron.next_after(shown) - offset).replace(tzinfo=UTC)
            change = find_offset_change(self.zone, moment, found)
            if change is None:
                return found
            moment, offset = change, change.astimezone(self.zone).utcoffset()
            assert offset is not None
            shown = (change + offset).replace(tzinfo=None) - _SECOND  # the moment of the change may be due itself


class DailyDueTimes(DueTimes):
    """Due once for each time of day of the expression."""

    def __init__(self, cron: CronExpression, zone: tzinfo) -> None:
        super().__init__(zone)
        self._cron = cron

    def next_after(self, moment: datetime) -> datetime:
        # A later time of day is never due earlier, so the search can begin at what the clock shows.
        shown = moment.astimezone(self.zone).replace(tzinfo=None, fold=0)
        while True:
            shown = self._cron.next_after(shown)
            if (found := self._to_moment(shown)) > moment:
                return found

    def _to_moment(self, shown: datetime) -> datetime:
        """The first moment at which the clock shows this time; if it is skipped, the end of the gap."""
        local = shown.replace(tzinfo=self.zone)
        moment = local.astimezone(UTC)
        if moment.astimezone(self.zone).replace(tzinfo=None, fold=0) == shown:
            return moment
        before = local.replace(fold=1).astimezone(UTC)
        return find_offset_change(self.zone, before, moment) or moment


@lru_cache(1024)
def parse_due_times(schedule: str, timezone: str) -> DueTimes:
    """Parse an expression: five or six cron fields, `@daily`, or `every 10m`. Raises ValueError, in words."""
    zone = find_time_zone(timezone)
    words = schedule.split()
    if words[:1] == ["every"]:
        return IntervalDueTimes(_parse_interval(schedule, "".join(words[1:])), zone)
    cron = parse_cron(schedule)
    kind = RealTimeDueTimes if cron.is_hourly else DailyDueTimes
    return kind(cron, zone)


def _parse_interval(schedule: str, text: str) -> timedelta:
    try:
        every = parse_duration(text)
    except UsageError as error:
        raise ValueError(f"invalid schedule {schedule!r}: {error}") from None
    if not _MIN_INTERVAL <= every <= _MAX_INTERVAL:
        raise ValueError(f"invalid schedule {schedule!r}: an interval is between 1s and 366d")
    return every
