"""What activities and entity operations print and log goes to the log of their instance, besides where it goes anyway.

The call that runs is known by a context variable, so output is attributed also where asyncio passes the context on:
in tasks, and in threads of `asyncio.to_thread`.
"""

from __future__ import annotations

import logging
import os
import threading
from contextvars import ContextVar
from datetime import datetime
from typing import NamedTuple, Protocol

from durablecli.model.log_entry import LogEntry

MAX_TEXT_LENGTH = 16_384
"""The characters of one entry; a longer text is cut."""
_MAX_UNFINISHED = 4_096
"""The unfinished lines that are kept: the oldest may be of a thread that prints although its call has ended."""


class WorkIdentity(NamedTuple):
    """The source of an entry: see LogEntry."""

    instance: str
    execution: str
    source: str
    name: str
    id: int | None
    attempt: int | None = None
    retry_of: int | None = None

    def make_entry(
        self, at: datetime, level: str, text: str, *, logger: str | None = None, stream: str | None = None
    ) -> LogEntry:
        """Make an entry of this source."""
        _, execution, source, name, id, attempt, retry_of = self
        return LogEntry(at, level, cut_text(text), source, name, id, attempt, execution, logger, stream, retry_of)


class OutputLog(Protocol):
    """Takes entries, from any thread; never raises."""

    def now(self) -> datetime:
        """Return the time for an entry."""

    def add(self, instance: str, entries: list[LogEntry]) -> None:
        """Write entries to the log of an instance."""


class RunningWork(Protocol):
    """A call of an activity, or a batch of operations, that runs."""

    @property
    def output_log(self) -> OutputLog | None:
        """None if its output is not kept."""

    def identify(self) -> WorkIdentity: ...


running_work: ContextVar[RunningWork | None] = ContextVar("running_work", default=None)
"""Set while the code of an activity or an operation runs."""

unfinished_lines: dict[tuple[WorkIdentity, str], str] = {}
"""Text that was printed without a line feed so far, by its source and stream; seldom any."""
_guard = threading.RLock()  # reentrant: a finalizer or a signal handler may print

# A child that an activity forks has no log: the locks of other threads may be held for ever in it.
os.register_at_fork(after_in_child=lambda: running_work.set(None))


def keep_printed_text(work: RunningWork, stream: str, text: str) -> None:
    """Keep what a call prints, line by line."""
    log = work.output_log
    if log is None or not isinstance(text, str):
        return
    identity = work.identify()
    key = identity, stream
    with _guard:
        lines = (unfinished_lines.pop(key, "") + text).split("\n")
        rest = lines.pop()
        rest = _drop_overwritten(rest) if "\r" in rest else rest
        if rest:
            unfinished_lines[key] = rest[: MAX_TEXT_LENGTH + 1]  # so that it will be cut
        oldest = next(iter(unfinished_lines)) if len(unfinished_lines) > _MAX_UNFINISHED else None
        oldest_line = unfinished_lines.pop(oldest) if oldest is not None else ""
    if oldest is not None:
        _add_printed(log, *oldest, [oldest_line])
    if lines:
        _add_printed(log, identity, stream, lines)


def finish_lines(work: RunningWork) -> None:
    """Keep the unfinished lines of a call that ends."""
    if not unfinished_lines or (log := work.output_log) is None:
        return
    identity = work.identify()
    for stream in ("stdout", "stderr"):
        with _guard:
            rest = unfinished_lines.pop((identity, stream), "")
        if rest:
            _add_printed(log, identity, stream, [rest])


def keep_record(work: RunningWork, logger: logging.Logger, record: logging.LogRecord) -> None:
    """Keep a record that a call logs."""
    log = work.output_log
    if log is None:
        return
    identity = work.identify()
    entry = identity.make_entry(log.now(), record.levelname, format_log_record(record), logger=logger.name)
    log.add(identity.instance, [entry])


def split_lines(text: str) -> list[str]:
    """Split printed text into lines, each as a terminal would show it."""
    return [_visible(line) for line in text.removesuffix("\n").split("\n")]


def format_log_record(record: logging.LogRecord) -> str:
    """Return the message of a record, with its traceback."""
    try:
        text = record.getMessage()
        if record.exc_info and not record.exc_text:
            text = f"{text}\n{logging.Formatter().formatException(record.exc_info)}"
        elif record.exc_text:
            text = f"{text}\n{record.exc_text}"
        return f"{text}\n{record.stack_info}" if record.stack_info else text
    except Exception as error:  # noqa: BLE001 - user code
        text = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        return f"{text} (not formatted: {type(error).__name__})"


def cut_text(text: str) -> str:
    """Return the text, cut to the greatest length of an entry."""
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}… (cut)"


def _add_printed(log: OutputLog, identity: WorkIdentity, stream: str, lines: list[str]) -> None:
    at = log.now()
    entries = [identity.make_entry(at, "INFO", _visible(line), stream=stream) for line in lines]
    log.add(identity.instance, entries)


def _visible(line: str) -> str:
    """Return what a terminal shows of a line in the end."""
    return _drop_overwritten(line).rstrip("\r") if "\r" in line else line


def _drop_overwritten(line: str) -> str:
    """Drop what a later part of the line overwrites, as in a progress bar; a carriage return at its end is kept."""
    text = line.rstrip("\r")
    return text[text.rfind("\r") + 1 :] + line[len(text) :][:1]
