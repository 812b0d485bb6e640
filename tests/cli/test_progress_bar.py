"""A bar, its rate and the time left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durablecli.cli.progress_bar import RateMeter, draw_bar, format_counts, format_rate

START = datetime(2026, 11, 22, 9, tzinfo=UTC)


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    meter = RateMeter()
    assert meter.rate(START) == 0.0
    for second in range(101):
        meter.add(START + timedelta(seconds=second), second * 2 if second < 50 else 100 + (second - 50) * 10)
    assert meter.rate(START + timedelta(seconds=100)) == pytest.approx(10, rel=0.1)


def test_the_rate_falls_while_nothing_happens() -> None:
    meter = RateMeter()
    meter.add(START, 0)
    meter.add(START + timedelta(seconds=1), 10)
    assert meter.rate(START + timedelta(seconds=1)) == 10
    assert meter.rate(START + timedelta(seconds=10)) == 1
    assert meter.rate(START + timedelta(seconds=100)) == 0


def test_many_samples_cost_little_memory_and_a_fallen_count_begins_anew() -> None:
    meter = RateMeter()
    for number in range(100_000):
        meter.add(START + timedelta(microseconds=number * 10), number)
    assert len(meter._samples) < 20
    assert meter.rate(START + timedelta(seconds=1)) == pytest.approx(100_000, rel=0.1)
    meter.add(START + timedelta(seconds=1), 0)
    assert meter.rate(START + timedelta(seconds=1)) == 0


@pytest.mark.parametrize(("rate", "text"), [(12.4, "12/s"), (1_500, "1,500/s"), (0.5, "30/min"), (0.01, "36/h")])
def test_a_rate_has_the_unit_of_a_whole_number(rate: float, text: str) -> None:
    assert format_rate(rate) == text


def test_the_time_left_follows_from_the_rate() -> None:
    assert format_counts(345, 1000, 12) == "345 of 1,000, 12/s, 55 s left"
    assert format_counts(345, 1000, 0) == "345 of 1,000"
    assert format_counts(1000, 1000, 12) == "1,000 of 1,000"
    assert format_counts(0.5, 2, 1e-300) == "0.5 of 2, 0/h"


@pytest.mark.parametrize(
    ("width", "bar"),
    [(80, f"{'█' * 15}{'░' * 15}  5 of 10"), (20, f"{'█' * 5}{'░' * 6}  5 of 10"), (12, "5 of 10")],
)
def test_a_bar_fills_the_room_that_there_is(width: int, bar: str) -> None:
    assert draw_bar(5, 10, "5 of 10", width, plain=False) == bar


def test_a_bar_for_other_encodings_is_of_plain_characters() -> None:
    assert draw_bar(20, 10, "x", 80, plain=True) == f"{'#' * 30}  x"
