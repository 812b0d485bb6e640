"""What `durable status` says: how an instance stands, what it waits for and why, and the command that would move it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from durablecli.cli.output import COLORS, Screen
from durablecli.cli.time_format import clock, moment, span
from durablecli.cli.wait_reasons import blocked, in_the_way, named, no_daemon, set_aside, state_of, text_of
from durablecli.client import DurableOrchestrationStatus, EntityStatus
from durablecli.model.status import PendingWait

_MOST = 10
_EVENT_STATES = {
    "posted": "not taken by an engine yet",
    "held": "held until the instance goes on",
    "unread": "not read: the instance doesn't wait for it",
}


def show(screen: Screen, status: DurableOrchestrationStatus | EntityStatus, *, show_input: bool) -> None:
    """Head, payloads, and one line for each reason why it stands where it stands."""
    now = datetime.now(UTC)
    if isinstance(status, EntityStatus):
        from durablecli.cli.entity.entity_status_text import lines as of_entity

        screen.painted(f"{screen.paint(str(status.entity_id), None)}  {_painted(screen, status.word)}")
        told = of_entity(status, now)
    else:
        screen.painted(_head(screen, status))
        told = lines(status, now, show_input=show_input)
    for label, text in told:
        screen.line(f"{label:<10} {text}".rstrip())


def _head(screen: Screen, status: DurableOrchestrationStatus) -> str:
    word = status.runtime_status.value if status.runtime_status else "Unknown"
    details = [f"version {status.version}"] if status.version else []
    if status.taken:
        details.append(f"{status.records} record" + ("" if status.records == 1 else "s"))
    tail = f"  {', '.join(details)}" if details else ""
    head = f"{screen.paint(status.instance_id, None)}  {screen.paint(status.name or '', None)}"
    return f"{head}  {_painted(screen, word)}{screen.paint(tail, None)}"


def _painted(screen: Screen, word: str) -> str:
    return screen.paint(word, COLORS.get(word))


def lines(status: DurableOrchestrationStatus, now: datetime, *, show_input: bool) -> Iterator[tuple[str, str]]:
    """The lines under the head, as label and text."""
    yield from set_aside(status.set_aside, now)
    if status.created_time is None:
        return  # nothing of it can be read
    yield "created", moment(status.created_time)
    if status.taken:
        yield "updated", moment(status.last_updated_time)
    if status.parent_instance_id:
        yield "parent", status.parent_instance_id
    if show_input:
        yield "input", text_of(status.shown_input)
    if text_of(status.raw_custom_status) != "null":
        yield "custom", text_of(status.raw_custom_status)
    if status.ended:
        yield "output", text_of(status.shown_output)
    else:
        yield from reasons(status, now)
        yield from _unread(status, now)
    for verb in status.requested:
        yield "requested", f"{verb}; no engine has taken it yet"


def reasons(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Why a live instance stands where it stands."""
    name = shlex.quote(status.instance_id)
    if not status.taken and status.created_time is not None:
        yield "Pending", f"no daemon has taken it yet (posted {span(now - status.created_time)} ago)"
        if status.start_at is not None and status.start_at > now:
            yield "waits for", f"its start at {moment(status.start_at)}, in {span(status.start_at - now)}"
    for one in status.waiting_for[:_MOST]:
        first, *rest = _WAITS.get(one.kind, _other)(one, now, name).split("\n")
        if first:
            yield "waits for", first
        yield from (("", line) for line in rest)
    if len(status.waiting_for) > _MOST:
        yield "", f"… and {len(status.waiting_for) - _MOST} more"
    for held in status.holds:
        since = f", since {clock(held.since, now)}" if held.since else ""
        yield "holds", f"lock of {named(held.entities)}{since}"
    if status.suspended is not None:
        kept = f"{status.suspended.kept} arrival" + ("" if status.suspended.kept == 1 else "s")
        reason = f': "{status.suspended.reason}"' if status.suspended.reason else ""
        since = clock(status.suspended.since, now)
        yield "suspended", f"since {since}{reason}; {kept} kept    durable resume {name}"
    yield from blocked(status.blocked, now)
    if not status.engine.alive:
        yield no_daemon(status.engine, now)


def _unread(status: DurableOrchestrationStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """The events that nothing has read yet."""
    for event in status.unread_events[:_MOST]:
        yield "event", f"{event.name}, since {clock(event.since, now)}, {_EVENT_STATES[event.state]}"
    if len(status.unread_events) > _MOST:
        yield "", f"… and {len(status.unread_events) - _MOST} more"


def _activity(one: PendingWait, now: datetime, name: str) -> str:
    attempt = f", attempt {one.attempt}" if one.attempt and one.attempt > 1 else ""
    return f"activity {one.name} (id {one.id}{attempt}), {state_of(one, now)}{_in_its_way(one, now)}"


def _event(one: PendingWait, now: datetime, name: str) -> str:
    event = shlex.quote(one.name or "")
    return f"event {one.name}, since {clock(one.since, now)}    durable raise-event {name} {event} --data JSON"


def _timer(one: PendingWait, now: datetime, name: str) -> str:
    if one.fire_at is None:
        return "timer"
    left = f"in {span(one.fire_at - now)}" if one.fire_at > now else f"due for {span(now - one.fire_at)}"
    return f"timer at {moment(one.fire_at)}, {left}"


def _start(one: PendingWait, now: datetime, name: str) -> str:
    return f"its start at {moment(one.fire_at)}, in {span(one.fire_at - now)}" if one.fire_at else "its start"


def _child(one: PendingWait, now: datetime, name: str) -> str:
    child = shlex.quote(one.child or "")
    return f"sub-orchestration {one.name} (id {one.id}), for {_for(one, now)}    durable status {child}"


def _operation(one: PendingWait, now: datetime, name: str) -> str:
    return f"operation {one.name} of {one.entity} (id {one.id}), for {_for(one, now)}{_in_its_way(one, now)}"


def _lock(one: PendingWait, now: datetime, name: str) -> str:
    """The lock that it waits for; of several, all are named once it is known at which of them it waits."""
    where = one.entity or named(one.entities)
    among = f" (of {named(one.entities)})" if one.entity and len(one.entities) > 1 else ""
    return f"lock of {where}{among}, for {_for(one, now)}{_in_its_way(one, now)}"


def _in_its_way(one: PendingWait, now: datetime) -> str:
    """What the entity says, on lines of their own."""
    return "".join(
        f"\n{text}" + (f"    durable status {shlex.quote(whom)}" if whom else "") for text, whom in in_the_way(one, now)
    )


def _other(one: PendingWait, now: datetime, name: str) -> str:
    return "" if one.kind == "suspended" else f"{one.kind} {one.name or ''}"


_WAITS: dict[str, Callable[[PendingWait, datetime, str], str]] = {
    "activity": _activity,
    "event": _event,
    "timer": _timer,
    "start": _start,
    "child": _child,
    "entity": _operation,
    "lock": _lock,
}


def _for(one: PendingWait, now: datetime) -> str:
    return span(now - one.since) if one.since else "0 s"
