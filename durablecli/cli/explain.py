"""What `durable status` says: how an instance stands, what it waits for and why, and the command that would move it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from durablecli.cli.render import COLORS, Screen
from durablecli.cli.times import clock, moment, span
from durablecli.client import DurableOrchestrationStatus
from durablecli.model.status import Waiting

_MOST = 10


def show(screen: Screen, status: DurableOrchestrationStatus, *, show_input: bool) -> None:
    """Head, payloads, and one line for each reason why it stands where it stands."""
    word = status.runtime_status.value if status.runtime_status else ""
    details = [f"version {status.version}"] if status.version else []
    if status.taken:
        details.append(f"{status.records} record" + ("" if status.records == 1 else "s"))
    tail = f"  {', '.join(details)}" if details else ""
    head = f"{screen.paint(status.instance_id, None)}  {screen.paint(status.name or '', None)}"
    screen.painted(f"{head}  {screen.paint(word, COLORS.get(word))}{screen.paint(tail, None)}")
    for label, text in lines(status, datetime.now(UTC), show_input=show_input):
        _labelled(screen, label, text)


def lines(status: DurableOrchestrationStatus, now: datetime, *, show_input: bool) -> Iterator[tuple[str, str]]:
    """The lines under the head, as label and text."""
    yield "created", moment(status.created_time)
    if status.taken:
        yield "updated", moment(status.last_updated_time)
    if status.parent_instance_id:
        yield "parent", status.parent_instance_id
    if show_input:
        yield "input", _json(status.raw_input)
    if _json(status.raw_custom_status) != "null":
        yield "custom", _json(status.raw_custom_status)
    if status.ended:
        yield "output", _json(status.raw_output)
    else:
        yield from reasons(status, now)
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
        if text := _WAITS.get(one.kind, _other)(one, now, name):
            yield "waits for", text
    if len(status.waiting_for) > _MOST:
        yield "", f"… and {len(status.waiting_for) - _MOST} more"
    if status.suspended is not None:
        kept = f"{status.suspended.kept} arrival" + ("" if status.suspended.kept == 1 else "s")
        since = clock(status.suspended.since, now)
        yield "suspended", f'since {since}: "{status.suspended.reason}"; {kept} kept    durable resume {name}'
    if status.blocked is not None:
        first, *rest = status.blocked.reason.splitlines() or [""]
        yield "blocked", f"since {clock(status.blocked.since, now)}: {first}"
        yield from (("", line.strip()) for line in rest)
        yield "", "it goes on when the code fits again"
    if not status.engine.alive:
        yield "no daemon", f"is running{_last(status, now)}: nothing will move    durable run-daemon"


def _last(status: DurableOrchestrationStatus, now: datetime) -> str:
    engine = status.engine
    seen = [f"last seen {clock(engine.last_seen, now)}"] if engine.last_seen else []
    seen += [f"pid {engine.pid}"] if engine.pid else []
    return f" ({', '.join(seen)})" if seen else ""


def _activity(one: Waiting, now: datetime, name: str) -> str:
    attempt = f", attempt {one.attempt}" if one.attempt and one.attempt > 1 else ""
    return f"activity {one.name} (id {one.id}{attempt}), for {_for(one, now)}"


def _event(one: Waiting, now: datetime, name: str) -> str:
    event = shlex.quote(one.name or "")
    return f"event {one.name}, since {clock(one.since, now)}    durable raise-event {name} {event} --data JSON"


def _timer(one: Waiting, now: datetime, name: str) -> str:
    if one.fire_at is None:
        return "timer"
    left = f"in {span(one.fire_at - now)}" if one.fire_at > now else f"due for {span(now - one.fire_at)}"
    return f"timer at {moment(one.fire_at)}, {left}"


def _start(one: Waiting, now: datetime, name: str) -> str:
    return f"its start at {moment(one.fire_at)}, in {span(one.fire_at - now)}" if one.fire_at else "its start"


def _child(one: Waiting, now: datetime, name: str) -> str:
    child = shlex.quote(one.child or "")
    return f"sub-orchestration {one.name} (id {one.id}), for {_for(one, now)}    durable status {child}"


def _other(one: Waiting, now: datetime, name: str) -> str:
    return "" if one.kind == "suspended" else f"{one.kind} {one.name or ''}"


_WAITS: dict[str, Callable[[Waiting, datetime, str], str]] = {
    "activity": _activity,
    "event": _event,
    "timer": _timer,
    "start": _start,
    "child": _child,
}


def _for(one: Waiting, now: datetime) -> str:
    return span(now - one.since) if one.since else "0 s"


def _json(raw: object) -> str:
    return bytes(memoryview(raw)).decode()  # type: ignore[arg-type]  # a Raw is a buffer, which typeshed can't say


def _labelled(screen: Screen, label: str, text: str) -> None:
    screen.line(f"{label:<10} {text}".rstrip())
