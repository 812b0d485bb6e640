"""Why instances and entities can't proceed, as label and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from durablecli.cli.time_format import format_duration, format_short_time
from durablecli.client import (
    ActivityWait,
    BlockedInfo,
    EngineStatus,
    EntityWait,
    ExecutorUsage,
    QuarantineInfo,
    QueuedEntityRequest,
)
from durablecli.model.status import PendingWait
from durablecli.plurals import format_count

_MAX_LISTED = 3


def describe_blocked(found: BlockedInfo | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield why the code blocks an instance or entity."""
    if found is None:
        return
    first, *rest = found.reason.splitlines() or [""]
    yield "blocked", f"since {format_short_time(found.since, now)}: {first}"
    yield from (("", line.strip()) for line in rest)
    yield "", "resumes automatically once the code matches its history"


def describe_quarantine(found: QuarantineInfo | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield why an instance or entity is quarantined."""
    if found is None:
        return
    since = f"since {format_short_time(found.since, now)}: " if found.since is not None else ""
    yield "quarantine", f"{since}{found.reason}"
    if found.kept:
        yield "", f"{format_count(found.kept, 'message')} kept; delivered once it is repaired"


def describe_no_daemon(engine: EngineStatus, now: datetime) -> tuple[str, str]:
    """Return that no daemon is running, and when one was last seen."""
    seen = [f"last seen {format_short_time(engine.last_seen, now)}"] if engine.last_seen else []
    seen += [f"pid {engine.pid}"] if engine.pid else []
    last = f" ({', '.join(seen)})" if seen else ""
    return "no daemon", f"is running{last}; start one with: durable run-daemon"


def format_entities(entities: Sequence[str]) -> str:
    """Format the entities that are locked together; of many, only the first."""
    more = len(entities) - _MAX_LISTED
    return ", ".join(entities) if more <= 1 else f"{', '.join(entities[:_MAX_LISTED])} and {more} more"


def format_request(kind: str, name: str | None) -> str:
    """Describe a queued request of an entity."""
    if kind == "lock":
        return "a request for the lock"
    return f"operation {name}" if kind == "operation" else kind


def format_activity_state(one: PendingWait, now: datetime) -> str:
    """Format whether an activity is running or queued, and for how long; or else how long ago it was called."""
    if isinstance(one, ActivityWait) and one.state is not None and one.state_since is not None:
        return f"{one.state} for {format_duration(now - one.state_since)}"
    return f"for {format_duration(now - one.since)}" if one.since else "for 0 s"


_EXECUTOR_LABELS = {"thread": "threads", "process": "worker processes", "async": "async slots"}


def _describe_busy_executor(usage: ExecutorUsage, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what occupies the executor of a queued activity."""
    longest = usage.longest
    if longest is None:
        return
    suffix = ", cancelled" if longest.cancelled else ""
    text = f"{longest.name} of {longest.instance} for {format_duration(now - longest.since)}{suffix}"
    busy = f"{usage.running} {_EXECUTOR_LABELS.get(usage.executor, usage.executor)} are busy, the longest with {text}"
    yield busy if usage.running > 1 else f"behind {text}", longest.instance


def describe_obstacles(one: PendingWait, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield what delays an activity or a request to an entity, each with the id whose status shows more.

    That is the executor's work, the holder of the lock, the requests queued before, or why the entity is blocked.
    """
    if isinstance(one, ActivityWait):
        if one.behind is not None:
            yield from _describe_busy_executor(one.behind, now)
        return
    if not isinstance(one, EntityWait):
        return
    entity = one.entity or ""
    if one.holder is not None:
        since = f" since {format_short_time(one.held_since, now)}" if one.held_since else ""
        status = f", and is {one.holder_status}" if one.holder_status else ""
        yield f"{one.holder} holds the lock{since}{status}", one.holder
    runs = [f"running for {format_duration(now - one.running_since)}"] if one.running_since else []
    if one.first is not None:
        yield _format_queue_position(one.ahead, one.first, runs), entity
    elif runs:
        yield runs[0], ""
    if one.blocked is not None:
        first, *_ = one.blocked.splitlines() or [""]
        yield f"{entity} is blocked: {first}", entity


def _format_queue_position(ahead: int, first: QueuedEntityRequest, runs: list[str]) -> str:
    counted = f"{ahead:,} others, first " if ahead > 1 else ""
    sender = [f"from {first.sender}"] if first.sender else []
    return f"behind {counted}{', '.join([format_request(first.kind, first.name), *sender, *runs])}"
