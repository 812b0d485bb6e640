"""Durations for people to read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from durablecli.durations import format_duration, format_length


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 ms"),
        (0, "0 ms"),
        (0.0124, "12 ms"),
        (1.24, "1.2 s"),
        (3, "3 s"),
        (4.29, "4.2 s"),
        (59.9, "59 s"),
        (185, "3 min 5 s"),
        (7_200, "2 h"),
        (7_500, "2 h 5 min"),
        (255_600, "2 d 23 h"),
    ],
)
def test_what_was_short_has_a_precise_length(seconds: float, text: str) -> None:
    assert format_length(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("seconds", "text"), [(-1, "0 s"), (0.9, "0 s"), (4.9, "4 s"), (185, "3 min 5 s")])
def test_a_duration_has_no_fractions(seconds: float, text: str) -> None:
    assert format_duration(timedelta(seconds=seconds)) == text
