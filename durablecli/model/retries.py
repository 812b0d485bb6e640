"""Retry policies: whether a failed attempt is retried, and after which delay."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Any

from durablecli.model.failures import Failure, qualified_name

MAX_DELAY = timedelta(days=36_500)  # a hundred years: any longer and a due time could pass the year 9999
_ZERO = timedelta(0)


@dataclass(frozen=True)
class RetryPolicy:
    """The number of attempts of a call, and the delays between them.

    After attempt k (from 1) the delay is `first_retry_interval` × `backoff_coefficient`^(k−1), at most
    `max_retry_interval`. Retries end after `max_number_of_attempts`, when `retry_timeout` has passed since the first
    attempt was scheduled, or with a failure of a type in `non_retryable` (classes, qualified or bare names). An input
    that doesn't match, or a result that can't be encoded, is never retried: the side effects would be repeated.
    """

    first_retry_interval: timedelta
    max_number_of_attempts: int
    backoff_coefficient: float | None = 1.0
    max_retry_interval: timedelta | None = None
    retry_timeout: timedelta | None = None
    non_retryable: Iterable[type[BaseException] | str] = ()

    def __post_init__(self) -> None:
        _check_interval("first_retry_interval", self.first_retry_interval, _ZERO)
        _check_attempts(self.max_number_of_attempts)
        coefficient = 1.0 if self.backoff_coefficient is None else self.backoff_coefficient
        if not isinstance(coefficient, int | float) or not isfinite(coefficient) or coefficient < 1:
            raise ValueError(f"backoff_coefficient must be a number of at least 1, not {coefficient!r}")
        object.__setattr__(self, "backoff_coefficient", float(coefficient))
        for name in ("max_retry_interval", "retry_timeout"):
            if (value := getattr(self, name)) is not None:
                _check_interval(name, value, timedelta.resolution)
        object.__setattr__(self, "non_retryable", _exception_names(self.non_retryable))


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
    policy: RetryPolicy, attempt: int, first_at: datetime, now: datetime, failure: Failure | None = None
) -> timedelta | None:
    """Return the delay between failed `attempt` (from 1) and the next; None if there is no next.

    `first_at` is when the first attempt was scheduled, `now` the time of the turn with the failure.
    """
    if attempt >= policy.max_number_of_attempts:
        return None
    if policy.retry_timeout is not None and now - first_at >= policy.retry_timeout:
        return None
    if failure is not None and not failure.retryable:
        return None
    if failure is not None and any(failure.is_caused_by(kind) for kind in policy.non_retryable):
        return None
    return min(_backoff_interval(policy, attempt - 1), policy.max_retry_interval or MAX_DELAY, MAX_DELAY)


def _backoff_interval(policy: RetryPolicy, exponent: int) -> timedelta:
    if policy.backoff_coefficient is None or policy.backoff_coefficient == 1 or not policy.first_retry_interval:
        return policy.first_retry_interval
    try:
        return policy.first_retry_interval * policy.backoff_coefficient**exponent
    except OverflowError:
        return MAX_DELAY


def _check_interval(name: str, value: object, minimum: timedelta) -> None:
    if not isinstance(value, timedelta) or value < minimum:
        raise ValueError(
            f"{name} must be a timedelta {'greater than 0' if minimum else 'of at least 0'}, not {value!r}"
        )


def _check_attempts(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"max_number_of_attempts must be a whole number of at least 1, not {value!r}")


def _exception_names(kinds: object) -> tuple[str, ...]:
    """Convert to qualified names, because a class may be another object after a reload."""
    names = []
    for kind in kinds if isinstance(kinds, Iterable) and not isinstance(kinds, str | type) else (kinds,):
        if isinstance(kind, type) and issubclass(kind, BaseException):
            names.append(qualified_name(kind))
        elif isinstance(kind, str) and kind:
            names.append(kind)
        else:
            raise ValueError(f"non_retryable must hold exception types or their names, not {kind!r}")
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
