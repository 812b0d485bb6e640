"""Durations as people and authors write them: `10m`, 90 or `timedelta(hours=1)`."""

from __future__ import annotations

import re
from datetime import timedelta
from math import isfinite

from durablecli.errors import UsageError

Duration = timedelta | float | str
"""A duration as an author gives it: a timedelta, a number of seconds, or a text such as `10m`."""
_DURATION = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+(?:\.[0-9]+)?)s)?(?:([0-9]+)ms)?")


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


def to_duration(name: str, value: Duration, minimum: timedelta = timedelta.resolution) -> timedelta:
    """Convert a duration of at least `minimum` that an author has given as parameter `name`. Raises ValueError."""
    try:
        if isinstance(value, str):
            found = parse_duration(value)
        elif isinstance(value, timedelta):
            found = value
        elif isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            found = timedelta(seconds=value)
        else:
            raise ValueError(f"{name} must be a timedelta, a number of seconds or a text such as '10m', not {value!r}")
    except (UsageError, OverflowError) as error:
        raise ValueError(f"{name}: {error}") from None
    if found < minimum:
        raise ValueError(f"{name} must be {'greater than 0' if minimum else 'at least 0'}, not {value!r}")
    return found
