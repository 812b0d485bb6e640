"""The lines of the daemon about instances: starts, ends, failures, retries and more, once they are on disk.

Starts, ends and retries are counted instead when there are many in one second. Failures are always printed; equal ones
of one instance that come in together share a line.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from datetime import datetime
from typing import Any

from durablecli.durations import format_length
from durablecli.engine.guarded_logging import log_guarded
from durablecli.engine.instance_notes import NOT_NOTED, NOTED, NOTED_IN_DETAIL, InstanceNote
from durablecli.engine.line_limiter import LineLimiter
from durablecli.escape import escape
from durablecli.model import events as ev
from durablecli.model.failure_report import FailureCause, first_line, make_cause
from durablecli.model.failures import Failure
from durablecli.plurals import format_count
from durablecli.project import display_source_path

_KINDS = {
    ev.TaskScheduled: "activity",
    ev.SubOrchestrationInstanceCreated: "sub-orchestration",
    ev.EntityOperationCalled: "operation",
}

_Call = ev.TaskScheduled | ev.SubOrchestrationInstanceCreated | ev.EntityOperationCalled
_OWN_ERRORS = "durablecli.errors.Conflict", "durablecli.errors.UsageError"
Fields = dict[str, Any]
"""What a line says, for log.format json."""
_log = logging.getLogger("durablecli.instance")


class InstanceLog:
    """Prints notes as lines of the logger `durablecli.instance`. Only the engine's thread calls `emit`."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled
        self._limiter = LineLimiter(_print_omitted)

    @property
    def noted(self) -> frozenset[type]:
        """The events of which notes are wanted, by the level of the logger."""
        if not self._enabled or not _log.isEnabledFor(logging.ERROR):
            return NOT_NOTED
        return NOTED_IN_DETAIL if _log.isEnabledFor(logging.DEBUG) else NOTED

    def emit(self, notes: Iterable[InstanceNote]) -> None:
        """Print the notes of one commit, in order."""
        batch = _Batch(notes)
        for note in batch.notes:
            log_guarded(self._log_note, note, batch)

    def flush(self) -> None:
        """Print how many lines were left out, if there are any."""
        self._limiter.flush()

    def _log_note(self, note: InstanceNote, batch: _Batch) -> None:
        match note.event:
            case ev.ExecutionStarted():
                self._log_start(note, note.event, continued=note.id in batch.continued)
            case ev.ExecutionCompleted():
                self._log_end(note, note.event)
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed():
                self._log_failed_call(note, note.event.failure, batch)
            case ev.TimerCreated():
                if (note.id, note.n) not in batch.joined:
                    self._log_retry(note, None, 1)
            case ev.EntityBatch():
                for n, name, failure in note.failed_operations:
                    self._log_failed_operation(note, n, name, make_cause(failure))
            case _:
                self._log_other(note)

    # ── starts and ends ────────────────────────────────────────────────────────────────────────────────────────

    def _log_start(self, note: InstanceNote, event: ev.ExecutionStarted, *, continued: bool) -> None:
        if continued:
            self._write(logging.DEBUG, note, f"{note.name} continued as new", {"event": "continued"})
            return
        level = logging.DEBUG if note.is_child else logging.INFO
        if not self._may_write("started", level):
            return
        if event.start_at is not None and event.start_at > note.at:
            self._write(
                level, note, f"{note.name} is to start at {_format_time(event.start_at)}", {"event": "scheduled"}
            )
        else:
            self._write(level, note, f"{note.name} started", {"event": "started"})

    def _log_end(self, note: InstanceNote, event: ev.ExecutionCompleted) -> None:
        outcome, failure = event.status.lower(), event.failure
        level = logging.DEBUG if note.is_child else logging.INFO
        if failure is None and not self._may_write(outcome, level):
            return
        took = note.at - note.began
        fields: Fields = {"event": outcome, "seconds": round(took.total_seconds(), 6)}
        text = f"{note.name} {outcome} {'in' if outcome == 'completed' else 'after'} {format_length(took)}"
        if failure is not None:
            cause = make_cause(failure)
            level, text = logging.WARNING if note.is_child else logging.ERROR, f"{text}: {_describe(cause)}"
            fields["error"] = _error_fields(cause)
        self._write(level, note, text, fields)

    # ── failures and retries ───────────────────────────────────────────────────────────────────────────────────

    def _log_failed_call(self, note: InstanceNote, failure: Failure, batch: _Batch) -> None:
        group = batch.groups.pop(batch.keys[note.id, note.n], None)
        if group is None:
            return  # it is counted in the line of the first one
        if (retry := batch.retries.get((note.id, note.n))) is not None:
            self._log_retry(retry, make_cause(failure), group)
            return
        event = note.event
        assert isinstance(event, ev.TaskFailed | ev.SubOrchestrationInstanceFailed)
        what, fields = _name_call(note, event.task, group)
        cause = make_cause(failure)
        fields |= {"event": "task failed", "count": group, "error": _error_fields(cause)}
        # A child that has run has a line of its own; one that could not be started has no other.
        has_line = isinstance(event, ev.SubOrchestrationInstanceFailed) and not failure.type.startswith(_OWN_ERRORS)
        self._write(logging.DEBUG if has_line else logging.WARNING, note, f"{what} failed: {_describe(cause)}", fields)

    def _log_retry(self, note: InstanceNote, cause: FailureCause | None, count: int) -> None:
        if not self._may_write("retried", logging.WARNING, count):
            return
        timer, retry = note.event, note.retry
        assert isinstance(timer, ev.TimerCreated)
        delay = timer.fire_at - note.at
        fields: Fields = {"event": "retrying", "count": count, "delay": round(delay.total_seconds(), 6)}
        attempt, what = "", format_count(count, "task")
        if retry is not None:
            most = retry.policy.max_number_of_attempts
            attempt = f", attempt {retry.attempt} of {most},"
            what, named = _name_decision(retry.decision, retry.first_n, count)
            fields |= {**named, "attempt": retry.attempt, "maxAttempts": most}
        text = f"retrying {what}{attempt} in {format_length(delay)}"
        if cause is not None:
            text, fields = f"{text}: {_describe(cause)}", {**fields, "error": _error_fields(cause)}
        self._write(logging.WARNING, note, text, fields)

    def _log_failed_operation(self, note: InstanceNote, n: int, name: str, cause: FailureCause) -> None:
        fields = {"event": "operation failed", "task": name, "id": n, "error": _error_fields(cause)}
        self._write(logging.WARNING, note, f"operation {name} (id {n}) failed: {_describe(cause)}", fields)

    # ── others ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _log_other(self, note: InstanceNote) -> None:
        event = note.event
        match event:
            case ev.ExecutionSuspended() | ev.ExecutionResumed() | ev.ExecutionRewound():
                word = type(event).__name__.removeprefix("Execution").lower()
                text = f"{word}: {first_line(event.reason)}" if event.reason else word
                self._write(logging.INFO, note, text, {"event": word, "reason": event.reason})
            case ev.ExecutionUnblocked():
                self._write(logging.INFO, note, "unblocked", {"event": "unblocked"})
            case ev.TaskScheduled():
                fields: Fields = {"event": "task scheduled", "task": event.name, "id": note.n}
                self._write(logging.DEBUG, note, f"activity {event.name} (id {note.n}) scheduled", fields)
            case (
                ev.TaskCompleted()
                | ev.SubOrchestrationInstanceCompleted()
                | ev.EntityOperationCompleted()
                | ev.EntityOperationFailed()
            ):
                word = "failed" if isinstance(event, ev.EntityOperationFailed) else "completed"
                what, fields = _name_call(note, event.task)
                self._write(logging.DEBUG, note, f"{what} {word}", {**fields, "event": f"task {word}"})
            case ev.TaskCanceled():
                what, fields = _name_call(note, event.task)
                self._write(logging.DEBUG, note, f"{what} cancelled", {**fields, "event": "task cancelled"})
            case ev.EventRaised():
                self._write(logging.DEBUG, note, f"event {event.name} received", {"event": "event", "task": event.name})
            case ev.TimerFired():
                self._write(logging.DEBUG, note, f"timer {event.timer} fired", {"event": "timer", "id": event.timer})
            case _:
                pass  # continue_as_new is shown with the start of the next execution

    # ── writing ────────────────────────────────────────────────────────────────────────────────────────────────

    def _may_write(self, kind: str, level: int, count: int = 1) -> bool:
        """Whether a line may be written. It is counted if there were too many in this second, unless it is a detail."""
        return _log.isEnabledFor(level) and (level == logging.DEBUG or self._limiter.admits(kind, count))

    def _write(self, level: int, note: InstanceNote, text: str, fields: Fields) -> None:
        if not _log.isEnabledFor(level):
            return
        extra = {"durable": {"instance": note.id, **({"name": note.name} if note.name else {}), **fields}}
        _log.log(level, "%s: %s", escape(note.id), escape(text), extra=extra)


