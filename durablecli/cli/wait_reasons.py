"""The reasons for standing still that instances and entities have in common, as label and text."""

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

_MAX_LISTED = 3


def describe_blocked(found: BlockedInfo | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Why the code doesn't let it go on."""
    if found is None:
        return
    first, *rest = found.reason.splitlines() or [""]
    yield "blocked", f"since {format_short_time(found.since, now)}: {first}"
    yield from (("", line.strip()) for line in rest)
    yield "", "it goes on when the code fits again"


def describe_quarantine(found: QuarantineInfo | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Why the engine leaves it alone."""
    if found is None:
        return
    since = f"since {format_short_time(found.since, now)}: " if found.since is not None else ""
    yield "set aside", f"{since}{found.reason}"
    if found.kept:
        yield "", f"{found.kept:,} message{'' if found.kept == 1 else 's'} kept for it; delivered once it is repaired"


def describe_no_daemon(engine: EngineStatus, now: datetime) -> tuple[str, str]:
    """That nobody is there to move it."""
    seen = [f"last seen {format_short_time(engine.last_seen, now)}"] if engine.last_seen else []
    seen += [f"pid {engine.pid}"] if engine.pid else []
    last = f" ({', '.join(seen)})" if seen else ""
    return "no daemon", f"is running{last}: nothing will move    durable run-daemon"


def format_entities(entities: Sequence[str]) -> str:
    """Entities that are locked together; of many, the first."""
    more = len(entities) - _MAX_LISTED
    return ", ".join(entities) if more <= 1 else f"{', '.join(entities[:_MAX_LISTED])} and {more} more"


def format_request(kind: str, name: str | None) -> str:
    """What stands in an entity's line, in words."""
    if kind == "lock":
        return "a request for the lock"
    return f"operation {name}" if kind == "operation" else kind


def format_activity_state(one: PendingWait, now: datetime) -> str:
    """Whether an activity runs or is queued, and for how long; where the engine hasn't said so, since it was called."""
    if isinstance(one, ActivityWait) and one.state is not None and one.state_since is not None:
        return f"{one.state} for {format_duration(now - one.state_since)}"
    return f"for {format_duration(now - one.since)}" if one.since else "for 0 s"


_EXECUTOR_LABELS = {"thread": "threads", "process": "worker processes", "async": "async slots"}


def _describe_busy_executor(usage: ExecutorUsage, now: datetime) -> Iterator[tuple[str, str]]:
    """What a queued activity waits for."""
    longest = usage.longest
    if longest is None:
        return
    suffix = ", told to stop" if longest.cancelled else ""
    text = f"{longest.name} of {longest.instance} for {format_duration(now - longest.since)}{suffix}"
    busy = f"{usage.running} {_EXECUTOR_LABELS.get(usage.executor, usage.executor)} are busy, the longest with {text}"
    yield busy if usage.running > 1 else f"behind {text}", longest.instance


def describe_obstacles(one: PendingWait, now: datetime) -> Iterator[tuple[str, str]]:
    """Why an activity is queued, or why an entity doesn't answer, and whose status says more: who holds its lock, what
    stands before, what runs, why it is blocked."""
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


def _format_queue_position(count: int, first: QueuedEntityRequest, runs: list[str]) -> str:
    counted = f"{count:,} others, first " if count > 1 else ""
    sender = [f"from {first.sender}"] if first.sender else []
    return f"behind {counted}{', '.join([format_request(first.kind, first.name), *sender, *runs])}"


def decode_raw(raw: object) -> str:
    """JSON as it was written."""
    return bytes(memoryview(raw)).decode()  # type: ignore[arg-type]  # a Raw is a buffer, which typeshed can't say
