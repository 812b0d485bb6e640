"""hang.json: the orchestrator that blocks an engine, for the next engine if this one is killed."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.layout import HANG_REPORT_FILE, OLD_HANG_REPORT_FILE


class HangReport(msgspec.Struct, frozen=True):
    """The instance whose turn doesn't end, the line it is executing, and the file and fingerprint of that code."""

    instance: str
    line: str
    file: str
    code: str


class HangReportFile:
    """The report file of one hub. It exists only while a turn doesn't end."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._path = f"{root}/{HANG_REPORT_FILE}"
        self._old_path = f"{root}/{OLD_HANG_REPORT_FILE}"

    def write(self, report: HangReport) -> None:
        """Write the report; errors of the disk are ignored, because the engine works without it."""
        with suppress(OSError):
            self._disk.replace(self._path, msgspec.json.encode(report))

    def remove(self) -> None:
        """Remove the report, if there is one."""
        for path in (self._path, self._old_path):
            with suppress(FileNotFoundError):
                self._disk.unlink(path)

    def take(self) -> HangReport | None:
        """Read and remove the report that a killed engine left; None if there is none."""
        for path in (self._path, self._old_path):
            with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
                report = msgspec.json.decode(self._disk.read(path), type=HangReport)
                self.remove()
                return report
        return None
