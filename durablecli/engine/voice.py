"""What an orchestrator prints and logs is said once: when its turn is on disk. A replay says nothing."""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any, TextIO

from durablecli.engine.draft import Spoken
from durablecli.engine.watch import Watch

PRINTED = 0
"""The level of a line that was printed, not logged."""


class TurnStream:
    """Stands in for sys.stdout: what a turn writes is kept, all else goes through."""

    def __init__(self, stream: TextIO, watch: Watch) -> None:
        self._stream = stream
        self._watch = watch
        self._thread = threading.get_ident()

    def write(self, text: str) -> int:
        machine = self._watch.machine if threading.get_ident() == self._thread else None
        if self._watch.instance is None or threading.get_ident() != self._thread:
            return self._stream.write(text)
        if machine is not None:
            machine.say(PRINTED, text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Voice:
    """Takes over sys.stdout while an engine runs."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._before: TextIO | None = None

    def start(self) -> None:
        self._before = sys.stdout
        sys.stdout = TurnStream(self._before, self._watch)

    def stop(self) -> None:
        if self._before is not None:
            sys.stdout = self._before

    def speak(self, spoken: list[Spoken]) -> None:
        """Say what committed turns have printed and logged."""
        stream = self._before or sys.stdout
        for name, level, text, arguments in spoken:
            if level == PRINTED:
                stream.write(text)
            else:
                logging.getLogger(f"durablecli.{name}").log(level, text, *arguments)
        if any(each.level == PRINTED for each in spoken):
            stream.flush()
