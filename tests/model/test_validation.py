"""Names, versions and times from users: kept as plain values, or rejected in the call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from typing import Any

import pytest

from durablecli.errors import BadName, UsageError
from durablecli.limits import MAX_NAME_LENGTH
from durablecli.model.validation import (
    check_due_time,
    check_name,
    check_reason,
    check_time,
    check_version,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Word(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Kind(StrEnum):
    ADD = "add"


class Moment(datetime):
    def isoformat(self, *_: Any) -> str:
        return "something else"


class Vague(tzinfo):
    """A time zone without an offset from UTC."""

    def utcoffset(self, _: datetime | None) -> timedelta | None:
        return None

    dst = utcoffset

    def tzname(self, _: datetime | None) -> str:
        return "somewhere"


@pytest.mark.parametrize("given", ["add", "é😀", "x" * MAX_NAME_LENGTH, Word("add"), Kind.ADD])
def test_a_name_is_kept_as_a_plain_string(given: str) -> None:
    for kept in (check_name(given, "x"), check_version(given), check_reason(given)):
        assert type(kept) is str
        assert kept == given


@pytest.mark.parametrize(
    "given", ["", None, 5, b"add", "\ud800", "a\udfffb", Word("\ud800"), "x" * (MAX_NAME_LENGTH + 1)]
)
def test_no_other_name_is_taken(given: Any) -> None:
    with pytest.raises(BadName, match=r"^the name of a thing ") as caught:
        check_name(given, "a thing")
    assert isinstance(caught.value, ValueError)
    str(caught.value).encode()


@pytest.mark.parametrize("given", [5, b"1", "\ud800", "x" * (MAX_NAME_LENGTH + 1)])
def test_no_other_version_is_taken(given: Any) -> None:
    with pytest.raises(BadName, match=r"^a version "):
        check_version(given)


def test_there_may_be_no_version_an_empty_one_and_a_long_reason() -> None:
    assert (check_version(None), check_version(""), check_reason(""), len(check_reason("x" * 999))) == (
        None,
        "",
        "",
        999,
    )


@pytest.mark.parametrize("given", [None, 5, "\ud800"])
def test_no_other_reason_is_taken(given: Any) -> None:
    with pytest.raises(BadName, match=r"^a reason "):
        check_reason(given)


@pytest.mark.parametrize(
    "given",
    [
        NOW,
        NOW.replace(tzinfo=None),
        NOW.replace(tzinfo=Vague()),
        NOW.astimezone(timezone(timedelta(hours=5))),
        Moment(2026, 1, 1, 12, tzinfo=UTC),
        timedelta(0),
    ],
)
def test_a_time_is_kept_as_a_plain_one_in_utc(given: Any) -> None:
    kept = check_due_time(given, "at", NOW)
    assert type(kept) is datetime
    assert (kept, kept.tzinfo) == (NOW, UTC)


WEST, EAST = (timezone(timedelta(hours=hours)) for hours in (-1, 1))


@pytest.mark.parametrize(
    "given", [datetime.max.replace(tzinfo=WEST), datetime.min.replace(tzinfo=EAST), timedelta.max, timedelta.min]
)
def test_a_time_outside_of_the_calendar_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"^at must lie between the years 1 and 9999"):
        check_due_time(given, "at", NOW)


@pytest.mark.parametrize("given", [5, None, "2026-01-01"])
def test_what_is_no_time_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="at is a datetime or a timedelta, not "):
        check_due_time(given, "at", NOW)
    with pytest.raises(TypeError, match="at is a datetime, not "):
        check_time(given, "at")
