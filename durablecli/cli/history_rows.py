"""Formats a record of a history as a row of a table: number, time, event and details."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.cli.json_text import format_json
from durablecli.cli.wait_reasons import format_entities
from durablecli.model import events as ev
from durablecli.model.failures import Failure

HEADER = ("N", "TIME", "EVENT", "DETAILS")
_MAX_TEXT_LENGTH = 2_000


def format_record(record: ev.Record, *, short: bool = False) -> tuple[str, ...]:
    """Return the row of one record; `short` omits the year."""
    time = record.at.astimezone(UTC).strftime("%m-%d %H:%M:%S.%f" if short else "%Y-%m-%d %H:%M:%S.%f")[:-3]
    held = " (held)" if getattr(record.event, "held", False) else ""
    return str(record.n), time, f"{type(record.event).__name__}{held}", _describe_event(record.event)


def decode_line(line: bytes) -> dict[str, Any]:
    """Decode a line of a file, without its checksum."""
    found: dict[str, Any] = msgspec.json.decode(line)
    del found["crc"]
    return found


def _describe_event(event: ev.AnyEvent) -> str:
    match event:
        case ev.ExecutionStarted():
            version = f", version {event.version}" if event.version else ""
            return f"{event.name}({format_json(event.input)}){version}"
        case ev.TaskScheduled():
            return f"{event.name}({format_json(event.input)}){_format_retry(event.attempt, event.retry_of)}"
        case ev.SubOrchestrationInstanceCreated():
            retry = _format_retry(event.attempt, event.retry_of)
            return f"{event.name}({format_json(event.input)}) as {event.instance}{retry}"
        case ev.TaskCompleted():
            return f"of {event.task}: {format_json(event.result)}{_format_outputs(event.outputs)}"
        case ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
            return f"of {event.task}: {format_json(event.result)}"
        case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
            return f"of {event.task}: {_format_failure(event.failure)}"
        case ev.EventRaised():
            sender = f", from {event.sender.instance}" if event.sender else ""
            return f"{event.name}: {format_json(event.input)}{sender}"
        case ev.EventSent():
            return f"{event.name} to {event.instance}: {format_json(event.input)}{', undelivered' * event.undelivered}"
        case ev.ExecutionCompleted():
            end = _format_failure(event.failure) if event.failure else format_json(event.result or ev.NULL)
            return f"{event.status}: {end}"
        case _:
            return _describe_other_event(event)


def _describe_other_event(event: ev.AnyEvent) -> str:
    match event:
        case ev.TimerCreated():
            return f"due {event.fire_at.isoformat(' ', 'milliseconds')[:23]}{_format_retry(1, event.retry_of)}"
        case ev.TimerFired() | ev.TimerCanceled():
            return f"of {event.timer}"
        case ev.EventAwaited():
            return event.name
        case ev.EventWaitsChanged():
            return ", ".join(f"{name} (id {n})" for n, name in event.waits) or "no open wait"
        case ev.CustomStatusSet():
            return format_json(event.status)
        case ev.ContinueAsNew():
            return format_json(event.input)
        case ev.OrchestratorStarted():
            return f"up to held record {event.upto}"
        case ev.ExecutionRewound():
            return f"from {event.start}: {event.reason}"
        case _:
            return _describe_entity_event(event)


def _describe_entity_event(event: ev.AnyEvent) -> str:
    match event:
        case ev.EntityOperationCalled():
            return f"{event.name}({format_json(event.input)}) of {event.entity}"
        case ev.EntityOperationSignaled():
            return (
                f"{event.name}({format_json(event.input)}) to {event.entity}{_format_not_before(event.scheduled_time)}"
            )
        case ev.EntityLockRequested():
            return format_entities(event.entities)
        case ev.EntityLockGranted():
            return f"of {event.task}"
        case ev.EntityUnlockSent():
            return f"of {event.lock}"
        case ev.EntityOperationReceived():
            sender = f", from {event.sender.instance}" if event.sender else ""
            return f"{event.name}({format_json(event.input)}){sender}{_format_not_before(event.scheduled_time)}"
        case ev.EntityLockReceived() | ev.EntityUnlockReceived():
            return f"from {event.sender.instance}"
        case ev.EntityBatch():
            return _format_batch(event)
        case ev.EntitySnapshot():
            return f"up to {event.upto}: {_format_state(event.state) or 'no state'}"
        case _:
            return str(getattr(event, "reason", "")).split("\n")[0]


def _format_outputs(outputs: Sequence[ev.BindingOutput]) -> str:
    """Format the values of output bindings, each with its status: `; not sent: msg (queue) "hello"`."""
    return "".join(f"; {one.status}: {one.name} ({one.type}) {_format_output(one)}" for one in outputs)


def _format_output(output: ev.BindingOutput) -> str:
    size = "" if output.size is None else f" ({output.size:,} bytes)"
    return f"{format_json(output.value)}{size}"


def _format_batch(event: ev.EntityBatch) -> str:
    """Format the results of a batch: the new state, if it changed, failures, signals and starts."""
    state = "state deleted" if event.deleted else _format_state(event.state)
    failed = [f"{one.n} failed: {_format_failure(one.failure)}" for one in event.results if one.failure is not None]
    signals = [f"{one.name} to {one.entity}" for one in event.signals]
    starts = [f"starts {one.name} as {one.instance}{', undelivered' * one.undelivered}" for one in event.starts]
    return "; ".join(filter(None, (f"up to {event.upto}", state, *failed, *signals, *starts)))


def _format_state(state: Raw) -> str:
    return f"state {format_json(state)}" if state else ""


def _format_not_before(time: datetime | None) -> str:
    return f", not before {time.isoformat(' ', 'milliseconds')[:23]}" if time else ""


def _format_retry(attempt: int, retry_of: int | None) -> str:
    if retry_of is None:
        return ""
    return f", attempt {attempt} of {retry_of}" if attempt > 1 else f", before a retry of {retry_of}"


def _format_failure(failure: Failure) -> str:
    type = failure.type.removeprefix("builtins.")
    return f"{type}: {_truncate(failure.message)}" if failure.message else type


def _truncate(text: str) -> str:
    return text if len(text) <= _MAX_TEXT_LENGTH else f"{text[:_MAX_TEXT_LENGTH]}… ({len(text):,} characters)"
