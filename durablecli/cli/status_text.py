"""The text of `durable status`: the status of an instance, what it waits for and why, and the command to use next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import datetime

from durablecli.cli.entity_status_text import describe_entity
from durablecli.cli.failure_text import describe_failure, describe_task_failures, has_more_to_say, traceback_lines
from durablecli.cli.json_text import CUT_HINT, cut_text, decode_raw
from durablecli.cli.output import STATUS_COLORS, Output
from durablecli.cli.time_format import format_short_time, format_time
from durablecli.cli.wait_reasons import (
    describe_blocked,
    describe_no_daemon,
    describe_obstacles,
    describe_quarantine,
    format_activity_state,
    format_attempt,
    format_call,
    format_due,
    format_elapsed,
    format_live_report,
    format_progress,
    format_task_counts,
    format_turn,
)
from durablecli.client import DurableOrchestrationStatus, EntityStatus
from durablecli.client.wait_summary import format_entities
from durablecli.durations import format_duration
from durablecli.model.status import PendingWait
from durablecli.plurals import format_count

_MAX_LISTED = 10
_PAYLOAD_LABELS = ("input", "custom", "output", "state")
_MAX_PAYLOAD_LENGTH = 2_000
_EVENT_STATES = {
    "posted": "not accepted by an engine yet",
    "held": "held until the instance can proceed",
    "unread": "unread: the instance is not waiting for it",
}


def print_status(
    output: Output, status: DurableOrchestrationStatus | EntityStatus, now: datetime, *, show_input: bool, full: bool
) -> None:
    """Print a heading, the payloads, and a line for everything that the instance or entity is waiting for.

    Unless `full`, long payloads are cut.
    """
    if isinstance(status, EntityStatus):
        output.print_styled(f"{output.style(str(status.entity_id), None)}  {_style_status(output, status.status_name)}")
        rows = describe_entity(status, now)
    else:
        output.print_styled(_format_heading(output, status))
        rows = describe_status(status, now, show_input=show_input)
    for label, text in rows:
        is_cut = not full and label in _PAYLOAD_LABELS and len(text) > _MAX_PAYLOAD_LENGTH
        shown = cut_text(text, _MAX_PAYLOAD_LENGTH) + CUT_HINT if is_cut else text
        output.print_line(f"{label:<10} {shown}".rstrip())


def _format_heading(output: Output, status: DurableOrchestrationStatus) -> str:
    details = [f"version {status.version}"] if status.version else []
    if status.taken and not status.partial:
        details.append(format_count(status.records, "record"))
    tail = f"  {', '.join(details)}" if details else ""
    head = f"{output.style(status.instance_id, None)}  {output.style(status.name or '', None)}"
    return f"{head}  {_style_status(output, status.status_name)}{output.style(tail, None)}"


def _style_status(output: Output, name: str) -> str:
    return output.style(name, STATUS_COLORS.get(name))


def describe_status(
    status: DurableOrchestrationStatus, now: datetime, *, show_input: bool
) -> Iterator[tuple[str, str]]:
    """Yield the lines below the heading, each as label and text."""
    yield from describe_quarantine(status.set_aside, now)
    if status.created_time is None:
        return  # the history can't be read
    yield "created", format_time(status.created_time, now)
    if status.taken or status.partial:
        yield "updated", format_time(status.last_updated_time, now)
    if status.parent_instance_id:
        yield "parent", status.parent_instance_id
    if status.forked_from is not None:
        yield "forked", f"from {status.forked_from.instance}, before record {status.forked_from.n}"
    if status.tags:
        yield "tags", ", ".join(f"{key}={value}" for key, value in status.tags.items())
    if show_input:
        yield "input", decode_raw(status.shown_input)
    if decode_raw(status.raw_custom_status) != "null":
        yield "custom", decode_raw(status.shown_custom_status)
    if status.progress is not None:
        yield "progress", format_progress(status.progress)
    if status.task_counts.total > 1:
        yield "tasks", format_task_counts(status.task_counts)
    if status.failure is not None:
        yield from _label_first("failed", describe_failure(status.failure))
    elif status.ended:
        yield "output", decode_raw(status.shown_output)
    else:
        yield from describe_reasons(status, now)
        yield from _describe_unread_events(status, now)
    if has_more_to_say(status.task_failures, status.failure):
        yield from _label_first("failures", describe_task_failures(status.task_failures))
    for verb in status.requested:
        yield "requested", f"{verb}; no engine has accepted it yet"


def _label_first(label: str, lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    for at, line in enumerate(lines):
        yield "" if at else label, line


def print_tracebacks(output: Output, status: DurableOrchestrationStatus | EntityStatus) -> None:
    """Print the tracebacks of the failures of an instance and its tasks, or of an entity's last failure."""
    if isinstance(status, EntityStatus):
        last = status.last_failure
        lines = iter([] if last is None else last.traceback.expandtabs().splitlines())
    else:
        lines = traceback_lines(status.failure, status.task_failures)
    for at, line in enumerate(lines):
        if not at:
            output.print_line()
        output.print_line(line)


