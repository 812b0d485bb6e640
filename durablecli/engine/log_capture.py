"""Captured output: what orchestrators print and log is emitted once, when the turn is on disk.

The lines of a replay are dropped by `OrchestrationExecutor.log`.

The capture replaces `sys.stdout`, `sys.stderr` and the handlers of all loggers.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from durablecli.engine.commit_builder import LogLine
from durablecli.replay.turn_log import LoggedRecord, OutputLine, PrintedText, capture_record, running_turn

_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class CapturedStream:
    """Replaces a standard stream: what a turn writes is kept, everything else passes through."""

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


class LogCapture:
    """Replaces the standard streams and the handlers of loggers while an engine runs turns."""

    def __init__(self) -> None:
        self._start_count = 0
        self._streams: dict[str, CapturedStream] = {}
        self._original: _CallHandlers = logging.Logger.callHandlers
        self._hook: _CallHandlers = self._original

    def __enter__(self) -> LogCapture:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to capture the output of turns. `stop` must be called once for each `start`."""
        self._start_count += 1
        if self._start_count > 1:
            return
        for name in ("stdout", "stderr"):
            stream: TextIO | None = getattr(sys, name)
            if stream is not None:
                self._streams[name] = CapturedStream(name, stream)
                setattr(sys, name, self._streams[name])
        self._original = logging.Logger.callHandlers
        self._hook = _make_hook(self._original)
        logging.Logger.callHandlers = self._hook  # type: ignore[method-assign, assignment]

    def stop(self) -> None:
        """Restore what was replaced, unless other code has replaced it since."""
        self._start_count -= 1
        if self._start_count > 0:
            return
        for name, stream in self._streams.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.stream)
        self._streams.clear()
        if logging.Logger.callHandlers is self._hook:
            logging.Logger.callHandlers = self._original  # type: ignore[method-assign, assignment]

    def emit(self, lines: Sequence[LogLine | OutputLine]) -> None:
        """Emit what committed turns have printed and logged."""
        written: dict[str, TextIO] = {}
        for line in lines:
            match line:
                case PrintedText(name, text):
                    written[name] = stream = self._get_stream(name)
                    stream.write(text)
                case LoggedRecord(logger, record):
                    _call_handlers(logger, record)
                case LogLine(name, level, text, arguments):
                    logging.getLogger(f"durablecli.{name}").log(level, text, *arguments)
        for stream in written.values():
            stream.flush()

    def _get_stream(self, name: str) -> TextIO:
        ours = self._streams.get(name)
        found: TextIO = getattr(sys, name) if ours is None else ours.stream
        return found


def _make_hook(original: _CallHandlers) -> _CallHandlers:
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        turn = running_turn.get()
        if turn is None:
            original(self, record)
        else:
            capture_record(turn, self, record)

    return call_handlers


def _call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
    """Call a logger's handlers. An author's handler that raises doesn't stop the engine."""
    try:
        logger.callHandlers(record)
    except Exception:  # noqa: BLE001 - user code
        traceback.print_exc()
