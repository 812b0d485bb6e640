"""Which failures are retried and when: a table of every subset of the options, and edge cases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from durablecli.errors import RetryAfter
from durablecli.model.failures import Failure
from durablecli.model.retries import MAX_DELAY, RetryOptions, RetryPolicy, retry_delay

FIRST_AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
REFUSED = Failure("builtins.ConnectionError", "refused", ("builtins.OSError", "builtins.Exception"))
OPTIONS = {
    "backoff_coefficient": 2.0,
    "max_retry_interval": 5 * SECOND,
    "retry_timeout": 60 * SECOND,
    "non_retryable": (KeyError,),
}


def retry_delays(policy: RetryPolicy, attempts: int, **changes: Any) -> list[float | None]:
    found = [retry_delay(policy, k, FIRST_AT, FIRST_AT, **changes) for k in range(1, attempts + 1)]
    return [None if wait is None else wait.total_seconds() for wait in found]


@pytest.mark.parametrize("chosen", list(product([False, True], repeat=5)))
def test_every_subset_of_the_options_works_alone(chosen: tuple[bool, ...]) -> None:
    *flags, many = chosen
    options: dict[str, Any] = {key: value for (key, value), flag in zip(OPTIONS.items(), flags, strict=True) if flag}
    attempts = 6 if many else 1
    policy = RetryPolicy(SECOND, attempts, **options)
    grown = [1, 2, 4, 8, 16] if "backoff_coefficient" in options else [1] * 5
    if "max_retry_interval" in options:
        grown = [min(wait, 5) for wait in grown]
    expected = [*grown[: attempts - 1], None]
    assert retry_delays(policy, attempts) == expected
    assert retry_delays(policy, attempts, failure=REFUSED) == expected

    late = retry_delay(policy, 1, FIRST_AT, FIRST_AT + 60 * SECOND)
    assert (late is None) == ("retry_timeout" in options or not many)
    wrong_key = Failure("builtins.KeyError", "'x'")
    assert (retry_delay(policy, 1, FIRST_AT, FIRST_AT, wrong_key) is None) == ("non_retryable" in options or not many)


def test_the_timeout_counts_from_the_first_attempt_and_includes_its_end() -> None:
    policy = RetryPolicy(SECOND, 10, retry_timeout=60 * SECOND)
    assert retry_delay(policy, 3, FIRST_AT, FIRST_AT + timedelta(seconds=59.999999)) == SECOND
    assert retry_delay(policy, 3, FIRST_AT, FIRST_AT + timedelta(seconds=60)) is None


@pytest.mark.parametrize(
    ("kinds", "stops"),
    [
        ((ConnectionError,), True),
        ((OSError,), True),
        ((ValueError, OSError), True),
        (("builtins.OSError",), True),
        (("OSError",), True),
        ("ConnectionError", True),
        (ConnectionError, True),
        ([Exception], True),
        ((ValueError,), False),
        (("builtins.oserror",), False),
        (("other.OSError",), False),
        ((), False),
    ],
)
def test_a_failure_of_a_non_retryable_type_or_of_one_below_it_ends_the_retries(kinds: Any, stops: bool) -> None:
    policy = RetryPolicy(SECOND, 3, non_retryable=kinds)
    assert (retry_delay(policy, 1, FIRST_AT, FIRST_AT, REFUSED) is None) == stops


@pytest.mark.parametrize("coefficient", [10.0, 1e308, 1.0001])
def test_no_coefficient_overflows(coefficient: float) -> None:
    policy = RetryPolicy(SECOND, 10_000_000, coefficient)
    assert retry_delay(policy, 9_999_998, FIRST_AT, FIRST_AT) == MAX_DELAY
    assert FIRST_AT + MAX_DELAY > FIRST_AT
    capped = RetryPolicy(SECOND, 10_000_000, coefficient, max_retry_interval=2 * SECOND)
    assert retry_delay(capped, 9_999_998, FIRST_AT, FIRST_AT) == 2 * SECOND


def test_an_interval_beyond_a_century_is_cut() -> None:
    policy = RetryPolicy(timedelta.max, 2, max_retry_interval=timedelta.max, retry_timeout=timedelta.max)
    assert retry_delay(policy, 1, FIRST_AT, FIRST_AT) == MAX_DELAY


def test_a_first_interval_of_nothing_never_grows() -> None:
    assert retry_delays(RetryPolicy(timedelta(0), 4, 2.0), 3) == [0, 0, 0]


def test_none_means_the_default() -> None:
    assert retry_delays(RetryPolicy(SECOND, 3, None, None, None), 3) == [1, 1, None]


def test_options_are_a_policy_in_milliseconds() -> None:
    options = RetryOptions(5000, 3)
    assert isinstance(options, RetryPolicy)
    assert retry_delays(options, 3) == [5, 5, None]
    full = RetryOptions(1500, 9, 2, 4000, 60_000, (ValueError,))
    assert retry_delays(full, 4) == [1.5, 3, 4, 4]
    assert full.retry_timeout == timedelta(minutes=1)
    assert full.non_retryable == ("builtins.ValueError",)


def test_options_keep_the_attributes_of_v1() -> None:
    options = RetryOptions(5000, 3, max_retry_interval_in_milliseconds=0.5)
    assert (options.first_retry_interval_in_milliseconds, options.max_number_of_attempts) == (5000, 3)
    assert type(options.first_retry_interval_in_milliseconds) is int
    assert options.max_retry_interval_in_milliseconds == 0.5
    assert options.retry_timeout_in_milliseconds is None
    by_name = RetryOptions(first_retry_interval_in_milliseconds=5000, max_number_of_attempts=3)
    assert by_name.first_retry_interval == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"first_retry_interval": [5]}, "first_retry_interval must be a timedelta, a number of seconds or a text"),
        ({"first_retry_interval": "soon"}, "first_retry_interval: invalid duration 'soon'"),
        ({"first_retry_interval": float("nan")}, "first_retry_interval must be a timedelta, a number"),
        ({"first_retry_interval": -SECOND}, "first_retry_interval must be at least 0"),
        ({"max_number_of_attempts": 0}, "max_number_of_attempts"),
        ({"max_number_of_attempts": 2.0}, "max_number_of_attempts"),
        ({"max_number_of_attempts": True}, "max_number_of_attempts"),
        ({"backoff_coefficient": 0.5}, "backoff_coefficient"),
        ({"backoff_coefficient": float("nan")}, "backoff_coefficient"),
        ({"backoff_coefficient": float("inf")}, "backoff_coefficient"),
        ({"backoff_coefficient": "2"}, "backoff_coefficient"),
        ({"max_retry_interval": timedelta(0)}, "max_retry_interval must be greater than 0"),
        ({"max_interval": True}, "max_interval must be a timedelta"),
        ({"coefficient": 0}, "^coefficient must be a number of at least 1"),
        ({"timeout": 0}, "^timeout must be greater than 0"),
        ({"jitter": -0.1}, "jitter must be a number from 0 to 1"),
        ({"jitter": 1.1}, "jitter"),
        ({"jitter": float("nan")}, "jitter"),
        ({"jitter": "0.5"}, "jitter"),
        ({"jitter": True}, "jitter"),
        ({"retry_on": []}, "retry_on is empty"),
        ({"retry_on": (int,)}, "retry_on must hold exception types or their names"),
        ({"retry_timeout": timedelta(0)}, "retry_timeout"),
        ({"non_retryable": (5,)}, "non_retryable"),
        ({"non_retryable": 5}, "non_retryable"),
        ({"non_retryable": (int,)}, "non_retryable"),
        ({"non_retryable": ("",)}, "non_retryable"),
    ],
)
def test_a_wrong_policy_says_which_option_is_wrong(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RetryPolicy(**{"first_retry_interval": SECOND, "max_number_of_attempts": 3, **changes})


@pytest.mark.parametrize("interval", [0, -5, "5000", None, True, float("nan"), 1e300, timedelta(seconds=5)])
def test_wrong_milliseconds_are_refused(interval: Any) -> None:
    with pytest.raises(ValueError, match="first_retry_interval_in_milliseconds"):
        RetryOptions(interval, 3)


def test_policies_compare_by_value() -> None:
    assert RetryPolicy(SECOND, 3) == RetryPolicy(SECOND, 3, 1)
    assert hash(RetryOptions(1000, 3, non_retryable=[KeyError])) == hash(
        RetryOptions(1000, 3, non_retryable="builtins.KeyError")
    )


def test_options_are_written_as_the_original_writes_them() -> None:
    written = RetryOptions(500, 3).to_json()
    assert written == {"firstRetryIntervalInMilliseconds": 500, "maxNumberOfAttempts": 3}


def test_short_names_durations_and_numbers_say_the_same_as_the_long_ones() -> None:
    long = RetryPolicy(
        first_retry_interval=SECOND,
        max_number_of_attempts=3,
        backoff_coefficient=2,
        max_retry_interval=timedelta(minutes=1),
        retry_timeout=timedelta(hours=1),
    )
    assert long == RetryPolicy(first=1, max_attempts=3, coefficient=2, max_interval="1m", timeout="1h")
    assert long == RetryPolicy("1s", 3, 2.0, 60, 3600.0)
    assert long == RetryPolicy(1, max_attempts=3, coefficient=2.0, max_interval=60, timeout="60m")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"first_retry_interval": 1, "first": 1, "max_attempts": 3}, "first and first_retry_interval are the same"),
        ({"first": 1, "max_attempts": 3, "timeout": 5, "retry_timeout": 5}, "timeout and retry_timeout are the same"),
        ({"first": 1}, "needs first, .* and max_attempts"),
        ({"max_attempts": 3}, "needs first"),
    ],
)
def test_an_option_is_given_once(given: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        RetryPolicy(**given)


def test_jitter_shortens_each_delay_by_another_part_that_depends_on_the_seed_alone() -> None:
    policy = RetryPolicy(first=8, max_attempts=3, max_interval=4, jitter=0.25)
    delays = [retry_delay(policy, 1, FIRST_AT, FIRST_AT, REFUSED, f"order-{i}/2a/4") for i in range(400)]
    seconds = sorted(delay.total_seconds() for delay in delays if delay is not None)
    assert len(set(seconds)) == 400
    assert 3 <= seconds[0] < 3.05
    assert 3.95 < seconds[-1] <= 4
    assert delays == [retry_delay(policy, 1, FIRST_AT, FIRST_AT, REFUSED, f"order-{i}/2a/4") for i in range(400)]


@pytest.mark.parametrize(
    ("kinds", "retries"),
    [
        ((ConnectionError,), True),
        ((OSError,), True),
        ("OSError", True),
        (("builtins.OSError", KeyError), True),
        ((KeyError,), False),
        (("other.OSError",), False),
    ],
)
def test_only_failures_of_the_types_in_retry_on_are_retried(kinds: Any, retries: bool) -> None:
    policy = RetryPolicy(SECOND, 3, retry_on=kinds)
    assert (retry_delay(policy, 1, FIRST_AT, FIRST_AT, REFUSED) is not None) == retries
    but_never = RetryPolicy(SECOND, 3, retry_on=kinds, non_retryable=["ConnectionError"])
    assert retry_delay(but_never, 1, FIRST_AT, FIRST_AT, REFUSED) is None


def test_an_activity_asks_for_the_delay_and_the_limits_of_the_policy_hold() -> None:
    def ask(seconds: float, **options: Any) -> timedelta | None:
        failure = Failure("durablecli.errors.RetryAfter", "later", retry_after=seconds)
        policy = RetryPolicy(**{"first": 1, "max_attempts": 3, "max_interval": 2, "jitter": 1, **options})
        return retry_delay(policy, 1, FIRST_AT, FIRST_AT + 60 * SECOND, failure)

    assert ask(7.5) == timedelta(seconds=7.5)
    assert ask(0) == timedelta(0)
    assert ask(1e300) == MAX_DELAY
    assert ask(7, retry_on=[KeyError]) == 7 * SECOND
    assert ask(7, max_attempts=1) is None
    assert ask(7, timeout=60) is None
    assert ask(7, non_retryable=["RetryAfter"]) is None


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "5", None])
def test_retry_after_takes_a_delay(seconds: Any) -> None:
    with pytest.raises(ValueError, match="RetryAfter takes a number of seconds of at least 0"):
        RetryAfter(seconds)
