"""Retry policies: whether a failed attempt is retried, and after which delay.

Everything is computed from what is recorded, jitter too: a replay finds the same delays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from math import isfinite
from typing import Any

from durablecli.model.failures import Failure, qualified_name
from durablecli.model.time_spans import Duration, to_duration

MAX_DELAY = timedelta(days=36_500)  # a hundred years: any longer and a due time could pass the year 9999
_ZERO = timedelta(0)


@dataclass(frozen=True, init=False)
class RetryPolicy:
    """The number of attempts of a call, and the delays between them.

    After attempt k (from 1) the delay is `first` × `coefficient`^(k−1), at most `max_interval`. Each delay is shortened
    by a random part of up to `jitter` (0 to 1) of it, so that many calls that failed together don't come back together.
    Retries end after `max_attempts`, and when `timeout` has passed since the first attempt was scheduled. Durations are
    timedeltas, seconds or texts such as `10s`.

    With `retry_on` only failures of these types are retried, and a failure of a type in `non_retryable` never is: both
    hold classes, qualified or bare names, and also mean the types below them. An input that doesn't match, or a result
    that can't be encoded, is never retried: the side effects would be repeated. If an activity raises `df.RetryAfter`,
    the next delay is the one it asks for.

    The first six parameters have the names of Azure's library too, which are also those of the attributes.
    """

    first_retry_interval: timedelta
    max_number_of_attempts: int
    backoff_coefficient: float
    max_retry_interval: timedelta | None
    retry_timeout: timedelta | None
    non_retryable: tuple[str, ...]
    jitter: float
    retry_on: tuple[str, ...] | None

    def __init__(
        self,
        first_retry_interval: Duration | None = None,
        max_number_of_attempts: int | None = None,
        backoff_coefficient: float | None = None,
        max_retry_interval: Duration | None = None,
        retry_timeout: Duration | None = None,
        non_retryable: Iterable[type[BaseException] | str] = (),
        *,
        first: Duration | None = None,
        max_attempts: int | None = None,
        coefficient: float | None = None,
        max_interval: Duration | None = None,
        timeout: Duration | None = None,
        jitter: float = 0.0,
        retry_on: Iterable[type[BaseException] | str] | None = None,
    ) -> None:
        """Raises ValueError for a wrong value, and TypeError for a missing one or one that is given twice."""
        initial = _choose("first_retry_interval", first_retry_interval, "first", first)
        attempts = _choose("max_number_of_attempts", max_number_of_attempts, "max_attempts", max_attempts)
        growth = _choose("backoff_coefficient", backoff_coefficient, "coefficient", coefficient)
        longest = _choose("max_retry_interval", max_retry_interval, "max_interval", max_interval)
        total = _choose("retry_timeout", retry_timeout, "timeout", timeout)
        if initial[1] is None or attempts[1] is None:
            raise TypeError("RetryPolicy needs first, the delay before the second attempt, and max_attempts")
        set_field = object.__setattr__
        set_field(self, "first_retry_interval", to_duration(initial[0], initial[1], _ZERO))
        set_field(self, "max_number_of_attempts", _check_attempts(*attempts))
        set_field(self, "backoff_coefficient", _check_coefficient(*growth))
        set_field(self, "max_retry_interval", _to_optional_duration(*longest))
        set_field(self, "retry_timeout", _to_optional_duration(*total))
        set_field(self, "non_retryable", _exception_names("non_retryable", non_retryable))
        set_field(self, "jitter", _check_jitter(jitter))
        set_field(self, "retry_on", None if retry_on is None else _check_retry_on(retry_on))


class RetryOptions(RetryPolicy):
    """A RetryPolicy in milliseconds, as in azure-functions-durable v1."""

    def __init__(
        self,
        first_retry_interval_in_milliseconds: float,
        max_number_of_attempts: int,
        backoff_coefficient: float | None = 1.0,
        max_retry_interval_in_milliseconds: float | None = None,
        retry_timeout_in_milliseconds: float | None = None,
        non_retryable: Iterable[type[BaseException] | str] = (),
    ) -> None:
        first = _parse_milliseconds("first_retry_interval_in_milliseconds", first_retry_interval_in_milliseconds)
        longest = _parse_optional_milliseconds("max_retry_interval_in_milliseconds", max_retry_interval_in_milliseconds)
        timeout = _parse_optional_milliseconds("retry_timeout_in_milliseconds", retry_timeout_in_milliseconds)
        super().__init__(first, max_number_of_attempts, backoff_coefficient, longest, timeout, non_retryable)

    @property
    def first_retry_interval_in_milliseconds(self) -> float:
        return _to_milliseconds(self.first_retry_interval)

    @property
    def max_retry_interval_in_milliseconds(self) -> float | None:
        return None if self.max_retry_interval is None else _to_milliseconds(self.max_retry_interval)

    @property
    def retry_timeout_in_milliseconds(self) -> float | None:
        return None if self.retry_timeout is None else _to_milliseconds(self.retry_timeout)

    def to_json(self) -> dict[str, Any]:
        """Return the two fields that Azure's SDK sends."""
        return {
            "firstRetryIntervalInMilliseconds": self.first_retry_interval_in_milliseconds,
            "maxNumberOfAttempts": self.max_number_of_attempts,
        }


