"""The watchdog: reports an orchestrator that doesn't yield, with its line of code, while it hangs the engine.

The report is also written to a file: if the process is killed in this state, the next engine blocks the instance, so
that one endless loop doesn't hang the hub again. The instance resumes once the code of its module has changed.
"""

from __future__ import annotations

import inspect
import os
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from durablecli.engine.thread_start import start_thread
from durablecli.replay import executor
from durablecli.store.hang_report import HangReport, HangReportFile

HANG_AFTER = 1.0
_EXECUTOR_MODULE = executor.__name__
_PACKAGE_FOLDER = os.path.join(Path(__file__).parent.parent, "")


class CurrentTurn:
    """The turn that is running. `begin` and `end` are called for every turn, so they only set fields."""

    def __init__(self) -> None:
        self.instance: str | None = None
        self.function: Callable[..., Any] | None = None
        self.since = 0.0
        self.thread = 0

    def begin(self, instance: str, function: Callable[..., Any]) -> None:
        self.since = monotonic()
        self.function = function
        self.instance = instance

    def end(self) -> None:
        self.instance = self.function = None


class Watchdog:
    """The thread that checks the current turn four times a second."""

    def __init__(self, current_turn: CurrentTurn, report_file: HangReportFile, echo: Callable[[str], None]) -> None:
        self._current_turn = current_turn
        self._report_file = report_file
        self._echo = echo
        self._stop = threading.Event()
        self._reported: tuple[str, float] | None = None
        self._thread = threading.Thread(target=self._run, name="durable-watchdog", daemon=True)

    def start(self) -> None:
        self._current_turn.thread = threading.get_ident()
        start_thread(self._thread)

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._report_file.remove()

    def _run(self) -> None:
        while not self._stop.wait(HANG_AFTER / 4):
            instance, since = self._current_turn.instance, self._current_turn.since
            if instance is None or monotonic() - since < HANG_AFTER:
                if self._reported is not None and self._reported != (instance, since):
                    self._reported = None
                    self._report_file.remove()
                continue
            if self._reported == (instance, since):
                continue
            self._reported = (instance, since)
            self._report(instance)

    def _report(self, instance: str) -> None:
        frame = sys._current_frames().get(self._current_turn.thread)
        file, line = find_author_line(frame, self._current_turn.function)
        report = HangReport(instance, f"{file}:{line}", file, compute_fingerprint(file))
        self._report_file.write(report)
        self._echo(
            f"{instance} has not yielded for {HANG_AFTER:g} s, at {file}:{line}; no other instance runs until it does"
        )


def format_block_reason(hang_report: HangReport) -> str:
    """Format the reason for blocking such an instance. A later engine compares the fingerprint with the code."""
    return (
        f"the engine was killed while this orchestrator didn't yield\n"
        f"line     {hang_report.line}\n"
        f"code     {hang_report.code} {hang_report.file}"
    )


def is_code_unchanged(reason: str) -> bool:
    """Whether a block reason names code that hasn't changed since."""
    last = reason.rpartition("\n")[2]
    if not last.startswith("code     "):
        return False
    code, _, file = last.removeprefix("code     ").partition(" ")
    return compute_fingerprint(file) == code


def compute_fingerprint(file: str) -> str:
    """Compute eight hex digits that change with the file."""
    try:
        return f"{zlib.crc32(Path(file).read_bytes()):08x}"
    except OSError:
        return "00000000"


def find_author_line(frame: FrameType | None, function: Callable[..., Any] | None) -> tuple[str, int]:
    """Find the file and line of the author's code that an orchestrator runs: the innermost outside of libraries.

    Everything that runs inside the executor is the orchestrator, or was called by it. If all of it is library code, the
    outermost line is returned; if the orchestrator isn't running, its first line.
    """
    inside: list[FrameType] = []
    seen: list[FrameType] = []
    while frame is not None:
        if frame.f_globals.get("__name__") == _EXECUTOR_MODULE:
            inside = list(seen)
        elif not frame.f_code.co_filename.startswith((_PACKAGE_FOLDER, "<")):
            seen.append(frame)
        frame = frame.f_back
    libraries = _find_library_folders()
    own = [each for each in inside if not each.f_code.co_filename.startswith(libraries)]
    for found in [*own[:1], *inside[-1:]]:
        return found.f_code.co_filename, found.f_lineno
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    return (code.co_filename, code.co_firstlineno) if code is not None else ("?", 0)


def _find_library_folders() -> tuple[str, ...]:
    """The folders of the standard library and of installed packages."""
    import sysconfig  # slow to import, and most engines never need it

    paths = sysconfig.get_paths()
    return tuple(os.path.join(paths[name], "") for name in ("stdlib", "platstdlib", "purelib", "platlib"))
