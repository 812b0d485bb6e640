"""One record of a history as a row for people: number, time, kind, and what it is about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.cli.wait_reasons import named
from durablecli.model import events as ev
from durablecli.model.failures import Failure

HEAD = ("N", "TIME", "EVENT", "WHAT")
_LONGEST = 200
_LONGEST_TEXT = 2_000


def describe(record: ev.Record, *, short: bool = False) -> tuple[str, ...]:
    """The row of one record; `short` leaves the year out."""
    time = record.at.astimezone(UTC).strftime("%m-%d %H:%M:%S.%f" if short else "%Y-%m-%d %H:%M:%S.%f")[:-3]
    held = " (held)" if getattr(record.event, "held", False) else ""
    return str(record.n), time, f"{type(record.event).__name__}{held}", _what(record.event)


def plain(line: bytes) -> dict[str, Any]:
    """A line of a file as data, without the checksum."""
    found: dict[str, Any] = msgspec.json.decode(line)
    del found["crc"]
    return found


def _what(event: ev.AnyEvent) -> str:
    match event:
        case ev.ExecutionStarted():
            version = f", version {event.version}" if event.version else ""
            return f"{event.name}({_json(event.input)}){version}"
        case ev.TaskScheduled():
            return f"{event.name}({_json(event.input)}){_again(event.attempt, event.retry_of)}"
        case ev.SubOrchestrationInstanceCreated():
            return f"{event.name}({_json(event.input)}) as {event.instance}{_again(event.attempt, event.retry_of)}"
        case ev.TaskCompleted():
            return f"of {event.task}: {_json(event.result)}{_outputs(event.outputs)}"
        case ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
            return f"of {event.task}: {_json(event.result)}"
        case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
            return f"of {event.task}: {_failure(event.failure)}"
        case ev.EventRaised():
            sender = f", from {event.sender.instance}" if event.sender else ""
            return f"{event.name}: {_json(event.input)}{sender}"
        case ev.EventSent():
            return f"{event.name} to {event.instance}: {_json(event.input)}{', undelivered' * event.undelivered}"
        case ev.ExecutionCompleted():
            end = _failure(event.failure) if event.failure else _json(event.result or ev.NULL)
            return f"{event.status}: {end}"
        case _:
            return _what_of_the_rest(event)


def _what_of_the_rest(event: ev.AnyEvent) -> str:
    match event:
        case ev.TimerCreated():
            return f"due {event.fire_at.isoformat(' ', 'milliseconds')[:23]}{_again(1, event.retry_of)}"
        case ev.TimerFired() | ev.TimerCanceled():
            return f"of {event.timer}"
        case ev.EventAwaited():
            return event.name
        case ev.EventWaitsChanged():
            return ", ".join(f"{name} (id {n})" for n, name in event.waits) or "no wait takes events"
        case ev.CustomStatusSet():
            return _json(event.status)
        case ev.ContinueAsNew():
            return _json(event.input)
        case ev.OrchestratorStarted():
            return f"applies what is held up to {event.upto}"
        case ev.ExecutionRewound():
            return f"from {event.start}: {event.reason}"
        case _:
            return _what_of_entities(event)


def _what_of_entities(event: ev.AnyEvent) -> str:
    match event:
        case ev.EntityOperationCalled():
            return f"{event.name}({_json(event.input)}) of {event.entity}"
        case ev.EntityOperationSignaled():
            return f"{event.name}({_json(event.input)}) to {event.entity}{_not_before(event.scheduled_time)}"
        case ev.EntityLockRequested():
            return named(event.entities)
        case ev.EntityLockGranted():
            return f"of {event.task}"
        case ev.EntityUnlockSent():
            return f"of {event.lock}"
        case ev.EntityOperationReceived():
            sender = f", from {event.sender.instance}" if event.sender else ""
            return f"{event.name}({_json(event.input)}){sender}{_not_before(event.scheduled_time)}"
        case ev.EntityLockReceived() | ev.EntityUnlockReceived():
            return f"from {event.sender.instance}"
        case ev.EntityBatch():
            return _batch(event)
        case ev.EntitySnapshot():
            return f"up to {event.upto}: {_state(event.state) or 'no state'}"
        case _:
            return str(getattr(event, "reason", "")).split("\n")[0]


def _outputs(outputs: Sequence[ev.BindingOutput]) -> str:
    """The values set on output bindings, each with its status, as `; not sent: msg (queue) "hello"`."""
    return "".join(f"; {one.status}: {one.name} ({one.type}) {_output(one)}" for one in outputs)


def _output(output: ev.BindingOutput) -> str:
    size = "" if output.size is None else f" ({output.size:,} bytes)"
    return f"{_json(output.value)}{size}"


def _batch(event: ev.EntityBatch) -> str:
    """What came out of a batch: the state, if it is another, and what went wrong."""
    state = "state deleted" if event.deleted else _state(event.state)
    failed = [f"{one.n} failed: {_failure(one.failure)}" for one in event.results if one.failure is not None]
    signals = [f"{one.name} to {one.entity}" for one in event.signals]
    starts = [f"starts {one.name} as {one.instance}{', undelivered' * one.undelivered}" for one in event.starts]
    return "; ".join(filter(None, (f"up to {event.upto}", state, *failed, *signals, *starts)))


def _state(state: Raw) -> str:
    return f"state {_json(state)}" if state else ""


def _not_before(time: datetime | None) -> str:
    return f", not before {time.isoformat(' ', 'milliseconds')[:23]}" if time else ""


def _again(attempt: int, retry_of: int | None) -> str:
    if retry_of is None:
        return ""
    return f", attempt {attempt} of {retry_of}" if attempt > 1 else f", before a retry of {retry_of}"


def _json(raw: Raw) -> str:
    text = msgspec.json.format(raw, indent=-1)
    shown = bytes(memoryview(text)).decode()
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}… ({len(text):,} bytes)"


def _failure(failure: Failure) -> str:
    type = failure.type.removeprefix("builtins.")
    return f"{type}: {_cut(failure.message)}" if failure.message else type


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}… ({len(text):,} characters)"
