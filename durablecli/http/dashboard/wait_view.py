"""What an instance is waiting for and why, in words for its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from durablecli.client import ActivityWait, DurableOrchestrationStatus, EntityWait, TurnWait, WorkerWait
from durablecli.client.wait_summary import (
    format_entities,
    format_heartbeat,
    format_limit,
    format_queue_place,
    format_worker_search,
)
from durablecli.durations import format_length
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import PendingWait
from durablecli.plurals import format_count

MAX_SHOWN_WAITS = 12
_MIN_GROUPED = 4


class WaitView(msgspec.Struct, frozen=True):
    """One wait: what it is for, since when, why it takes long, and the id of the instance or entity to look at.

    It describes `count` waits for the same function in the same state; `detail` is that of the longest.
    """

    kind: str
    name: str
    detail: str
    reasons: tuple[str, ...] = ()
    target: str | None = None
    n: int = 0
    progress: ReportedProgress | None = None
    count: int = 1


def describe_waits(status: DurableOrchestrationStatus, now: datetime) -> tuple[WaitView, ...]:
    """Describe the waits of a live instance, equal ones together, and the first ones of many."""
    groups: dict[object, list[PendingWait]] = {}
    for one in status.waiting_for:
        if one.kind != "suspended":
            groups.setdefault(_group_key(one), []).append(one)
    shown: list[WaitView] = []
    for waits in groups.values():
        if len(waits) >= _MIN_GROUPED:
            shown.append(_describe_group(waits, now))
        else:
            shown += [_describe(one, now) for one in waits]
    return tuple(shown[:MAX_SHOWN_WAITS])


def count_waits(status: DurableOrchestrationStatus) -> int:
    """How many waits there are."""
    return sum(one.kind != "suspended" for one in status.waiting_for)


def _group_key(one: PendingWait) -> object:
    """What waits must have in common to be shown together; one that reports something is shown by itself."""
    if one.kind not in ("activity", "child") or one.progress is not None or one.heartbeat is not None:
        return one.kind, one.id
    return one.kind, one.name, one.label, one.attempt, one.state if isinstance(one, ActivityWait) else None


def _describe_group(waits: Sequence[PendingWait], now: datetime) -> WaitView:
    first = min(waits, key=lambda one: one.since or now)
    found = _describe(first, now)
    return msgspec.structs.replace(found, count=len(waits), detail=f"{found.detail}, the longest of them", target=None)


def _describe(one: PendingWait, now: datetime) -> WaitView:
    since = format_length(now - one.since) if one.since else ""
    name, detail, target = one.label or one.name or "", f"for {since}" if since else "", one.child or one.entity
    match one.kind:
        case "activity":
            detail = _activity_state(one, now) or detail
            if one.label:
                detail = f"{one.name}, {detail}"
        case "timer" | "start":
            name = "" if one.kind == "timer" else "its scheduled time"
            detail = _due(one.fire_at, now)
        case "lock":
            name = format_entities(one.entities)
            target = one.entity or (one.entities[0] if one.entities else None)
        case "turn":
            detail = _turn_state(one, now) or detail
        case "entity":
            name = f"{one.name} of {one.entity}"
        case _:
            pass
    if one.attempt and one.attempt > 1:
        detail = f"attempt {one.attempt}, {detail}"
    return WaitView(one.kind, name, detail, tuple(_reasons(one, now)), target, one.id or 0, one.progress)


def _activity_state(one: PendingWait, now: datetime) -> str:
    if isinstance(one, ActivityWait) and one.state is not None and one.state_since is not None:
        place = f" {text}" if (text := format_queue_place(one)) else ""
        return f"{one.state}{place} for {format_length(now - one.state_since)}{_on_worker(one.worker)}"
    return ""


def _turn_state(one: PendingWait, now: datetime) -> str:
    if isinstance(one, TurnWait) and one.worker is not None and one.worker.since is not None:
        return f"running for {format_length(now - one.worker.since)}{_on_worker(one.worker)}"
    return ""


def _on_worker(worker: WorkerWait | None) -> str:
    return "" if worker is None or not worker.worker else f" on worker {worker.worker}"


def _due(at: datetime | None, now: datetime) -> str:
    if at is None:
        return ""
    return f"due in {format_length(at - now)}" if at > now else f"due for {format_length(now - at)}"


def _reasons(one: PendingWait, now: datetime) -> Iterator[str]:
    if one.heartbeat is not None:
        yield format_heartbeat(one.heartbeat, now)
    if isinstance(one, ActivityWait) and (limit := format_limit(one, now)):
        yield limit
    if isinstance(one, ActivityWait) and one.behind is not None and one.behind.longest is not None:
        longest = one.behind.longest
        yield (
            f"{format_count(one.behind.running, 'worker')} busy, the longest with {longest.name} of "
            f"{longest.instance} for {format_length(now - longest.since)}"
        )
    worker = one.worker if isinstance(one, ActivityWait | EntityWait | TurnWait) else None
    if worker is not None and worker.since is None:
        yield f"it waits for {format_worker_search(worker)}"
    if not isinstance(one, EntityWait):
        return
    if one.holder is not None:
        since = f" for {format_length(now - one.held_since)}" if one.held_since else ""
        status = f", and is {one.holder_status}" if one.holder_status else ""
        yield f"{one.holder} has held the lock{since}{status}"
    if one.first is not None and one.ahead:
        yield f"{format_count(one.ahead, 'request')} in the queue before it"
    if one.running_since:
        yield f"the entity has been running operations for {format_length(now - one.running_since)}"
    if one.blocked is not None:
        yield f"the entity is blocked: {one.blocked.splitlines()[0] if one.blocked else ''}"
