"""Parses times, sizes and tags as people write them: on the command line, in settings and in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from durablecli.errors import UsageError
from durablecli.limits import MIB
from durablecli.model.time_spans import parse_duration
from durablecli.model.validation import check_tags

_AGE = re.compile(r"(?:[0-9.]+(?:d|h|ms|m|s))+")
_SIZE = re.compile(r"([0-9]+) ?(B|KiB|MiB|GiB)?")
_SIZE_UNITS = {None: 1, "B": 1, "KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}


def parse_size(text: str) -> int:
    """Parse `16MiB`, `512KiB`, `1GiB` or a plain number of bytes. Raises UsageError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"invalid size {text!r}; use 16MiB, 512KiB or a number of bytes")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def parse_tags(texts: Iterable[str]) -> dict[str, str]:
    """Parse tags, each as `KEY=VALUE`. Raises UsageError, also if two have the same key and different values."""
    tags: dict[str, str] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"invalid tag {text!r}; use KEY=VALUE")
        if tags.setdefault(key, value) != value:
            raise UsageError(f"tag {key!r} is given twice, as {tags[key]!r} and {value!r}")
    return check_tags(tags)


def parse_time_or_age(text: str, now: datetime) -> datetime:
    """Parse a time as `parse_time` does, or a duration such as `1h`: that long before `now`. Raises UsageError."""
    if not _AGE.fullmatch(text):
        try:
            return parse_time(text)
        except UsageError as error:
            raise UsageError(f"{error}, or an age such as 1h") from None
    try:
        return now - parse_duration(text)
    except OverflowError:
        raise UsageError(f"duration {text!r} is too long: the time would be before the year 1") from None


def parse_time(text: str) -> datetime:
    """Parse an ISO 8601 time as `2026-12-01T09:00Z`, UTC if it has no zone, and return it in UTC. Raises UsageError."""
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"invalid time {text!r}; use 2026-12-01T09:00Z (UTC if it has no zone)") from None
