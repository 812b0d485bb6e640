"""Lines that an orchestrator logs or prints: kept until its turn is on disk.

`OrchestrationExecutor.log` drops those of a replay.
"""

from __future__ import annotations

import copy
import logging
from contextvars import ContextVar
from typing import NamedTuple, Protocol


class PrintedText(NamedTuple):
    """Text for a standard stream: `stdout` or `stderr`."""

    stream: str
    text: str


class LoggedRecord(NamedTuple):
    """A record for the handlers of a logger."""

    logger: logging.Logger
    record: logging.LogRecord


OutputLine = PrintedText | LoggedRecord


class RunningTurn(Protocol):
    """The turn that runs in this thread."""

    @property
    def is_silent(self) -> bool: ...
    def log(self, line: OutputLine) -> None: ...


running_turn: ContextVar[RunningTurn | None] = ContextVar("running_turn", default=None)
"""Set while an orchestrator's code runs."""


class TurnLogger(logging.Logger):
    """The logger of an orchestrator. Records are kept until the turn is on disk, and dropped in a replay.

    Level, filters and handlers are those of the logger `durablecli.orchestrator.NAME`.
    """

    def __init__(self, turn: RunningTurn, name: str) -> None:
        self._logger = logging.getLogger(f"durablecli.orchestrator.{name}")
        super().__init__(self._logger.name)
        self._turn = turn
        self.parent = self._logger.parent
        self.filters, self.handlers = self._logger.filters, self._logger.handlers

    def setLevel(self, level: int | str) -> None:  # noqa: N802 - a name of logging's
        self._logger.setLevel(level)

    def getEffectiveLevel(self) -> int:  # noqa: N802 - a name of logging's
        return self._logger.getEffectiveLevel()

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - a name of logging's
        return not self._turn.is_silent and self._logger.isEnabledFor(level)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802 - a name of logging's
        capture_record(self._turn, self._logger, record)


def capture_record(turn: RunningTurn, logger: logging.Logger, record: logging.LogRecord) -> None:
    """Keep a log record with its turn."""
    if not turn.is_silent:
        _format_record(record)
        turn.log(LoggedRecord(logger, record))


def _format_record(record: logging.LogRecord) -> None:
    """Format a record now: the orchestrator may change its arguments before it is handled."""
    try:
        if isinstance(record.msg, dict):  # for handlers that write fields
            record.msg = copy.deepcopy(record.msg)
        elif record.args or not isinstance(record.msg, str):
            record.msg = record.getMessage()
            record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
    except Exception as error:  # noqa: BLE001 - user code
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        record.msg, record.args, record.exc_info = f"{text} (not formatted: {type(error).__name__})", (), None