def describe_reasons(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what a live instance is waiting for, and why it can't proceed."""
    name = shlex.quote(status.instance_id)
    if status.partial:
        yield from _describe_delayed_start(status, now)
        return
    if not status.taken and status.created_time is not None:
        why = "the engine starts it when there is room" if status.engine.alive else "no engine has accepted it yet"
        yield "Pending", f"{why} (posted {format_duration(now - status.created_time)} ago)"
        yield from _describe_delayed_start(status, now)
    for one in status.waiting_for[:_MAX_LISTED]:
        first, *rest = _WAIT_FORMATTERS.get(one.kind, _describe_other)(one, now, name).split("\n")
        if first:
            yield "waits for", first
        yield from (("", line) for line in rest)
    if len(status.waiting_for) > _MAX_LISTED:
        yield "", f"… and {len(status.waiting_for) - _MAX_LISTED} more"
    if status.is_remote and not status.waiting_for and status.blocked is None:
        yield "waits for", "what its code awaits, such as an external event: workers don't tell"
    elif status.status_name == "Running" and not status.waiting_for and status.blocked is None:
        yield "waits for", "its next turn: what it was waiting for has arrived"
    for held in status.holds:
        since = f", since {format_short_time(held.since, now)}" if held.since else ""
        yield "holds", f"lock of {format_entities(held.entities)}{since}"
    if status.suspended is not None:
        kept = format_count(status.suspended.kept, "arrival")
        reason = f': "{status.suspended.reason}"' if status.suspended.reason else ""
        since = format_short_time(status.suspended.since, now)
        yield "suspended", f"since {since}{reason}; {kept} kept    durable resume {name}"
    yield from describe_blocked(status.blocked, now)
    if status.blocked is not None and status.is_remote:
        yield "", "its last turn ran on a worker: durable run-daemon --grpc serves workers"
    if status.lacks_engine:
        yield describe_no_daemon(status.engine, now)


def _describe_delayed_start(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    if status.status_name == "Pending" and status.start_at is not None and status.start_at > now:
        due = format_duration(status.start_at - now)
        yield "waits for", f"its start at {format_time(status.start_at, now)}, in {due}"


def _describe_unread_events(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the events that the instance has not read yet."""
    for event in status.unread_events[:_MAX_LISTED]:
        yield "event", f"{event.name}, since {format_short_time(event.since, now)}, {_EVENT_STATES[event.state]}"
    if len(status.unread_events) > _MAX_LISTED:
        yield "", f"… and {len(status.unread_events) - _MAX_LISTED} more"


def _describe_activity(one: PendingWait, now: datetime, name: str) -> str:
    attempt = f", {format_attempt(one)}" if one.attempt and one.attempt > 1 else ""
    error = f", last error: {one.last_error}" if one.last_error else ""
    state = format_activity_state(one, now)
    reported = format_live_report(one, now)
    obstacles = _describe_obstacles(one, now)
    return f"activity {format_call(one)} (id {one.id}{attempt}), {state}{reported}{error}{obstacles}"


def _describe_event_wait(one: PendingWait, now: datetime, name: str) -> str:
    event = shlex.quote(one.name or "")
    return (
        f"event {one.name}, since {format_short_time(one.since, now)}    durable raise-event {name} {event} --data JSON"
    )


def _describe_timer(one: PendingWait, now: datetime, name: str) -> str:
    if one.fire_at is None:
        return "timer"
    return f"timer at {format_time(one.fire_at, now)}, {format_due(one.fire_at, now)}"


def _describe_retry(one: PendingWait, now: datetime, name: str) -> str:
    due = format_due(one.fire_at, now, "next")
    error = f", last error: {one.last_error}" if one.last_error else ""
    return f"retry of {format_call(one) or 'a call'}, {format_attempt(one)}, {due}{error}"


def _describe_start(one: PendingWait, now: datetime, name: str) -> str:
    return (
        f"its start at {format_time(one.fire_at, now)}, in {format_duration(one.fire_at - now)}"
        if one.fire_at
        else "its start"
    )


def _describe_child(one: PendingWait, now: datetime, name: str) -> str:
    child = shlex.quote(one.child or "")
    elapsed = format_elapsed(one, now)
    return f"sub-orchestration {format_call(one)} (id {one.id}), {elapsed}    durable status {child}"


def _describe_operation(one: PendingWait, now: datetime, name: str) -> str:
    elapsed, obstacles = format_elapsed(one, now), _describe_obstacles(one, now)
    return f"operation {one.name} of {one.entity} (id {one.id}), {elapsed}{obstacles}"


def _describe_lock(one: PendingWait, now: datetime, name: str) -> str:
    """Describe a wait for locks; of several, name first the entity that it is waiting for, if that is known."""
    where = one.entity or format_entities(one.entities)
    among = f" (of {format_entities(one.entities)})" if one.entity and len(one.entities) > 1 else ""
    return f"lock of {where}{among}, {format_elapsed(one, now)}{_describe_obstacles(one, now)}"


def _describe_obstacles(one: PendingWait, now: datetime) -> str:
    """Describe what delays a wait, on lines of their own."""
    return "".join(
        f"\n{text}" + (f"    durable status {shlex.quote(whom)}" if whom else "")
        for text, whom in describe_obstacles(one, now)
    )


def _describe_turn(one: PendingWait, now: datetime, name: str) -> str:
    return format_turn(one, now)


def _describe_other(one: PendingWait, now: datetime, name: str) -> str:
    return "" if one.kind == "suspended" else f"{one.kind} {one.name or ''}"


_WAIT_FORMATTERS: dict[str, Callable[[PendingWait, datetime, str], str]] = {
    "activity": _describe_activity,
    "event": _describe_event_wait,
    "timer": _describe_timer,
    "retry": _describe_retry,
    "start": _describe_start,
    "child": _describe_child,
    "entity": _describe_operation,
    "lock": _describe_lock,
    "turn": _describe_turn,
}
