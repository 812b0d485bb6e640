"""hang.json: the orchestrator that blocks an engine, for the engine that opens the hub after this one was killed."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.layout import HANG_REPORT_FILE, OLD_HANG_REPORT_FILE


class HangReport(msgspec.Struct, frozen=True):
    """The instance whose turn doesn't end, the line where it is, and the file and fingerprint of that code."""

    instance: str
    line: str
    file: str
    code: str


class HangReportFile:
    """The file of one hub. It is there only while a turn doesn't end."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._path = f"{root}/{HANG_REPORT_FILE}"
        self._old_path = f"{root}/{OLD_HANG_REPORT_FILE}"

    def write(self, report: HangReport) -> None:
        """Write the report. An error of the disk is ignored: the engine works without it."""
        with suppress(OSError):
            self._disk.replace(self._path, msgspec.json.encode(report))

    def remove(self) -> None:
        """Remove the report, if there is one."""
        for path in (self._path, self._old_path):
            with suppress(FileNotFoundError):
                self._disk.unlink(path)

    def take(self) -> HangReport | None:
        """Read the report that a killed engine left, and remove it; None if there is none."""
        for path in (self._path, self._old_path):
            with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                report = msgspec.json.decode(self._disk.read(path), type=HangReport)
                self.remove()
                return report
        return None
