"""Due times: where clocks change, at the ends of months and years, and against a model that looks at each minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durablecli.scheduling.due_times import DueTimes, parse_due_times

VIENNA, NEW_YORK = "Europe/Vienna", "America/New_York"
MINUTE = timedelta(minutes=1)


def list_due_times(schedule: str, zone: str, start: str, count: int) -> list[str]:
    """The due times after what a clock in UTC shows, in the zone: `29T03:00+0200`."""
    times, found = parse_due_times(schedule, zone), []
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    for _ in range(count):
        moment = times.next_after(moment)
        found.append(f"{moment.astimezone(times.zone):%dT%H:%M%z}")
    return found


@pytest.mark.parametrize(
    ("zone", "start", "due"),
    [
        (VIENNA, "2026-03-28 00:00", ["28T02:30+0100", "29T03:00+0200", "30T02:30+0200"]),
        (VIENNA, "2026-10-24 00:00", ["24T02:30+0200", "25T02:30+0200", "26T02:30+0100"]),
        (NEW_YORK, "2026-03-07 05:00", ["07T02:30-0500", "08T03:00-0400", "09T02:30-0400"]),
        (NEW_YORK, "2026-10-31 05:00", ["31T02:30-0400", "01T02:30-0500", "02T02:30-0500"]),
        ("UTC", "2026-03-28 03:00", ["29T02:30+0000", "30T02:30+0000"]),
    ],
)
def test_a_time_of_day_is_due_once_a_day(zone: str, start: str, due: list[str]) -> None:
    assert list_due_times("30 2 * * *", zone, start, len(due)) == due


def test_a_time_that_comes_twice_in_new_york_is_due_the_first_time() -> None:
    assert list_due_times("30 1 * * *", NEW_YORK, "2026-10-31 12:00", 2) == ["01T01:30-0400", "02T01:30-0500"]


def test_several_times_that_the_clocks_skip_are_due_together() -> None:
    assert list_due_times("*/20 1-3 * * *", VIENNA, "2026-03-29 00:30", 4) == [
        "29T01:40+0100", "29T03:00+0200", "29T03:20+0200", "29T03:40+0200",
    ]  # fmt: skip


def test_with_any_hour_real_hours_count() -> None:
    assert list_due_times("*/30 * * * *", VIENNA, "2026-10-25 00:10", 4) == [
        "25T02:30+0200", "25T02:00+0100", "25T02:30+0100", "25T03:00+0100",
    ]  # fmt: skip
    assert list_due_times("30 * * * *", VIENNA, "2026-03-29 00:10", 2) == ["29T01:30+0100", "29T03:30+0200"]
    assert list_due_times("@hourly", VIENNA, "2026-10-25 00:10", 3) == [
        "25T02:00+0100", "25T03:00+0100", "25T04:00+0100",
    ]  # fmt: skip


def test_an_interval_counts_real_time() -> None:
    assert list_due_times("every 45m", VIENNA, "2026-10-25 00:00", 3) == [
        "25T02:45+0200", "25T02:30+0100", "25T03:15+0100",
    ]  # fmt: skip
    assert list_due_times("every 1h30m", "UTC", "2026-01-01 00:00", 2) == ["01T01:30+0000", "01T03:00+0000"]


@pytest.mark.parametrize(
    ("schedule", "start", "due"),
    [
        ("0 0 29 2 *", "2026-01-01", ["2028-02-29", "2032-02-29"]),
        ("@yearly", "2026-12-31 12:00", ["2027-01-01", "2028-01-01"]),
        ("@monthly", "2026-12-31 12:00", ["2027-01-01", "2027-02-01"]),
        ("0 0 31 * *", "2026-03-31 12:00", ["2026-05-31", "2026-07-31"]),
        ("0 0 13 * fri", "2026-02-01", ["2026-02-06", "2026-02-13", "2026-02-20"]),  # cron: either of them
        ("0 0 0 13 * fri", "2026-02-01", ["2026-02-13", "2026-03-13", "2026-11-13"]),  # NCRONTAB: both
        ("@weekly", "2026-01-01", ["2026-01-04", "2026-01-11"]),
    ],
)
def test_days(schedule: str, start: str, due: list[str]) -> None:
    times = parse_due_times(schedule, "UTC")
    moment = datetime.fromisoformat(start).replace(tzinfo=UTC)
    for each in due:
        moment = times.next_after(moment)
        assert f"{moment:%Y-%m-%d}" == each


@pytest.mark.parametrize(
    ("schedule", "zone", "message"),
    [
        ("often", "UTC", "invalid schedule 'often'; use five cron fields"),
        ("61 * * * *", "UTC", "invalid schedule '61 * * * *'"),
        ("0 0 30 2 *", "UTC", "or one that is never due"),
        ("0 0 * * foo", "UTC", "foo is neither a month nor a day"),
        ("every", "UTC", "invalid duration ''"),
        ("every 100ms", "UTC", "an interval is between 1s and 366d"),
        ("every 0s", "UTC", "an interval is between 1s and 366d"),
        ("@daily", "Europe/Wien", "unknown time zone 'Europe/Wien'.*did you mean 'Europe/Vienna'"),
        ("@daily", "../etc/passwd", "unknown time zone"),
        ("@daily", "", "unknown time zone"),
    ],
)
def test_errors_say_what_is_wrong(schedule: str, zone: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*").replace(r".\*", ".*")):
        parse_due_times(schedule, zone)


def test_without_data_about_zones_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise LookupError(name)

    monkeypatch.setattr("zoneinfo.ZoneInfo", fail)
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    with pytest.raises(ValueError, match="pip install tzdata"):
        parse_due_times("@daily", "Antarctica/Troll")
    parse_due_times("@daily", "UTC")


def test_the_latest_due_times_of_a_long_time_are_found_fast() -> None:
    times = parse_due_times("* * * * * *", "UTC")
    start = datetime(2026, 1, 1, tzinfo=UTC)
    found = times.latest(start, start + timedelta(days=300), 100)
    assert len(found.times) == 100
    assert not found.is_complete
    assert found.times[-1] == start + timedelta(days=300)
    few = times.latest(start, start + timedelta(seconds=3), 100)
    assert few == ([start + timedelta(seconds=each) for each in range(4)], True)
    assert times.latest(start, start + timedelta(seconds=3), 2) == (few.times[2:], False)


# The model looks at each minute of real time.

_fields = st.tuples(
    st.sampled_from(["0", "30", "*/20", "5,45", "15-30/5"]),
    st.sampled_from(["*", "2", "1-3", "*/2", "0,3,23", "2,3"]),
    st.sampled_from(["*"]),
    st.sampled_from(["*"]),
    st.sampled_from(["*", "0", "1-5", "6,0"]),
)
_nights = st.sampled_from(
    [
        (VIENNA, datetime(2026, 3, 29, tzinfo=UTC)),
        (VIENNA, datetime(2026, 10, 25, tzinfo=UTC)),
        (NEW_YORK, datetime(2026, 3, 8, tzinfo=UTC)),
        (NEW_YORK, datetime(2026, 11, 1, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 5, 1, tzinfo=UTC)),
    ]
)


def _parse_field(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span == "*" else (int(first), int(last or first))
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def _model(fields: tuple[str, ...], zone: str, start: datetime, minutes: int) -> list[datetime]:
    """The due times after `start`: each minute is asked whether the clock shows a time of the expression, and a skipped
    or repeated time of day counts as the rules say."""
    info = ZoneInfo(zone)
    minute, hour = _parse_field(fields[0], 0, 59), _parse_field(fields[1], 0, 23)
    weekday = _parse_field(fields[4], 0, 6)

    def matches(shown: datetime) -> bool:
        return shown.minute in minute and shown.hour in hour and shown.isoweekday() % 7 in weekday

    due: list[datetime] = []
    seen: set[datetime] = set()
    before: datetime | None = None
    for step in range(-26 * 60, minutes + 1):
        moment = start + step * MINUTE
        shown = moment.astimezone(info).replace(tzinfo=None, fold=0)
        is_due = matches(shown) and (fields[1] == "*" or shown not in seen)
        if before is not None and fields[1] != "*" and shown - before > MINUTE:
            skipped = (before + each * MINUTE for each in range(1, (shown - before) // MINUTE))
            is_due = is_due or any(map(matches, skipped))
        seen.add(shown)
        before = shown
        if is_due and step > 0:
            due.append(moment)
    return due


def _walk(times: DueTimes, start: datetime, minutes: int) -> list[datetime]:
    found: list[datetime] = []
    moment = times.next_after(start)
    while moment <= start + minutes * MINUTE:
        found.append(moment)
        moment = times.next_after(moment)
    return found


@settings(max_examples=30, deadline=None)
@given(_fields, _nights, st.integers(-300, 300))
def test_due_times_are_those_of_a_model_that_looks_at_each_minute(
    fields: tuple[str, ...], night: tuple[str, datetime], offset: int
) -> None:
    zone, middle = night
    start = middle + offset * MINUTE
    times = parse_due_times(" ".join(fields), zone)
    assert _walk(times, start, 36 * 60) == _model(fields, zone, start, 36 * 60)
