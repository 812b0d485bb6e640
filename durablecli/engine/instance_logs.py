"""The logs of instances, as the engine writes them.

Activities and operations write their lines at once, in their own thread, so that a crash of their code loses none. The
lines of orchestrators are written by a thread of its own once their turn is on disk, so that the engine doesn't wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from durablecli.engine.background import BackgroundThread
from durablecli.engine.clock import Clock
from durablecli.engine.commit_builder import TurnOutput
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.workers.work_output import OutputLog, WorkIdentity, format_log_record, split_lines
from durablecli.limits import MIB
from durablecli.model.log_entry import LogEntry
from durablecli.replay.turn_log import OutputLine, PrintedText
from durablecli.store.hub import Hub
from durablecli.store.journal.commits import PurgedExecution
from durablecli.store.logs.log_writer import LogWriter

_MAX_QUEUED = 8 * MIB
"""The characters that may wait to be written: beyond them the engine writes itself."""
_LINE_OVERHEAD = 200


class _QueuedTurns(NamedTuple):
    outputs: list[TurnOutput]
    at: datetime
    size: int


class InstanceLogs:
    """Writes what functions print and log to the log of their instance."""

    def __init__(self, hub: Hub, clock: Clock, options: EngineOptions, warn: Callable[[str], None]) -> None:
        self._clock = clock
        self._is_on = options.log_bytes > 0
        self._writer = LogWriter(hub.disk, hub.root, options.log_bytes, warn)
        self._thread: BackgroundThread[_QueuedTurns] = BackgroundThread(
            "durable-logs", self._write, lambda error: None, threaded=options.use_threads
        )
        self._queued_size = self._written_size = 0

    @property
    def output_log(self) -> OutputLog | None:
        """Takes the output of activities and operations; None if it isn't kept."""
        return self if self._is_on else None

    def now(self) -> datetime:
        """Return the time for an entry."""
        return self._clock.now()

    def add(self, instance: str, entries: list[LogEntry]) -> None:
        """Write entries before returning; any thread may call this."""
        self._writer.append(instance, entries)

    def add_turns(self, outputs: list[TurnOutput], at: datetime) -> None:
        """Have the output of committed turns written; `at` is the time of their commit."""
        if not self._is_on or not outputs:
            return
        queued = _QueuedTurns(outputs, at, sum(_measure(line) for output in outputs for line in output.lines))
        if self._queued_size - self._written_size > _MAX_QUEUED:
            self._write_outputs(queued.outputs, at)
        else:
            self._queued_size += queued.size
            self._thread.submit(queued)

    def remove_purged(self, purged: Iterable[PurgedExecution]) -> None:
        """Remove the logs of purged instances."""
        self._writer.remove_purged(purged)

    def close(self) -> None:
        """Write what is queued, and close the files."""
        self._thread.stop()
        self._writer.close()

    def _write(self, queued: _QueuedTurns) -> None:
        self._write_outputs(queued.outputs, queued.at)
        self._written_size += queued.size  # written by one thread only

    def _write_outputs(self, outputs: Iterable[TurnOutput], at: datetime) -> None:
        for output in outputs:
            if entries := list(_make_entries(output, at)):
                self._writer.append(output.instance, entries)


def _make_entries(output: TurnOutput, at: datetime) -> Iterable[LogEntry]:
    """Yield the entries of a turn: successive texts for one stream are joined, and then split into lines."""
    identity = WorkIdentity(output.instance, output.execution, "orchestrator", output.name, None)
    printed: list[str] = []
    stream = ""

    def take_printed() -> Iterable[LogEntry]:
        text = "".join(printed)
        printed.clear()
        return [identity.make_entry(at, "INFO", line, stream=stream) for line in split_lines(text)] if text else []

    for line in output.lines:
        if isinstance(line, PrintedText):
            if line.stream != stream:
                yield from take_printed()
                stream = line.stream
            printed.append(line.text)
            continue
        yield from take_printed()
        text = format_log_record(line.record)
        yield identity.make_entry(at, line.record.levelname, text, logger=line.logger.name)
    yield from take_printed()


def _measure(line: OutputLine) -> int:
    return _LINE_OVERHEAD + (len(line.text) if isinstance(line, PrintedText) else len(str(line.record.msg)))
