"""What `durable status` says of an entity: its state, who holds its lock, what waits its turn, and what went wrong."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime

from durablecli.cli.time_format import clock, moment, span
from durablecli.cli.wait_reasons import asked, blocked, no_daemon, set_aside, text_of
from durablecli.client import EntityStatus, Queued, Requested

_MOST = 10


def lines(status: EntityStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """The lines under the head, as label and text."""
    yield from set_aside(status.set_aside, now)
    if status.taken:
        yield "created", moment(status.created_time)
        yield "updated", moment(status.last_updated_time)
    if status.exists:
        yield "state", text_of(status.raw_state)
    if (lock := status.locked_by) is not None:
        yield "locked by", f"{lock.instance}, {_for(lock.since, now)}    {_ask(lock.instance)}"
    queued, running = status.queued, status.running
    if running is not None:
        yield "running", _running(queued[: running.operations], running.since, now)
        queued = queued[running.operations :]
    yield from _some("queued", [_queued(one, now) for one in queued[:_MOST]], len(queued))
    yield from _some("scheduled", [_scheduled(one, now) for one in status.scheduled[:_MOST]], len(status.scheduled))
    if (failure := status.last_failure) is not None:
        first, *_ = failure.message.splitlines() or [""]
        type = failure.type.removeprefix("builtins.")
        counted = f"{status.failures} operation{'' if status.failures == 1 else 's'}; "
        told = f"{failure.operation} at {clock(failure.at, now)}: {type}{first and ': '}{first}"
        yield "failed", f"{counted}{'' if status.failures == 1 else 'the last: '}{told}"
    yield from blocked(status.blocked, now)
    yield from _some("requested", [_posted(one, now) for one in status.requested[:_MOST]], len(status.requested))
    if not status.engine.alive and (status.queued or status.scheduled or status.requested):
        yield no_daemon(status.engine, now)


def _some(label: str, shown: list[str], count: int) -> Iterator[tuple[str, str]]:
    yield from ((label, text) for text in shown)
    if count > len(shown):
        yield "", f"… and {count - len(shown):,} more"


def _running(operations: Sequence[Queued], since: datetime, now: datetime) -> str:
    """What runs together; nobody outside the engine knows how far it has come."""
    first, *others = operations
    sender = f", from {first.sender}" if first.sender else ""
    more = f", and the {len(others):,} behind it" if others else ""
    return f"{_what(first)}{sender}{more}, {_for(since, now)}"


def _queued(one: Queued, now: datetime) -> str:
    if one.kind == "lock":
        return f"request of {one.sender} for the lock, {_for(one.since, now)}"
    sender = f", from {one.sender}" if one.sender else ""
    return f"{_what(one)}, {_for(one.since, now)}{sender}"


def _scheduled(one: Queued, now: datetime) -> str:
    if one.scheduled_time is None:
        return _what(one)
    left = one.scheduled_time - now
    when = f"in {span(left)}" if one.scheduled_time > now else f"due for {span(-left)}"
    return f"{_what(one)} at {moment(one.scheduled_time)}, {when}"


def _posted(one: Requested, now: datetime) -> str:
    due = f" at {moment(one.scheduled_time)}" if one.scheduled_time else ""
    return f"{one.kind}{f' {one.name}' if one.name else ''}{due}, {_for(one.since, now)}; no engine has taken it yet"


def _what(one: Queued) -> str:
    return asked(one.kind, one.name)


def _for(since: datetime, now: datetime) -> str:
    return f"for {span(now - since)}"


def _ask(instance: str) -> str:
    return f"durable status {shlex.quote(instance)}"
