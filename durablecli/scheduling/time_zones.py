"""Time zones: found by their names, and the moments at which their offsets change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from durablecli.model.suggestions import did_you_mean

_MICROSECOND = timedelta(microseconds=1)
_SCAN_STEP = timedelta(hours=12)


@lru_cache(256)
def find_time_zone(name: str) -> tzinfo:
    """Find a time zone by its IANA name, such as `Europe/Vienna`. Raises ValueError, in words."""
    if name == "UTC":
        return UTC  # needs no data
    from zoneinfo import ZoneInfo, available_timezones  # takes 10 ms, and only schedules need it

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        known = available_timezones()
    if not known:
        raise ValueError(f"no data about time zones for {name!r} on this machine: pip install tzdata") from None
    raise ValueError(
        f"unknown time zone {name!r}; use a name such as Europe/Vienna{did_you_mean(name, known)}"
    ) from None


def find_offset_change(zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """The first moment, of UTC, after `after` and up to `until` from which another offset holds; None if it stays."""
    start = after
    while start < until:
        end = min(start + _SCAN_STEP, until)
        if _offset(zone, start) != _offset(zone, end):
            return _bisect(zone, start, end)
        start = end
    return None


def _bisect(zone: tzinfo, before: datetime, behind: datetime) -> datetime:
    """The first moment with the offset of `behind`; offsets change at whole seconds."""
    old = _offset(zone, before)
    while behind - before > _MICROSECOND:
        middle = before + (behind - before) // 2
        if _offset(zone, middle) == old:
            before = middle
        else:
            behind = middle
    return behind


def _offset(zone: tzinfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
