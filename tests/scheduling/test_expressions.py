"""Schedules of timer functions: valid ones, and errors."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from durablecli.scheduling.expressions import parse_schedule

START = datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)  # a Thursday


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("*/5 * * * * *", ["01-01T00:00:10", "01-01T00:00:15"]),
        ("0 */5 * * * *", ["01-01T00:05:00", "01-01T00:10:00"]),
        ("*/5 * * * *", ["01-01T00:05:00", "01-01T00:10:00"]),
        ("  0  30 9 * * 1-5 ", ["01-01T09:30:00", "01-02T09:30:00", "01-05T09:30:00"]),
        ("0 30 9 * * Mon-Fri", ["01-01T09:30:00", "01-02T09:30:00", "01-05T09:30:00"]),
        ("0 0 0 * January,mar Sunday", ["01-04T00:00:00", "01-11T00:00:00"]),
        ("0 5/20 * * * *", ["01-01T00:05:00", "01-01T00:25:00", "01-01T00:45:00", "01-01T01:05:00"]),
        ("0 0 0 2 * 5", ["01-02T00:00:00", "10-02T00:00:00"]),
        ("0 0 9-17 * * *", ["01-01T09:00:00", "01-01T10:00:00"]),
        ("00:00:30", ["01-01T00:00:37", "01-01T00:01:07"]),
        ("23:59:59", ["01-02T00:00:06"]),
        ("1.00:00:00", ["01-02T00:00:07"]),
        ("24:00:00", ["01-25T00:00:07"]),
        ("2:00:00:00", ["01-03T00:00:07"]),
    ],
)
def test_a_schedule_recurs(text: str, due: list[str]) -> None:
    time, found = START, []
    for _ in due:
        time = parse_schedule(text).next_after(time)
        found.append(f"{time:%m-%dT%H:%M:%S}")
    assert found == due


def test_the_next_time_is_after_the_present_one() -> None:
    due = parse_schedule("0 */5 * * * *").next_after(START)
    assert parse_schedule("0 */5 * * * *").next_after(due) == due + timedelta(minutes=5)
    assert parse_schedule("0 */5 * * * *").next_after(due + timedelta(milliseconds=1)) == due + timedelta(minutes=5)


@pytest.mark.parametrize(
    "text",
    ["", "soon", "* * * *", "* * * * * * *", "61 * * * * *", "0 0 0 30 2 *", "@hourly", "0 0 0 L * *", "R * * * * *",
     "0 0 0 * * 1#2", "0 0 0 ? * *", "0 0 0 * Smarch *", "00:00:00", "00:60:00", "1.24:00:00", "99999999.00:00:00",
     "-1:00:00", "0 0 0 * * 8", "1:2", "%UNSET%"],
)  # fmt: skip
def test_an_invalid_schedule_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"schedule|interval"):
        parse_schedule(text)
