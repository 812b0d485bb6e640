"""What `durable status` says: how an instance stands, what it waits for and why, and the command that would move it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from durablecli.cli.output import STATUS_COLORS, Output
from durablecli.cli.time_format import format_duration, format_short_time, format_time
from durablecli.cli.wait_reasons import (
    decode_raw,
    describe_blocked,
    describe_no_daemon,
    describe_obstacles,
    describe_quarantine,
    format_activity_state,
    format_entities,
)
from durablecli.client import DurableOrchestrationStatus, EntityStatus
from durablecli.model.status import PendingWait

_MAX_LISTED = 10
_EVENT_STATES = {
    "posted": "not taken by an engine yet",
    "held": "held until the instance goes on",
    "unread": "not read: the instance doesn't wait for it",
}


def print_status(output: Output, status: DurableOrchestrationStatus | EntityStatus, *, show_input: bool) -> None:
    """Head, payloads, and one line for each reason why it stands where it stands."""
    now = datetime.now(UTC)
    if isinstance(status, EntityStatus):
        from durablecli.cli.entity.entity_status_text import describe_entity as of_entity

        output.print_styled(f"{output.style(str(status.entity_id), None)}  {_style_status(output, status.status_name)}")
        rows = of_entity(status, now)
    else:
        output.print_styled(_format_heading(output, status))
        rows = describe_status(status, now, show_input=show_input)
    for label, text in rows:
        output.print_line(f"{label:<10} {text}".rstrip())


def _format_heading(output: Output, status: DurableOrchestrationStatus) -> str:
    word = status.runtime_status.value if status.runtime_status else "Unknown"
    details = [f"version {status.version}"] if status.version else []
    if status.taken:
        details.append(f"{status.records} record" + ("" if status.records == 1 else "s"))
    tail = f"  {', '.join(details)}" if details else ""
    head = f"{output.style(status.instance_id, None)}  {output.style(status.name or '', None)}"
    return f"{head}  {_style_status(output, word)}{output.style(tail, None)}"


def _style_status(output: Output, word: str) -> str:
    return output.style(word, STATUS_COLORS.get(word))


def describe_status(
    status: DurableOrchestrationStatus, now: datetime, *, show_input: bool
) -> Iterator[tuple[str, str]]:
    """The lines under the head, as label and text."""
    yield from describe_quarantine(status.set_aside, now)
    if status.created_time is None:
        return  # nothing of it can be read
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
        yield "requested", f"{verb}; no engine has taken it yet"


def describe_reasons(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Why a live instance stands where it stands."""
    name = shlex.quote(status.instance_id)
    if not status.taken and status.created_time is not None:
        yield "Pending", f"no daemon has taken it yet (posted {format_duration(now - status.created_time)} ago)"
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
        kept = f"{status.suspended.kept} arrival" + ("" if status.suspended.kept == 1 else "s")
        reason = f': "{status.suspended.reason}"' if status.suspended.reason else ""
        since = format_short_time(status.suspended.since, now)
        yield "suspended", f"since {since}{reason}; {kept} kept    durable resume {name}"
    yield from describe_blocked(status.blocked, now)
    if not status.engine.alive:
        yield describe_no_daemon(status.engine, now)


def _describe_unread_events(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """The events that nothing has read yet."""
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
    """The lock that it waits for; of several, all are named once it is known at which of them it waits."""
    where = one.entity or format_entities(one.entities)
    among = f" (of {format_entities(one.entities)})" if one.entity and len(one.entities) > 1 else ""
    return f"lock of {where}{among}, for {_format_elapsed(one, now)}{_describe_obstacles(one, now)}"


def _describe_obstacles(one: PendingWait, now: datetime) -> str:
    """What the entity says, on lines of their own."""
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
