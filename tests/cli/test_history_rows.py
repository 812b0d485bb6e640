"""Failures as rows of a history."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from durablecli.cli.history_rows import format_record
from durablecli.model import events as ev
from durablecli.model.failures import Failure

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (Failure("builtins.KeyError", "'user'"), "of 2: KeyError: 'user'"),
        (Failure("builtins.ValueError", ""), "of 2: ValueError"),
        (Failure("app.Refused", "x" * 60_000), f"of 2: app.Refused: {'x' * 2_000}… (60,000 characters)"),
    ],
)
def test_a_failure_shows_its_type_and_the_beginning_of_its_text(failure: Failure, text: str) -> None:
    assert format_record(ev.Record(3, AT, ev.TaskFailed(2, failure)))[-1] == text