def retry_delay(
    policy: RetryPolicy,
    attempt: int,
    first_at: datetime,
    now: datetime,
    failure: Failure | None = None,
    seed: str = "",
) -> timedelta | None:
    """Return the delay between failed `attempt` (from 1) and the next; None if there is no next.

    `first_at` is when the first attempt was scheduled, `now` the time of the turn with the failure. Jitter depends on
    `seed` alone.
    """
    if attempt >= policy.max_number_of_attempts:
        return None
    if policy.retry_timeout is not None and now - first_at >= policy.retry_timeout:
        return None
    if failure is not None:
        if not _is_retryable(policy, failure):
            return None
        if failure.retry_after is not None:
            return min(timedelta(seconds=min(failure.retry_after, MAX_DELAY.total_seconds())), MAX_DELAY)
    delay = min(_backoff_interval(policy, attempt - 1), policy.max_retry_interval or MAX_DELAY, MAX_DELAY)
    return delay * (1 - policy.jitter * _draw(seed)) if policy.jitter else delay


def _is_retryable(policy: RetryPolicy, failure: Failure) -> bool:
    """Whether the types of a failure allow another attempt. An activity that asks for one needs no `retry_on`."""
    if not failure.retryable or any(map(failure.is_caused_by, policy.non_retryable)):
        return False
    return policy.retry_on is None or failure.retry_after is not None or any(map(failure.is_caused_by, policy.retry_on))


def _draw(seed: str) -> float:
    """Return a number from 0 to below 1 that looks random and depends on `seed` alone."""
    return int.from_bytes(blake2b(seed.encode(), digest_size=6).digest()) / 2**48


def _backoff_interval(policy: RetryPolicy, exponent: int) -> timedelta:
    if policy.backoff_coefficient == 1 or not policy.first_retry_interval:
        return policy.first_retry_interval
    try:
        return policy.first_retry_interval * policy.backoff_coefficient**exponent
    except OverflowError:
        return MAX_DELAY


def _choose(long_name: str, long: object, short_name: str, short: object) -> tuple[str, Any]:
    """Return the name under which a parameter was given, and its value."""
    if long is not None and short is not None:
        raise TypeError(f"{short_name} and {long_name} are the same: give one of them")
    return (long_name, long) if short is None else (short_name, short)


def _to_optional_duration(name: str, value: Duration | None) -> timedelta | None:
    return None if value is None else to_duration(name, value)


def _check_attempts(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, not {value!r}")
    return value


def _check_coefficient(name: str, value: object) -> float:
    if value is None:
        return 1.0
    if not isinstance(value, int | float) or not isfinite(value) or value < 1:
        raise ValueError(f"{name} must be a number of at least 1, not {value!r}")
    return float(value)


def _check_jitter(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"jitter must be a number from 0 to 1, not {value!r}")
    return float(value)


def _check_retry_on(kinds: object) -> tuple[str, ...]:
    names = _exception_names("retry_on", kinds)
    if not names:
        raise ValueError("retry_on is empty, so nothing would be retried; leave it out to retry all failures")
    return names


def _exception_names(name: str, kinds: object) -> tuple[str, ...]:
    """Convert to qualified names, because a class may be another object after a reload."""
    names = []
    for kind in kinds if isinstance(kinds, Iterable) and not isinstance(kinds, str | type) else (kinds,):
        if isinstance(kind, type) and issubclass(kind, BaseException):
            names.append(qualified_name(kind))
        elif isinstance(kind, str) and kind:
            names.append(kind)
        else:
            raise ValueError(f"{name} must hold exception types or their names, not {kind!r}")
    return tuple(names)


def _parse_milliseconds(name: str, value: object) -> timedelta:
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be a number greater than 0, not {value!r}")
    try:
        return timedelta(milliseconds=value)
    except OverflowError:
        raise ValueError(f"{name} is too long: {value!r}") from None


def _parse_optional_milliseconds(name: str, value: object) -> timedelta | None:
    return None if value is None else _parse_milliseconds(name, value)


def _to_milliseconds(value: timedelta) -> float:
    exact = value / timedelta(milliseconds=1)
    return int(exact) if exact.is_integer() else exact
