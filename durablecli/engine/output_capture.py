"""Replaces `sys.stdout`, `sys.stderr` and the handlers of all loggers: what an orchestrator prints and logs is kept
until its turn is on disk, and what other functions print and log is also kept in the log of their instance."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, Self, TextIO

from durablecli.engine.workers.work_output import keep_printed_text, keep_record, running_work
from durablecli.replay.turn_log import PrintedText, capture_record, running_turn

_CallHandlers = Callable[[logging.Logger, logging.LogRecord], None]


class CapturedStream:
    """Replaces a standard stream: what a turn writes is kept, everything else passes through."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name = name
        self.stream = stream

    def write(self, text: str) -> int:
        turn = running_turn.get()
        if turn is not None:
            if not isinstance(text, str):  # the stream would refuse it too late, in the engine
                raise TypeError(f"write() argument must be str, not {type(text).__name__}")
            turn.log(PrintedText(self._name, text))
            return len(text)
        work = running_work.get()
        if work is None:
            return self.stream.write(text)
        token = running_work.set(None)  # a capture below this one must not keep it again
        try:
            keep_printed_text(work, self._name, text)
            return self.stream.write(text)
        finally:
            running_work.reset(token)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class OutputCapture:
    """Replaces the standard streams and the handlers of loggers while functions run."""

    def __init__(self) -> None:
        self._start_count = 0
        self.streams: dict[str, CapturedStream] = {}
        self._original: _CallHandlers = logging.Logger.callHandlers
        self._hook: _CallHandlers = self._original

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to capture. `stop` must be called once for each `start`."""
        self._start_count += 1
        if self._start_count > 1:
            return
        for name in ("stdout", "stderr"):
            stream: TextIO | None = getattr(sys, name)
            if stream is not None:
                self.streams[name] = CapturedStream(name, stream)
                setattr(sys, name, self.streams[name])
        self._original = logging.Logger.callHandlers
        self._hook = _make_hook(self._original)
        logging.Logger.callHandlers = self._hook  # type: ignore[method-assign, assignment]

    def stop(self) -> None:
        """Restore what was replaced, unless other code has replaced it since."""
        self._start_count -= 1
        if self._start_count > 0:
            return
        for name, stream in self.streams.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.stream)
        self.streams.clear()
        if logging.Logger.callHandlers is self._hook:
            logging.Logger.callHandlers = self._original  # type: ignore[method-assign, assignment]


def _make_hook(original: _CallHandlers) -> _CallHandlers:
    def call_handlers(self: logging.Logger, record: logging.LogRecord) -> None:
        turn = running_turn.get()
        if turn is not None:
            capture_record(turn, self, record)
            return
        work = running_work.get()
        if work is None:
            original(self, record)
            return
        token = running_work.set(None)  # a handler that prints the record must not have it kept twice
        try:
            keep_record(work, self, record)
            original(self, record)
        finally:
            running_work.reset(token)

    return call_handlers
