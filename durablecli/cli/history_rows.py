"""Formats the records of a history as rows of a table: number, event and details."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.cli.failure_text import format_source_line
from durablecli.cli.json_text import format_json
from durablecli.cli.time_format import format_milliseconds
from durablecli.client import CallTracker
from durablecli.client.wait_summary import format_entities
from durablecli.model import events as ev
from durablecli.model.binding_output import BindingOutput
from durablecli.model.failure_report import format_traceback, make_cause
from durablecli.model.failures import Failure
from durablecli.model.status import PendingWait

_MAX_TEXT_LENGTH = 2_000


class HistoryFormatter:
    """Formats the records of one history, in their order: a retry is described by what came before it.

    The zone is that of `now`. Unless `full`, payloads and messages longer than a limit are cut, and `was_cut` is set.
    """

    def __init__(self, now: datetime, *, full: bool = False) -> None:
        self.was_cut = False
        self._now = now
        self._full = full
        self._calls = CallTracker()

    def format(self, record: ev.Record) -> tuple[str, str, str]:
        """Return the number, the event and the details of the next record."""
        if record.n == 1:
            self._calls = CallTracker()
        self._calls.apply(record)
        event = record.event
        kind = "retry" if isinstance(event, ev.TimerCreated) else "activity"
        retried = self._calls.explain_retry(PendingWait(kind, record.n, attempt=getattr(event, "attempt", None)))
        held = " (held)" if getattr(event, "held", False) else ""
        details = f"{self._describe_event(event, retried)}{_format_action(event)}"
        return str(record.n), f"{type(event).__name__}{held}", details

    def _describe_event(self, event: ev.AnyEvent, retried: PendingWait) -> str:
        match event:
            case ev.ExecutionStarted():
                call = f"{event.name}({self._format_json(event.input)})"
                origin = event.forked_from
                fork = f", forked from {origin.instance} before record {origin.n}" if origin is not None else ""
                return f"{call}{_format_version(event.version)}{_format_tags(event.tags)}{fork}"
            case ev.TaskScheduled():
                call = f"{event.name}{_format_label(event.label)}({self._format_json(event.input)})"
                return f"{call}{_format_version(event.version)}{_format_tags(event.tags)}{_format_attempt(retried)}"
            case ev.SubOrchestrationInstanceCreated():
                call = f"{event.name}{_format_label(event.label)}({self._format_json(event.input)})"
                details = f"{_format_version(event.version)}{_format_tags(event.tags)}{_format_attempt(retried)}"
                return f"{call} as {event.instance}{details}"
            case ev.TaskCompleted():
                return f"of {event.task}: {self._format_json(event.result)}{self._format_outputs(event.outputs)}"
            case ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                return f"of {event.task}: {self._format_json(event.result)}"
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                return f"of {event.task}: {self._format_failure(event.failure)}"
            case ev.EventRaised():
                sender = f", from {event.sender.instance}" if event.sender else ""
                return f"{event.name}: {self._format_json(event.input)}{sender}"
            case ev.EventSent():
                lost = ", undelivered" * event.undelivered
                return f"{event.name} to {event.instance}: {self._format_json(event.input)}{lost}"
            case ev.ExecutionCompleted():
                end = (
                    self._format_failure(event.failure) if event.failure else self._format_json(event.result or ev.NULL)
                )
                return f"{event.status}: {end}"
            case _:
                return self._describe_other_event(event, retried)

    def _describe_other_event(self, event: ev.AnyEvent, retried: PendingWait) -> str:
        match event:
            case ev.TimerCreated():
                return f"due {self._format_time(event.fire_at)}{_format_attempt(retried)}"
            case ev.TimerFired() | ev.TimerCanceled():
                return f"of {event.timer}"
            case ev.TaskCanceled():
                return f"of {event.task}"
            case ev.EventAwaited():
                return event.name
            case ev.EventWaitsChanged():
                return ", ".join(f"{name} (id {n})" for n, name in event.waits) or "no open wait"
            case ev.CustomStatusSet():
                return self._format_json(event.status)
            case ev.ContinueAsNew():
                return f"{self._format_json(event.input)}{_format_version(event.version)}"
            case ev.OrchestratorStarted():
                worker = "" if event.time is None else f", on a worker at {self._format_time(event.time)}"
                return f"up to held record {event.upto}{worker}"
            case ev.ExecutionTerminated():
                output = f"output {self._format_json(event.output)}" if event.output else ""
                return "; ".join(filter(None, (event.reason.split("\n")[0], output)))
            case ev.ExecutionRewound():
                return ": ".join(filter(None, (f"from {event.start}" if event.start else "", event.reason)))
            case _:
                return self._describe_entity_event(event)

    def _describe_entity_event(self, event: ev.AnyEvent) -> str:
        match event:
            case ev.EntityOperationCalled():
                return f"{event.name}({self._format_json(event.input)}) of {event.entity}"
            case ev.EntityOperationSignaled():
                due = self._format_not_before(event.scheduled_time)
                return f"{event.name}({self._format_json(event.input)}) to {event.entity}{due}"
            case ev.EntityLockRequested():
                return format_entities(event.entities)
            case ev.EntityLockGranted():
                return f"of {event.task}"
            case ev.EntityUnlockSent():
                return f"of {event.lock}: {event.entity}" if event.entity else f"of {event.lock}"
            case ev.EntityOperationReceived():
                sender = f", from {event.sender.instance}" if event.sender else ""
                due = self._format_not_before(event.scheduled_time)
                return f"{event.name}({self._format_json(event.input)}){sender}{due}"
            case ev.EntityLockReceived() | ev.EntityUnlockReceived():
                return f"from {event.sender.instance}"
            case ev.EntityBatch():
                return self._format_batch(event)
            case ev.EntitySnapshot():
                return f"up to {event.upto}: {self._format_state(event.state) or 'no state'}"
            case _:
                return str(getattr(event, "reason", "")).split("\n")[0]

    def _format_outputs(self, outputs: Sequence[BindingOutput]) -> str:
        """Format the values of output bindings, each with its status: `; not sent: msg (queue) "hello"`."""
        return "".join(f"; {one.status}: {one.name} ({one.type}) {self._format_output(one)}" for one in outputs)

    def _format_output(self, output: BindingOutput) -> str:
        size = "" if output.size is None else f" ({output.size:,} bytes)"
        return f"{self._format_json(output.value)}{size}"

    def _format_batch(self, event: ev.EntityBatch) -> str:
        """Format the results of a batch: the new state, if it changed, failures, signals and starts."""
        state = "state deleted" if event.deleted else self._format_state(event.state)
        failed = [
            f"{one.n} failed: {self._format_failure(one.failure)}" for one in event.results if one.failure is not None
        ]
        signals = [f"{one.name} to {one.entity}" for one in event.signals]
        starts = [f"starts {one.name} as {one.instance}{', undelivered' * one.undelivered}" for one in event.starts]
        return "; ".join(filter(None, (f"up to {event.upto}", state, *failed, *signals, *starts)))

    def _format_state(self, state: Raw) -> str:
        return f"state {self._format_json(state)}" if state else ""

    def _format_failure(self, failure: Failure) -> str:
        """Format what was raised, and where: `ValueError: empty city at workflows/tour.py:41, activity visit`."""
        cause = make_cause(failure)
        text = f"{cause.type}: {self._truncate(cause.message)}" if cause.message else cause.type
        where = f" at {format_source_line(cause.at)}" if cause.at is not None else ""
        return ", ".join(filter(None, [f"{text}{where}", cause.task]))

    def _truncate(self, text: str) -> str:
        if self._full or len(text) <= _MAX_TEXT_LENGTH:
            return text
        self.was_cut = True
        return f"{text[:_MAX_TEXT_LENGTH]}… ({len(text):,} characters)"

    def _format_json(self, raw: Raw) -> str:
        if self._full:
            return format_json(raw, None)
        text = format_json(raw)
        self.was_cut |= text.endswith(" bytes)")  # as no JSON does
        return text

    def _format_not_before(self, time: datetime | None) -> str:
        return f", not before {self._format_time(time)}" if time else ""

    def _format_time(self, time: datetime) -> str:
        return format_milliseconds(time, self._now)


def decode_line(line: bytes) -> dict[str, Any]:
    """Decode a line of a file, without its checksum."""
    found: dict[str, Any] = msgspec.json.decode(line)
    del found["crc"]
    return found


def traceback_lines(event: ev.AnyEvent) -> list[str]:
    """Return the traceback of the failure in a record, or of those in the results of a batch."""
    failures = [one.failure for one in event.results] if isinstance(event, ev.EntityBatch) else [_get_failure(event)]
    return [line for each in failures if each for line in format_traceback(each).expandtabs().splitlines()]


def _get_failure(event: ev.AnyEvent) -> Failure | None:
    found: Failure | None = getattr(event, "failure", None)
    return found


def _format_label(label: str | None) -> str:
    """Format the name that the orchestrator gave to a call."""
    return f" [{label}]" if label else ""


def _format_version(version: str | None) -> str:
    return f", version {version}" if version else ""


def _format_action(event: ev.AnyEvent) -> str:
    """Format the number that a worker has given to its decision."""
    id = getattr(event, "id", None)
    return "" if id is None else f", action {id}"


def _format_tags(tags: dict[str, str]) -> str:
    return "".join(f", {key}={value}" for key, value in tags.items())


def _format_attempt(retried: PendingWait) -> str:
    """Format the number of an attempt: `, attempt 3 of 5`; of the timer before it, also of which call."""
    if retried.attempt is None or retried.attempt == 1:
        return ""
    total = f" of {retried.attempts}" if retried.attempts else ""
    if retried.kind == "retry":
        return f", for attempt {retried.attempt}{total} of {retried.name}"
    return f", attempt {retried.attempt}{total}"
