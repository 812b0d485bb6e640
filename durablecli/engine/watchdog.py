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
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import msgspec

from durablecli.engine.thread_start import start_thread
from durablecli.replay import executor

PATIENCE = 1.0
_MACHINE = executor.__name__
_OURS = os.path.join(Path(__file__).parent.parent, "")


class Stuck(msgspec.Struct, frozen=True):
    """Who was turning, where, and the fingerprint of that code."""

    instance: str
    line: str
    file: str
    code: str


class Watch:
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

    def __init__(self, watch: Watch, note: Path, say: Callable[[str], None]) -> None:
        self._watch = watch
        self._note = note
        self._say = say
        self._stop = threading.Event()
        self._told: tuple[str, float] | None = None
        self._thread = threading.Thread(target=self._run, name="durable-watchdog", daemon=True)

    def start(self) -> None:
        self._watch.thread = threading.get_ident()
        start_thread(self._thread)

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._note.unlink(missing_ok=True)

    def _run(self) -> None:
        while not self._stop.wait(PATIENCE / 4):
            instance, since = self._watch.instance, self._watch.since
            if instance is None or monotonic() - since < PATIENCE:
                if self._told is not None and self._told != (instance, since):
                    self._told = None
                    self._note.unlink(missing_ok=True)
                continue
            if self._told == (instance, since):
                continue
            self._told = (instance, since)
            self._report(instance)

    def _report(self, instance: str) -> None:
        frame = sys._current_frames().get(self._watch.thread)
        file, line = place(frame, self._watch.function)
        stuck = Stuck(instance, f"{file}:{line}", file, fingerprint(file))
        with suppress(OSError):
            self._note.write_bytes(msgspec.json.encode(stuck))
            self._note.chmod(0o600)
        self._say(f"{instance} has not yielded for {PATIENCE:g} s, at {file}:{line}; nothing else moves until it does")


def left_behind(note: Path) -> Stuck | None:
    """Who was turning when an engine was killed, if one was; the note is taken away."""
    try:
        stuck = msgspec.json.decode(note.read_bytes(), type=Stuck)
    except (OSError, msgspec.DecodeError):
        return None
    note.unlink(missing_ok=True)
    return stuck


def reason(stuck: Stuck) -> str:
    """Why such an instance is blocked. The fingerprint tells a later engine whether the code has changed since."""
    return (
        f"the engine was killed while this orchestrator didn't yield\n"
        f"line     {stuck.line}\n"
        f"code     {stuck.code} {stuck.file}"
    )


def is_unchanged(reason: str) -> bool:
    """Whether a reason of `reason()` still speaks of the code as it is now."""
    last = reason.rpartition("\n")[2]
    if not last.startswith("code     "):
        return False
    code, _, file = last.removeprefix("code     ").partition(" ")
    return fingerprint(file) == code


def fingerprint(file: str) -> str:
    """Eight hex digits that change with the file."""
    try:
        return f"{zlib.crc32(Path(file).read_bytes()):08x}"
    except OSError:
        return "00000000"


def place(frame: FrameType | None, function: Callable[..., Any] | None) -> tuple[str, int]:
    """File and line of the author's that an orchestrator runs: the innermost that is no library's.

    All that runs inside the machine is the orchestrator, or was called by it. Where none of it is the author's, that is
    where the orchestrator stands; while it doesn't run, it is where it begins.
    """
    inside: list[FrameType] = []
    seen: list[FrameType] = []
    while frame is not None:
        if frame.f_globals.get("__name__") == _MACHINE:
            inside = list(seen)
        elif not frame.f_code.co_filename.startswith((_OURS, "<")):
            seen.append(frame)
        frame = frame.f_back
    libraries = _libraries()
    own = [each for each in inside if not each.f_code.co_filename.startswith(libraries)]
    for found in [*own[:1], *inside[-1:]]:
        return found.f_code.co_filename, found.f_lineno
    code = getattr(inspect.unwrap(function), "__code__", None) if function is not None else None
    return (code.co_filename, code.co_firstlineno) if code is not None else ("?", 0)


def _libraries() -> tuple[str, ...]:
    """The folders of the standard library and of installed packages."""
    import sysconfig  # slow to import, and most engines never need it

    paths = sysconfig.get_paths()
    return tuple(os.path.join(paths[name], "") for name in ("stdlib", "platstdlib", "purelib", "platlib"))
