"""Captured output: what orchestrators print and log is emitted once, when the turn is on disk.

The lines of a replay are dropped by `OrchestrationExecutor.log`.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TextIO

from durablecli.engine.commit_builder import LogLine
from durablecli.engine.guarded_logging import log_guarded
from durablecli.engine.instance_log import InstanceLog
from durablecli.engine.instance_notes import InstanceNote
from durablecli.engine.output_capture import OutputCapture
from durablecli.replay.turn_log import LoggedRecord, OutputLine, PrintedText


class LogCapture(OutputCapture):
    """The capture of an engine, which emits the output of turns."""

    def __init__(self, *, report_instances: bool = False) -> None:
        super().__init__()
        self._instance_log = InstanceLog(enabled=report_instances)

    def stop(self) -> None:
        """End the capture, as in the base class, and print how many lines about instances were left out."""
        self._instance_log.flush()
        super().stop()

    @property
    def noted(self) -> frozenset[type]:
        """The events of which notes are wanted among the lines of a commit."""
        return self._instance_log.noted

    def emit(self, lines: Sequence[LogLine | OutputLine | InstanceNote]) -> None:
        """Emit what committed turns have printed and logged, and what has happened to instances."""
        if notes := [line for line in lines if type(line) is InstanceNote]:
            self._instance_log.emit(notes)
        written: dict[str, TextIO] = {}
        for line in _join_printed(lines):
            match line:
                case PrintedText(name, text):
                    written[name] = stream = self._get_stream(name)
                    _try_to_write(stream.write, text)
                case LoggedRecord(logger, record):
                    log_guarded(logger.callHandlers, record)
                case LogLine(name, level, text, arguments, fields):
                    logger = logging.getLogger(f"durablecli.{name}")
                    log_guarded(logger.log, level, text, *arguments, extra={"durable": fields})
        for stream in written.values():
            _try_to_write(stream.flush)

    def _get_stream(self, name: str) -> TextIO:
        ours = self.streams.get(name)
        found: TextIO = getattr(sys, name) if ours is None else ours.stream
        return found


def _join_printed(
    lines: Sequence[LogLine | OutputLine | InstanceNote],
) -> Iterator[LogLine | OutputLine | InstanceNote]:
    """Join what one `print` writes in pieces, so that other threads don't print between them."""
    for kind, group in groupby(lines, lambda line: line.stream if type(line) is PrintedText else None):
        if kind is None:
            yield from group
        else:
            yield PrintedText(kind, "".join(line.text for line in group if type(line) is PrintedText))


def _try_to_write(write: Callable[..., object], *text: str) -> None:
    """Write to a stream, or flush it. What it doesn't take is lost, except that a closed pipe ends the program."""
    try:
        write(*text)
    except BrokenPipeError:
        raise
    except (OSError, ValueError):
        pass
