"""Reports of progress: what they accept, and what they become."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from durablecli.model.reported_progress import MAX_MESSAGE_LENGTH, ReportedProgress, make_progress

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "done", "total", "fraction"),
    [
        ((0, None), 0, None, None),
        ((40, 100), 40, 100, 0.4),
        ((0.5, 2), 0.5, 2, 0.25),
        ((Fraction(1, 2), 1), 0.5, 1, 0.5),
        ((7, 0), 7, 0, None),
        ((12, 10), 12, 10, 1.0),
        ((-1, 10), -1, 10, 0.0),
        ((10**30, 10**31), 1e30, 1e31, 0.1),
    ],
)
def test_a_report_holds_plain_numbers(
    given: tuple[Any, Any], done: float, total: float | None, fraction: float | None
) -> None:
    report = make_progress(*given, None, AT)
    assert (report.done, report.total, report.fraction) == (done, total, fraction)
    assert {type(report.done), type(report.total)} <= {int, float, type(None)}
    assert msgspec.json.decode(msgspec.json.encode(report), type=ReportedProgress) == report


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (("5", None, None), TypeError),
        ((True, None, None), TypeError),
        ((None, None, None), TypeError),
        ((Decimal(1), None, None), TypeError),
        ((1, "10", None), TypeError),
        ((1, 2, 3), TypeError),
        ((float("nan"), None, None), ValueError),
        ((1, float("inf"), None), ValueError),
        ((10**400, None, None), ValueError),
    ],
)
def test_anything_but_finite_numbers_and_a_text_is_an_error(
    given: tuple[Any, Any, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="of progress must be"):
        make_progress(*given, AT)


def test_a_message_is_cut_to_its_limit_and_valid_unicode() -> None:
    assert make_progress(1, 2, "x" * 1_000, AT).message == "x" * MAX_MESSAGE_LENGTH
    assert make_progress(1, 2, "a\ud800b", AT).message == "a?b"
