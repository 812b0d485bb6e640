"""Formats times for people to read.

Every function takes `now`, which also chooses the zone: UTC if it is in UTC, else the local zone. Each time names its
offset, `Z` for UTC, so that it can be given to an option as it is.
"""

from __future__ import annotations

from datetime import UTC, datetime

from durablecli.durations import format_duration


def current_time(*, utc: bool = False) -> datetime:
    """Return the time that it is now, in the zone in which times are to be shown."""
    return datetime.now(UTC) if utc else datetime.now().astimezone()


def format_time(time: datetime | None, now: datetime) -> str:
    """Format a time as `2026-11-22 09:00:05Z`, or in the local zone as `2026-11-22 10:00:05+01`."""
    if time is None:
        return ""
    local = to_zone(time, now)
    return f"{local:%Y-%m-%d %H:%M:%S}{format_offset(local)}"


def format_short_time(time: datetime | None, now: datetime) -> str:
    """Format a time of today as `09:00:05Z`, any other with its date."""
    if time is None:
        return ""
    local = to_zone(time, now)
    return f"{local:%H:%M:%S}{format_offset(local)}" if local.date() == now.date() else format_time(time, now)


def format_milliseconds(time: datetime, now: datetime, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Format a time with milliseconds and without its offset, for a table whose header names the offset of `now`."""
    local = time.astimezone(now.tzinfo)
    return f"{local.strftime(pattern)}.{local.microsecond // 1000:03}"


def format_age(time: datetime, now: datetime) -> str:
    """Format how long ago a time was: `3 min ago`; in the future, `in 3 min`."""
    return f"{format_duration(now - time)} ago" if time <= now else f"in {format_duration(time - now)}"


def format_offset(local: datetime) -> str:
    """Format the offset of a time from UTC: `Z`, `+01` or `+05:30`."""
    text = local.strftime("%z")
    hours, minutes = text[:3], text[3:5]
    if not local.utcoffset():
        return "Z"
    return hours if minutes == "00" else f"{hours}:{minutes}"


def to_zone(time: datetime, now: datetime) -> datetime:
    """Convert a time to the zone of `now`. In the local zone, the offset of that time counts, not of now."""
    return time.astimezone(UTC if now.tzinfo is UTC else None)
