"""What `@df.activity` and a call of it may be given."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

import durablecli as df
from durablecli.model.activity_options import CallOptions, Rate, make_call_options, parse_rate
from durablecli.replay.function_marks import get_mark


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("5/s", Rate(5, timedelta(seconds=1))),
        ("100/m", Rate(100, timedelta(minutes=1))),
        ("1/10s", Rate(1, timedelta(seconds=10))),
        ("3/500ms", Rate(3, timedelta(milliseconds=500))),
        ("2/d", Rate(2, timedelta(days=1))),
    ],
)
def test_a_rate(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "5", "0/s", "5/0s", "5/00s", "5/y", "-1/s", "1/9999999999d", "1" * 5000 + "/s", 5, None]
)
def test_a_rate_that_is_none(text: Any) -> None:
    with pytest.raises(ValueError, match="rate must be a text such as '5/s'"):
        parse_rate(text)


def test_the_period_of_a_rate_is_limited() -> None:
    assert parse_rate("1/36500d").period == timedelta(days=36_500)
    with pytest.raises(ValueError, match="longer than 36,500 days"):
        parse_rate("1/36501d")


def test_durations_are_given_in_three_ways() -> None:
    same = [make_call_options(each, None, 0) for each in (timedelta(minutes=10), 600, "10m")]
    assert same == [CallOptions(600.0, None, 0)] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout must be greater than 0, not 0"),
        ({"timeout": "soon"}, "timeout: invalid duration 'soon'"),
        ({"heartbeat_timeout": True}, "heartbeat_timeout must be a timedelta, a number of seconds or a text"),
        ({"max_concurrency": 0}, "max_concurrency must be at least 1"),
        ({"key": len}, "key is for a rate or a max_concurrency"),
        ({"rate": "1/s", "key": "host"}, "key must be a function of the input"),
        ({"retry": 3}, "retry must be a df.RetryPolicy, not 3"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        df.activity(**options)


def test_the_options_are_left_on_the_function() -> None:
    @df.activity(rate="5/s", key=len, timeout="1m")
    def fetch(url: str) -> str:
        return url

    mark = get_mark(fetch)
    assert mark is not None
    assert (mark.options.rate, mark.options.timeout) == (Rate(5, timedelta(seconds=1)), timedelta(minutes=1))
    assert fetch("a") == "a"