class _Batch:
    """The notes of one commit: which retry follows which failure, and which failures are equal."""

    def __init__(self, notes: Iterable[InstanceNote]) -> None:
        self.notes = list(notes)
        self.retries: dict[tuple[str, int], InstanceNote] = {}
        """By the failed outcome."""
        self.joined: set[tuple[str, int]] = set()
        """The timers of retries that are shown with the failure."""
        self.continued: set[str] = set()
        self.keys: dict[tuple[str, int], Hashable] = {}
        self.groups: Counter[Hashable] = Counter()
        related = [note for note in self.notes if type(note.event) in _RELATED]
        failed = {(note.id, note.n) for note in related if isinstance(note.event, _FAILED)}
        for note in related:
            if note.retry is not None and (note.id, note.retry.failed_outcomes[-1]) in failed:
                self.retries[note.id, note.retry.failed_outcomes[-1]] = note
                self.joined.add((note.id, note.n))
            elif isinstance(note.event, ev.ContinueAsNew):
                self.continued.add(note.id)
        for note in related:
            if isinstance(note.event, _FAILED):
                key = self._group_key(note, note.event.failure)
                self.keys[note.id, note.n] = key
                self.groups[key] += 1

    def _group_key(self, note: InstanceNote, failure: Failure) -> Hashable:
        retried = self.retries.get((note.id, note.n))
        attempt = retried.retry.attempt if retried is not None and retried.retry is not None else 0
        name = getattr(note.call, "name", "")
        return note.id, name, attempt, failure.type, failure.message, failure.traceback


