"""Formats durations for people to read."""

from __future__ import annotations

from datetime import timedelta


def format_length(length: timedelta) -> str:
    """Format how long something took, precisely if that was short: `340 ms`, `4.2 s`, `2 min 5 s`."""
    seconds = max(0.0, length.total_seconds())
    if seconds < 1:
        return f"{int(seconds * 1000)} ms"
    return f"{int(seconds * 10) / 10:g} s" if seconds < 10 else format_duration(length)


def format_duration(length: timedelta) -> str:
    """Format a duration in at most two units: `4 s`, `3 min`, `2 h 5 min`, `2 d 23 h`."""
    seconds = max(0, int(length.total_seconds()))
    days, seconds = divmod(seconds, 86400)
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((at for at, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or "0 s"
