"""An engine with other limits, so that a small test reaches what usually takes thousands of records."""

from __future__ import annotations

import pytest

from durablecli.engine import commit_builder


def limit_commit_records(monkeypatch: pytest.MonkeyPatch, records: int, *, measure_all: bool = False) -> None:
    """Let a commit hold this many records; with `measure_all`, measure turns of few decisions too."""
    monkeypatch.setattr(commit_builder, "MAX_COMMIT_RECORDS", records)
    monkeypatch.setattr(commit_builder, "_MIN_DECISIONS_TO_MEASURE", 0 if measure_all else 64)
