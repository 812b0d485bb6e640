"""Parses times, durations and sizes as people write them: on the command line, in settings and in URLs."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from durablecli.errors import UsageError
from durablecli.limits import MIB

_DURATION = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+)ms)?")
_SIZE = re.compile(r"([0-9]+) ?(B|KiB|MiB|GiB)?")
_SIZE_UNITS = {None: 1, "B": 1, "KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}


def parse_duration(text: str) -> timedelta:
    """Parse `90` (seconds), `10m`, `1h30m`, `1.5s` or `30d`. Raises UsageError."""
    match = _DURATION.fullmatch(text + "s" if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else text)
    if not text or match is None:
        raise UsageError(f"invalid duration {text!r}; use 90 (seconds), 10m, 1h30m or 30d")
    days, hours, minutes, seconds, millis = (float(part or 0) for part in match.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=millis)
    except OverflowError:
        raise UsageError(f"duration {text!r} is too long") from None


def parse_size(text: str) -> int:
    """Parse `16MiB`, `512KiB`, `1GiB` or a plain number of bytes. Raises UsageError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"invalid size {text!r}; use 16MiB, 512KiB or a number of bytes")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time as `2026-12-01T09:00Z`, UTC if it has no zone, and return it in UTC. Raises UsageError."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"invalid time {text!r}; use 2026-12-01T09:00Z (UTC if it has no zone)") from None