_FAILED = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed)
_RELATED = frozenset((*_FAILED, ev.TimerCreated, ev.ContinueAsNew))


def _name_call(note: InstanceNote, n: int, count: int = 1) -> tuple[str, Fields]:
    call = note.call
    if isinstance(call, ev.TaskScheduled | ev.SubOrchestrationInstanceCreated | ev.EntityOperationCalled):
        return _name_decision(call, n, count)
    return f"task {n}", {"id": n}


def _name_decision(call: _Call, n: int, count: int) -> tuple[str, Fields]:
    """Name what was called; of several calls, the first."""
    attempt = getattr(call, "attempt", 1)
    example = f"id {n}, attempt {attempt}" if attempt > 1 else f"id {n}"
    example = f"{count:,} ×, such as {example}" if count > 1 else example
    return f"{_KINDS[type(call)]} {call.name} ({example})", {"task": call.name, "id": n}


def _describe(cause: FailureCause) -> str:
    """Describe what was raised and where, on one line."""
    where = f" at {display_source_path(cause.at.file)}:{cause.at.line}" if cause.at is not None else ""
    return ", ".join(filter(None, [f"{first_line(cause.text)}{where}", cause.task]))


def _error_fields(cause: FailureCause) -> Fields:
    fields: Fields = {"type": cause.type, "message": cause.message}
    if cause.at is not None:
        fields |= {"file": cause.at.file, "line": cause.at.line, "function": cause.at.function}
    return fields


def _format_time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%SZ")


def _print_omitted(counts: Mapping[str, int]) -> None:
    words = ", ".join(f"{number:,} more {kind}" for kind, number in counts.items())
    log_guarded(_log.info, "… %s in the last second", words, extra={"durable": {"event": "summary", **counts}})
