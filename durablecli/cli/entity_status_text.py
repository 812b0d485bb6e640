"""The text of `durable status` for an entity: its state, who holds its lock, what is queued, and what failed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime

from durablecli.cli.failure_text import format_source_line
from durablecli.cli.json_text import decode_raw
from durablecli.cli.time_format import format_short_time, format_time
from durablecli.cli.wait_reasons import (
    describe_blocked,
    describe_no_daemon,
    describe_quarantine,
    format_request,
)
from durablecli.client import EntityStatus, PendingEntityMessage, QueuedEntityRequest
from durablecli.client.wait_summary import format_worker_search
from durablecli.durations import format_duration
from durablecli.plurals import format_count

_MAX_LISTED = 10


def describe_entity(status: EntityStatus, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield the lines below the heading, each as label and text."""
    yield from describe_quarantine(status.set_aside, now)
    if status.created_time is not None:
        yield "created", format_time(status.created_time, now)
    if status.taken:
        yield "updated", format_time(status.last_updated_time, now)
    if status.exists:
        yield "state", decode_raw(status.shown_state)
    if (lock := status.locked_by) is not None:
        held = f", {_format_elapsed(lock.since, now)}" if lock.since else ""
        yield "locked by", f"{lock.instance}{held}    {_status_command(lock.instance)}"
    if status.backlog:
        yield "queued", format_count(status.backlog, "request")
    queued, running = status.queued, status.running
    if running is not None:
        worker = f" on worker {status.worker.worker}" if status.worker is not None and status.worker.worker else ""
        yield "running", _describe_running(queued[: running.operations], running.since, now) + worker
        queued = queued[running.operations :]
    elif status.worker is not None and status.blocked is None:
        yield "waits for", format_worker_search(status.worker)
    yield from _list_first("queued", [_describe_queued(one, now) for one in queued[:_MAX_LISTED]], len(queued))
    yield from _list_first(
        "scheduled", [_describe_scheduled(one, now) for one in status.scheduled[:_MAX_LISTED]], len(status.scheduled)
    )
    if (failure := status.last_failure) is not None:
        first, *_ = failure.message.splitlines() or [""]
        type = failure.type.removeprefix("builtins.")
        counted = f"{format_count(status.failures, 'operation')}; "
        last = f"{failure.operation} at {format_short_time(failure.at, now)}: {type}{first and ': '}{first}"
        yield "failed", f"{counted}{'' if status.failures == 1 else 'the last: '}{last}"
        if failure.source is not None:
            yield "", f"at {format_source_line(failure.source)}"
    yield from describe_blocked(status.blocked, now)
    yield from _list_first(
        "requested", [_describe_pending(one, now) for one in status.requested[:_MAX_LISTED]], len(status.requested)
    )
    if not status.engine.alive and (status.queued or status.scheduled or status.requested):
        yield describe_no_daemon(status.engine, now)


def _list_first(label: str, shown: list[str], count: int) -> Iterator[tuple[str, str]]:
    yield from ((label, text) for text in shown)
    if count > len(shown):
        yield "", f"… and {count - len(shown):,} more"


def _describe_running(operations: Sequence[QueuedEntityRequest], since: datetime, now: datetime) -> str:
    """Describe operations that run together; how many of them are done is known only to the engine."""
    first, *others = operations
    sender = f", from {first.sender}" if first.sender else ""
    more = f", and {len(others):,} more" if others else ""
    return f"{_format_request(first)}{sender}{more}, {_format_elapsed(since, now)}"


def _describe_queued(one: QueuedEntityRequest, now: datetime) -> str:
    if one.kind == "lock":
        return f"request of {one.sender} for the lock, {_format_elapsed(one.since, now)}"
    sender = f", from {one.sender}" if one.sender else ""
    return f"{_format_request(one)}, {_format_elapsed(one.since, now)}{sender}"


def _describe_scheduled(one: QueuedEntityRequest, now: datetime) -> str:
    if one.scheduled_time is None:
        return _format_request(one)
    left = one.scheduled_time - now
    when = f"in {format_duration(left)}" if one.scheduled_time > now else f"due for {format_duration(-left)}"
    return f"{_format_request(one)} at {format_time(one.scheduled_time, now)}, {when}"


def _describe_pending(one: PendingEntityMessage, now: datetime) -> str:
    due = f" at {format_time(one.scheduled_time, now)}" if one.scheduled_time else ""
    name = f" {one.name}" if one.name else ""
    return f"{one.kind}{name}{due}, {_format_elapsed(one.since, now)}; no engine has accepted it yet"


def _format_request(one: QueuedEntityRequest) -> str:
    return format_request(one.kind, one.name)


def _format_elapsed(since: datetime, now: datetime) -> str:
    return f"for {format_duration(now - since)}"


def _status_command(instance: str) -> str:
    return f"durable status {shlex.quote(instance)}"
