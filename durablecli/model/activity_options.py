"""How an activity wants to run: what `@df.activity` declares, and what a single call may change."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

from durablecli.model.retries import RetryPolicy
from durablecli.model.time_spans import Duration, to_duration

_RATE = re.compile(r"([0-9]+)/([0-9]*)(ms|s|m|h|d)")
_UNITS = {"ms": timedelta(milliseconds=1), "s": timedelta(seconds=1), "m": timedelta(minutes=1),
          "h": timedelta(hours=1), "d": timedelta(days=1)}  # fmt: skip
_LONGEST_PERIOD = timedelta(days=36_500)


class Rate(NamedTuple):
    """At most `limit` calls begin within any `period`."""

    limit: int
    period: timedelta

    def __str__(self) -> str:
        return f"{self.limit} per {self.period.total_seconds():g} s"


class ActivityOptions(NamedTuple):
    """What an activity declares. `key` makes, of the input, the key whose calls `rate` and `max_concurrency` count
    together; without it all calls of the activity count together."""

    max_concurrency: int | None = None
    rate: Rate | None = None
    key: Callable[[Any], object] | None = None
    timeout: timedelta | None = None
    heartbeat_timeout: timedelta | None = None
    retry: RetryPolicy | None = None


DEFAULT_OPTIONS = ActivityOptions()


class CallOptions(NamedTuple):
    """What one call of an activity sets for itself; a call with a higher `priority` begins earlier."""

    timeout: float | None = None
    heartbeat_timeout: float | None = None
    priority: int = 0


def parse_rate(text: object) -> Rate:
    """Parse `5/s`, `100/m` or `1/10s`. Raises ValueError."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    try:
        rate = None if match is None else Rate(int(match[1]), int(match[2] or 1) * _UNITS[match[3]])
    except (ValueError, OverflowError):  # more digits than Python converts, or a longer period than it can hold
        rate = None
    if rate is None or not rate.limit or not rate.period:
        raise ValueError(f"rate must be a text such as '5/s', '100/m' or '1/10s', not {text!r}")
    if rate.period > _LONGEST_PERIOD:
        raise ValueError(f"the period of rate {text!r} is longer than {_LONGEST_PERIOD.days:,} days")
    return rate


def make_activity_options(
    max_concurrency: int | None,
    rate: str | None,
    key: Callable[[Any], object] | None,
    timeout: Duration | None,
    heartbeat_timeout: Duration | None,
    retry: RetryPolicy | None,
) -> ActivityOptions:
    """Check what a decorator is given. Raises ValueError."""
    if max_concurrency is not None and (not isinstance(max_concurrency, int) or max_concurrency < 1):
        raise ValueError("max_concurrency must be at least 1")
    if key is not None and not callable(key):
        raise ValueError(f"key must be a function of the input, not {key!r}")
    if key is not None and rate is None and max_concurrency is None:
        raise ValueError("key is for a rate or a max_concurrency: give one of them")
    if retry is not None and not isinstance(retry, RetryPolicy):
        raise ValueError(f"retry must be a df.RetryPolicy, not {retry!r}")
    return ActivityOptions(
        max_concurrency,
        None if rate is None else parse_rate(rate),
        key,
        None if timeout is None else to_duration("timeout", timeout),
        None if heartbeat_timeout is None else to_duration("heartbeat_timeout", heartbeat_timeout),
        retry,
    )


def check_retry(retry: object) -> None:
    """Raise ValueError unless this is a policy, or False for none."""
    if retry is not False and not isinstance(retry, RetryPolicy):
        raise ValueError(f"retry must be a df.RetryPolicy, or False for none, not {retry!r}")


def make_call_options(timeout: Duration | None, heartbeat_timeout: Duration | None, priority: int) -> CallOptions:
    """Check what a call is given. Raises ValueError."""
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise ValueError(f"priority must be a whole number, not {priority!r}")
    return CallOptions(
        None if timeout is None else to_duration("timeout", timeout).total_seconds(),
        None if heartbeat_timeout is None else to_duration("heartbeat_timeout", heartbeat_timeout).total_seconds(),
        priority,
    )
