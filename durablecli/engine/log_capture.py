"""Says what orchestrators print and log, once: when their turn is on disk. A replay says nothing.

It stands between orchestrators and `sys.stdout`, `sys.stderr` and the handlers of all loggers.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from durablecli.engine.commit_builder import Spoken
from durablecli.replay.turn_log import LoggedRecord, OutputLine, PrintedText, capture_record, running_turn

_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class TurnStream:
    """Stands in for a standard stream: what a turn writes is kept, all else goes through."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self.stream = stream

    def write(self, text: str) -> int:
        turn = running_turn.get()
        if turn is None:
            return self.stream.write(text)
        turn.log(PrintedText(self._name, text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class Voice:
    """Takes over the standard streams and the handlers of loggers while an engine runs turns."""

    def __init__(self) -> None:
        self._starts = 0
        self._streams: dict[str, TurnStream] = {}
        self._before: _CallHandlers = logging.Logger.callHandlers
        self._hook: _CallHandlers = self._before

    def __enter__(self) -> Voice:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to keep what turns say. It may be started several times, and is to be stopped as often."""
        self._starts += 1
        if self._starts > 1:
            return
        for name in ("stdout", "stderr"):
            stream: TextIO | None = getattr(sys, name)
            if stream is not None:
                self._streams[name] = TurnStream(name, stream)
                setattr(sys, name, self._streams[name])
        self._before = logging.Logger.callHandlers
        self._hook = _hook(self._before)
        logging.Logger.callHandlers = self._hook  # type: ignore[method-assign, assignment]

    def stop(self) -> None:
        """Give back what was taken over, but for what somebody else has taken over since."""
        self._starts -= 1
        if self._starts > 0:
            return
        for name, stream in self._streams.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.stream)
        self._streams.clear()
        if logging.Logger.callHandlers is self._hook:
            logging.Logger.callHandlers = self._before  # type: ignore[method-assign, assignment]

    def speak(self, spoken: Sequence[Spoken | OutputLine]) -> None:
        """Say what committed turns have printed and logged."""
        written: dict[str, TextIO] = {}
        for line in spoken:
            match line:
                case PrintedText(name, text):
                    written[name] = stream = self._stream(name)
                    stream.write(text)
                case LoggedRecord(logger, record):
                    _handle(logger, record)
                case Spoken(name, level, text, arguments):
                    logging.getLogger(f"durablecli.{name}").log(level, text, *arguments)
        for stream in written.values():
            stream.flush()

    def _stream(self, name: str) -> TextIO:
        ours = self._streams.get(name)
        found: TextIO = getattr(sys, name) if ours is None else ours.stream
        return found


def _hook(before: _CallHandlers) -> _CallHandlers:
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        turn = running_turn.get()
        if turn is None:
            before(self, record)
        else:
            capture_record(turn, self, record)

    return call_handlers


def _handle(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Have a logger's handlers handle a record. One of the author's that raises doesn't stop the engine."""
    try:
        logger.callHandlers(record)
    except Exception:  # noqa: BLE001 - user code
        traceback.print_exc()
