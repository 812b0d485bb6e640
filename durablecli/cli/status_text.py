"""The text of `durable status`: the status of an instance, what it waits for and why, and the command to use next."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from durablecli.cli.entity_status_text import describe_entity
from durablecli.cli.json_text import decode_raw
from durablecli.cli.output import STATUS_COLORS, Output
from durablecli.cli.time_format import format_duration, format_short_time, format_time
from durablecli.cli.wait_reasons import (
    describe_blocked,
    describe_no_daemon,
    describe_obstacles,
    describe_quarantine,
    format_activity_state,
    format_entities,
)
from durablecli.client import DurableOrchestrationStatus, EntityStatus
from durablecli.model.status import PendingWait
from durablecli.plurals import format_count

_MAX_LISTED = 10
_EVENT_STATES = {
    "posted": "not accepted by an engine yet",
    "held": "held until the instance is resumed",
    "unread": "unread: the instance is not waiting for it",
}


def print_status(output: Output, status: DurableOrchestrationStatus | EntityStatus, *, show_input: bool) -> None:
    """Print a heading, the payloads, and a line for everything that the instance or entity is waiting for."""
    now = datetime.now(UTC)
    if isinstance(status, EntityStatus):
        output.print_styled(f"{output.style(str(status.entity_id), None)}  {_style_status(output, status.status_name)}")
        rows = describe_entity(status, now)
    else:
        output.print_styled(_format_heading(output, status))
        rows = describe_status(status, now, show_input=show_input)
    for label, text in rows:
        output.print_line(f"{label:<10} {text}".rstrip())


def _format_heading(output: Output, status: DurableOrchestrationStatus) -> str:
    details = [f"version {status.version}"] if status.version else []
    if status.taken:
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
    yield "created", format_time(status.created_time)
    if status.taken:
        yield "updated", format_time(status.last_updated_time)
    if status.parent_instance_id:
        yield "parent", status.parent_instance_id
    if show_input:
        yield "input", decode_raw(status.shown_input)
    if decode_raw(status.raw_custom_status) != "null":
        yield "custom", decode_raw(status.raw_custom_status)
    if status.ended:
        yield "output", decode_raw(status.shown_output)
    else:
        yield from describe_reasons(status, now)
        yield from _describe_unread_events(status, now)
    for verb in status.requested:
        yield "requested", f"{verb}; no engine has accepted it yet"


def describe_reasons(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what a live instance is waiting for, and why it can't proceed."""
    name = shlex.quote(status.instance_id)
    if not status.taken and status.created_time is not None:
        why = "the engine starts it when there is room" if status.engine.alive else "no engine has accepted it yet"
        yield "Pending", f"{why} (posted {format_duration(now - status.created_time)} ago)"
        if status.start_at is not None and status.start_at > now:
            yield (
                "waits for",
                f"its start at {format_time(status.start_at)}, in {format_duration(status.start_at - now)}",
            )
    for one in status.waiting_for[:_MAX_LISTED]:
        first, *rest = _WAIT_FORMATTERS.get(one.kind, _describe_other)(one, now, name).split("\n")
        if first:
            yield "waits for", first
        yield from (("", line) for line in rest)
    if len(status.waiting_for) > _MAX_LISTED:
        yield "", f"… and {len(status.waiting_for) - _MAX_LISTED} more"
    for held in status.holds:
        since = f", since {format_short_time(held.since, now)}" if held.since else ""
        yield "holds", f"lock of {format_entities(held.entities)}{since}"
    if status.suspended is not None:
        kept = format_count(status.suspended.kept, "arrival")
        reason = f': "{status.suspended.reason}"' if status.suspended.reason else ""
        since = format_short_time(status.suspended.since, now)
        yield "suspended", f"since {since}{reason}; {kept} kept    durable resume {name}"
    yield from describe_blocked(status.blocked, now)
    if not status.engine.alive:
        yield describe_no_daemon(status.engine, now)


def _describe_unread_events(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the events that the instance has not read yet."""
    for event in status.unread_events[:_MAX_LISTED]:
        yield "event", f"{event.name}, since {format_short_time(event.since, now)}, {_EVENT_STATES[event.state]}"
    if len(status.unread_events) > _MAX_LISTED:
        yield "", f"… and {len(status.unread_events) - _MAX_LISTED} more"


def _describe_activity(one: PendingWait, now: datetime, name: str) -> str:
    attempt = f", attempt {one.attempt}" if one.attempt and one.attempt > 1 else ""
    return (
        f"activity {one.name} (id {one.id}{attempt}), {format_activity_state(one, now)}{_describe_obstacles(one, now)}"
    )


def _describe_event_wait(one: PendingWait, now: datetime, name: str) -> str:
    event = shlex.quote(one.name or "")
    return (
        f"event {one.name}, since {format_short_time(one.since, now)}    durable raise-event {name} {event} --data JSON"
    )


def _describe_timer(one: PendingWait, now: datetime, name: str) -> str:
    if one.fire_at is None:
        return "timer"
    left = (
        f"in {format_duration(one.fire_at - now)}"
        if one.fire_at > now
        else f"due for {format_duration(now - one.fire_at)}"
    )
    return f"timer at {format_time(one.fire_at)}, {left}"


def _describe_start(one: PendingWait, now: datetime, name: str) -> str:
    return (
        f"its start at {format_time(one.fire_at)}, in {format_duration(one.fire_at - now)}"
        if one.fire_at
        else "its start"
    )


def _describe_child(one: PendingWait, now: datetime, name: str) -> str:
    child = shlex.quote(one.child or "")
    return f"sub-orchestration {one.name} (id {one.id}), for {_format_elapsed(one, now)}    durable status {child}"


def _describe_operation(one: PendingWait, now: datetime, name: str) -> str:
    elapsed, obstacles = _format_elapsed(one, now), _describe_obstacles(one, now)
    return f"operation {one.name} of {one.entity} (id {one.id}), for {elapsed}{obstacles}"


def _describe_lock(one: PendingWait, now: datetime, name: str) -> str:
    """Describe a wait for locks; of several, name first the entity that it is waiting for, if that is known."""
    where = one.entity or format_entities(one.entities)
    among = f" (of {format_entities(one.entities)})" if one.entity and len(one.entities) > 1 else ""
    return f"lock of {where}{among}, for {_format_elapsed(one, now)}{_describe_obstacles(one, now)}"


def _describe_obstacles(one: PendingWait, now: datetime) -> str:
    """Describe what delays a wait, on lines of their own."""
    return "".join(
        f"\n{text}" + (f"    durable status {shlex.quote(whom)}" if whom else "")
        for text, whom in describe_obstacles(one, now)
    )


def _describe_other(one: PendingWait, now: datetime, name: str) -> str:
    return "" if one.kind == "suspended" else f"{one.kind} {one.name or ''}"


_WAIT_FORMATTERS: dict[str, Callable[[PendingWait, datetime, str], str]] = {
    "activity": _describe_activity,
    "event": _describe_event_wait,
    "timer": _describe_timer,
    "start": _describe_start,
    "child": _describe_child,
    "entity": _describe_operation,
    "lock": _describe_lock,
}


def _format_elapsed(one: PendingWait, now: datetime) -> str:
    return format_duration(now - one.since) if one.since else "0 s"
