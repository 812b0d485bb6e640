"""limits.jsonl: what it says after a restart, a reboot, a clock that was set back, and a power failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from durablecli.store import rate_file
from durablecli.store.disk import LocalDisk
from durablecli.store.rate_file import RateFile, Starts

FETCH = ("fetch", "a")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = RateFile(LocalDisk(), str(tmp_path))
    assert file.is_rewrite_due
    file.rewrite({FETCH: [(90.0, 2)]}, 100.0)
    file.append([(1, "fetch", "a"), (2, "fetch", "b"), (3, "fetch", "b")], [])
    file.append([], [(1, 101.5), (3, 102.0)])
    file.close()
    return tmp_path / "limits.jsonl"


def read(path: Path, now: float) -> Starts:
    return RateFile(LocalDisk(), str(path.parent)).read(now)


def test_a_restart_forgets_nothing_and_takes_what_may_not_have_begun_as_begun_now(path: Path) -> None:
    assert read(path, 110.0) == {FETCH: [(90.0, 2), (101.5, 1)], ("fetch", "b"): [(102.0, 1), (110.0, 1)]}


@pytest.mark.parametrize(("hours", "age"), [(1, 3_600), (-1, 0)])
def test_after_a_reboot_the_wall_clock_counts_unless_it_went_back(path: Path, hours: int, age: float) -> None:
    first, *rest = path.read_bytes().splitlines()
    header = msgspec.json.decode(first)
    header |= {"boot": "another", "at": (datetime.now(UTC) - timedelta(hours=hours)).isoformat()}
    path.write_bytes(b"\n".join([msgspec.json.encode(header), *rest]) + b"\n")
    ((first_at, _), (second_at, _)) = read(path, 50.0)[FETCH]
    assert first_at == pytest.approx(50.0 - age - 10, abs=5)
    assert second_at == pytest.approx(min(50.0, 50.0 - age + 1.5), abs=5)


def test_a_torn_line_is_skipped(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b'"begun"')])
    assert read(path, 110.0)[FETCH] == [(90.0, 2), (110.0, 1)]
    path.write_bytes(b"\x00" * 40)
    assert read(path, 110.0) == {}


def test_without_the_file_nothing_has_begun(tmp_path: Path) -> None:
    assert read(tmp_path / "limits.jsonl", 1.0) == {}


def test_the_file_is_rewritten_when_it_has_grown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_file, "_MIN_GROWTH", 1_000)
    file = RateFile(LocalDisk(), str(path.parent))
    file.rewrite({}, 1.0)
    lines = 0
    while not file.is_rewrite_due:
        file.append([(lines, "fetch", "k")], [])
        lines += 1
    assert 10 < lines < 100
    file.close()
