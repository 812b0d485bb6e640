"""The report of an orchestrator that blocks its engine: written, read once, and found under its old name too."""

from __future__ import annotations

import msgspec
import pytest

from durablecli.store.hang_report import HangReport, HangReportFile
from durablecli.store.memory_disk import MemoryDisk

REPORT = HangReport("a", "flow.py:7", "flow.py", "0123abcd")


def make_disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder("hub")
    return disk


def test_a_report_is_taken_once() -> None:
    disk = make_disk()
    HangReportFile(disk, "hub").write(REPORT)
    assert HangReportFile(disk, "hub").take() == REPORT
    assert HangReportFile(disk, "hub").take() is None
    assert disk.listdir("hub") == []


def test_a_report_of_an_earlier_version_is_taken() -> None:
    disk = make_disk()
    disk.create("hub/turning.json", msgspec.json.encode(REPORT), sync=False)
    assert HangReportFile(disk, "hub").take() == REPORT
    assert disk.listdir("hub") == []


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"instance":"a"}'])
def test_an_unreadable_report_is_none(content: bytes) -> None:
    disk = make_disk()
    disk.create("hub/hang.json", content, sync=False)
    assert HangReportFile(disk, "hub").take() is None


def test_a_report_that_ends_is_removed() -> None:
    disk = make_disk()
    file = HangReportFile(disk, "hub")
    file.write(REPORT)
    file.remove()
    file.remove()
    assert disk.listdir("hub") == []
