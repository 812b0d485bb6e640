"""The watchdog: says while an orchestrator blocks the engine, with its line, and leaves a note for the next engine.

The note is a file: should the process be killed in this state, the instance starts blocked, so that one endless loop
doesn't stop the hub again. It goes on when the code of its module has changed.
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
    """Knows which instance turns now. `begin` and `end` are called for every turn, so they only set fields."""

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
    """The thread that looks at the watch four times a second."""

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
        stuck = HangReport(instance, f"{file}:{line}", file, compute_fingerprint(file))
        self._report_file.write(stuck)
        self._echo(
            f"{instance} has not yielded for {HANG_AFTER:g} s, at {file}:{line}; nothing else moves until it does"
        )


def format_block_reason(hang_report: HangReport) -> str:
    """Why such an instance is blocked. The fingerprint tells a later engine whether the code has changed since."""
    return (
        f"the engine was killed while this orchestrator didn't yield\n"
        f"line     {hang_report.line}\n"
        f"code     {hang_report.code} {hang_report.file}"
    )


def is_code_unchanged(reason: str) -> bool:
    """Whether a reason of `reason()` still speaks of the code as it is now."""
    last = reason.rpartition("\n")[2]
    if not last.startswith("code     "):
        return False
    code, _, file = last.removeprefix("code     ").partition(" ")
    return compute_fingerprint(file) == code


def compute_fingerprint(file: str) -> str:
    """Eight hex digits that change with the file."""
    try:
        return f"{zlib.crc32(Path(file).read_bytes()):08x}"
    except OSError:
        return "00000000"


def find_author_line(frame: FrameType | None, function: Callable[..., Any] | None) -> tuple[str, int]:
    """File and line of the author's that an orchestrator runs: the innermost that is no library's.

    All that runs inside the machine is the orchestrator, or was called by it. Where none of it is the author's, that is
    where the orchestrator stands; while it doesn't run, it is where it begins.
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
