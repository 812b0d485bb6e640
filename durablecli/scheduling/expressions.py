"""Parses the schedules of timer functions of Azure: cron expressions or intervals.

A cron expression is in NCRONTAB's form, `{second} {minute} {hour} {day} {month} {day-of-week}`.

With five fields the seconds are 0. All times are UTC. As in NCRONTAB, a day must match both of its fields. `hh:mm:ss`
is an interval; a first field of 24 or more counts days, as it does in Azure: `24:00:00` is every 24 days.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

_MAX_INTERVAL = timedelta(days=366 * 100)
_is_field = re.compile(r"[0-9A-Za-z*,/-]+").fullmatch
_match_interval = re.compile(r"(?:([0-9]{1,8})\.)?([0-9]{1,8}):([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2}))?").fullmatch
_WORD = re.compile(r"[A-Za-z]+")
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october")
_DAY_AND_MONTH_NAMES = frozenset((*_DAYS, *_MONTHS, "november", "december"))
_ABBREVIATIONS = {word[:3] for word in _DAY_AND_MONTH_NAMES}


class Schedule(Protocol):
    """Recurring times."""

    def next_after(self, time: datetime) -> datetime:
        """The first time of the schedule after `time`."""
        ...


class IntervalSchedule:
    """Due at a fixed interval."""

    def __init__(self, every: timedelta) -> None:
        self.every = every

    def next_after(self, time: datetime) -> datetime:
        return time + self.every


class CronSchedule:
    """Due at the times that match six NCRONTAB fields."""

    def __init__(self, fields: str) -> None:
        self.fields = fields

    def next_after(self, time: datetime) -> datetime:
        from croniter import croniter  # slow to import, and only timers need it

        found = croniter(self.fields, time, second_at_beginning=True, day_or=False).get_next(datetime)
        assert isinstance(found, datetime)
        return found.astimezone(UTC)


@lru_cache(1024)
def parse_schedule(text: str) -> Schedule:
    """Parse a schedule; raises ValueError."""
    interval = _match_interval(text.strip())
    if interval is not None:
        return IntervalSchedule(_parse_interval(text, *interval.groups()))
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    hint = "use six fields such as '0 */5 * * * *', or an interval such as '00:05:00'"
    schedule = CronSchedule(join_fields(text, fields, hint))
    try:
        schedule.next_after(datetime(2026, 1, 1, tzinfo=UTC))
    except (ValueError, KeyError) as error:
        raise ValueError(f"invalid schedule {text!r}, or one that is never due: {error}") from None
    return schedule


def join_fields(text: str, fields: list[str], hint: str) -> str:
    """Return six fields as one text, with abbreviated names. Raises ValueError with the hint for other fields."""
    if len(fields) != 6 or not all(map(_is_field, fields)):
        raise ValueError(f"invalid schedule {text!r}; {hint}")
    return " ".join(_WORD.sub(lambda word: _abbreviate(text, word[0]), field) for field in fields)


def _parse_interval(text: str, days: str | None, first: str, second: str, third: str, fourth: str | None) -> timedelta:
    numbers = [int(part) for part in (days, first, second, third, fourth) if part is not None]
    if len(numbers) == 3 and numbers[0] >= 24:
        numbers.append(0)  # 24:00:00 is read as days, hours and minutes
    if len(numbers) == 3:
        numbers.insert(0, 0)
    if len(numbers) != 4 or numbers[1] > 23 or max(numbers[2:]) > 59:
        raise ValueError(f"invalid interval {text!r}; use hh:mm:ss or d.hh:mm:ss")
    every = timedelta(days=min(numbers[0], 10**6), hours=numbers[1], minutes=numbers[2], seconds=numbers[3])
    if not timedelta() < every <= _MAX_INTERVAL:
        raise ValueError(f"invalid interval {text!r}; use more than zero and at most 100 years")
    return every


def _abbreviate(text: str, word: str) -> str:
    """Abbreviate a month or a day of the week to three letters."""
    if word.lower() not in _DAY_AND_MONTH_NAMES and word.lower() not in _ABBREVIATIONS:
        raise ValueError(f"invalid schedule {text!r}: {word} is neither a month nor a day of the week")
    return word[:3].upper()
