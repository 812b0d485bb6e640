"""Times in the local zone and in UTC, and ages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from durablecli.cli import time_format
from durablecli.cli.time_format import format_age, format_milliseconds, format_short_time, format_time

SUMMER = datetime(2026, 7, 1, 8, 30, 5, 250_000, tzinfo=UTC)
WINTER = datetime(2026, 11, 22, 9, 0, 5, tzinfo=UTC)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_a_time_is_in_the_local_zone_and_names_the_offset_of_its_own_season() -> None:
    now = WINTER.astimezone()
    assert format_time(WINTER, now) == "2026-11-22 10:00:05+01"
    assert format_time(SUMMER, now) == "2026-07-01 10:30:05+02"
    assert format_short_time(WINTER, now) == "10:00:05+01"
    assert datetime.fromisoformat(format_time(SUMMER, now)) == SUMMER.replace(microsecond=0)
    assert format_milliseconds(SUMMER, now) == "2026-07-01 09:30:05.250"


@pytest.mark.usefixtures("berlin")
def test_utc_is_chosen_by_the_time_that_is_now() -> None:
    now = time_format.current_time(utc=True)
    assert format_time(WINTER, now) == "2026-11-22 09:00:05Z"
    assert format_time(WINTER, time_format.current_time()).endswith("+01")
    assert format_time(None, now) == ""


def test_an_age_may_lie_ahead() -> None:
    assert format_age(WINTER, WINTER + timedelta(minutes=3)) == "3 min ago"
    assert format_age(WINTER, WINTER - timedelta(minutes=3)) == "in 3 min"
