"""The watchdog: says while an orchestrator blocks the engine, with its line, and leaves a note for the next engine.

The note is a file: should the process be killed in this state, the instance starts blocked, so that one endless loop
doesn't stop the hub again. It goes on when the code of its module has changed.
"""

from __future__ import annotations

import sys
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import FrameType

import msgspec

from durablecli.replay.machine import Machine

PATIENCE = 1.0


class Stuck(msgspec.Struct, frozen=True):
    """Who was turning, where, and the fingerprint of that code."""

    instance: str
    line: str
    file: str
    code: str


class Watch:
    """Knows which instance turns now. `begin` and `end` are called for every turn, so they only set two fields."""

    def __init__(self) -> None:
        self.instance: str | None = None
        self.machine: Machine | None = None
        self.since = 0.0
        self.thread = 0

    def begin(self, instance: str, machine: Machine | None) -> None:
        self.since = monotonic()
        self.instance = instance
        self.machine = machine

    def end(self) -> None:
        self.instance = self.machine = None


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
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
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
        file, line = _place(frame)
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


def _place(frame: FrameType | None) -> tuple[str, int]:
    """The innermost line that isn't the standard library's or ours."""
    ours = str(Path(__file__).parent.parent)
    first = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith((ours, sys.prefix, sys.base_prefix, "<")):
            return name, frame.f_lineno
        frame = frame.f_back
    return (first.f_code.co_filename, first.f_lineno) if first is not None else ("?", 0)
