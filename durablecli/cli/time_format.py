"""Formats times in UTC, and durations, for people to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def format_time(time: datetime | None) -> str:
    """Format a time as `2026-11-22 09:00:05Z`."""
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if time else ""


def format_short_time(time: datetime | None, now: datetime) -> str:
    """Format a time of today as `09:00:05Z`, any other with its date."""
    if time is not None and time.astimezone(UTC).date() == now.date():
        return time.astimezone(UTC).strftime("%H:%M:%SZ")
    return format_time(time)


def format_time_or_date(time: datetime, now: datetime) -> str:
    """Format a time of today as `09:00:05Z`, any other as its date only, for a narrow column."""
    time = time.astimezone(UTC)
    return time.strftime("%H:%M:%SZ" if time.date() == now.date() else "%Y-%m-%d")


def format_duration(length: timedelta) -> str:
    """Format a duration in at most two units: `4 s`, `3 min`, `2 h 5 min`, `2 d 23 h`."""
    seconds = max(0, int(length.total_seconds()))
    days, seconds = divmod(seconds, 86400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((at for at, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"
