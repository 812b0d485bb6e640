"""What an instance waits for, in a few words, for its row in a list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from durablecli.client.entity_waits import ActivityWait, TurnWait
from durablecli.client.remote_workers import WorkerWait
from durablecli.durations import format_duration
from durablecli.model.payloads import decode, to_displayable
from durablecli.model.reported_heartbeat import ReportedHeartbeat
from durablecli.model.status import MAX_LISTED_WAITS, PendingWait

_MAX_NAMED_ENTITIES = 3
_MAX_DETAILS_LENGTH = 100


def format_entities(entities: Sequence[str]) -> str:
    """Format the entities that are locked together; of many, only the first."""
    more = len(entities) - _MAX_NAMED_ENTITIES
    return ", ".join(entities) if more <= 1 else f"{', '.join(entities[:_MAX_NAMED_ENTITIES])} and {more} more"


def format_heartbeat(heartbeat: ReportedHeartbeat, now: datetime) -> str:
    """Format the last sign of life of an activity, as `last heartbeat 3 s ago: {"page": 7}`."""
    given = decode(heartbeat.details)
    details = given if isinstance(given, str) else bytes(to_displayable(heartbeat.details)).decode()
    if len(details) > _MAX_DETAILS_LENGTH:
        details = f"{details[: _MAX_DETAILS_LENGTH - 1]}…"
    age = format_duration(now - heartbeat.at)
    return f"last heartbeat {age} ago" if given is None else f"last heartbeat {age} ago: {details}"


def format_worker_search(worker: WorkerWait) -> str:
    """Describe the worker that remote work waits for: `a worker that runs 'X' (2 connected, none of them does)`."""
    if not worker.connected:
        found = "no worker is connected"
    elif worker.connected == 1:
        found = "1 connected, it does" if worker.fitting else "1 connected, it doesn't"
    else:
        verb = "do" if worker.fitting > 1 else "does"
        found = f"{worker.connected} connected, {worker.fitting or 'none'} of them {verb}"
    return f"a worker that runs '{worker.name}' ({found})"


def format_queue_place(one: ActivityWait) -> str:
    """Describe the place of a queued activity: `behind 3,912 (limit 20)`; empty if it is the first."""
    if not one.ahead:
        return ""
    return f"behind {one.ahead:,}" + ("" if one.limit is None else f" (limit {one.limit:,})")


def format_limit(one: ActivityWait, now: datetime) -> str:
    """Describe the limit of its function for which an activity waits; empty if it waits for none."""
    key = f"key {one.key}" if one.key else ""
    if one.rate is not None:
        due = "" if one.next_at is None or one.next_at <= now else f", next in {_format_seconds(one.next_at - now)}"
        return f"waits for the rate limit of '{one.name}' ({', '.join(filter(None, (one.rate, key)))}){due}"
    if one.behind is None and one.limit is not None:
        return f"waits for the max_concurrency of '{one.name}' ({', '.join(filter(None, (str(one.limit), key)))})"
    return ""


def _format_seconds(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < 10 else format_duration(span)


def summarize_waits(waiting: Sequence[PendingWait], format_due: Callable[[datetime], str]) -> str:
    """Describe the first wait and the number of the others, as `event Approval +1`. Empty if there is none.

    Timers come last: mostly they limit the time for the other waits.
    """
    waits = [one for one in waiting if one.kind != "suspended"]
    first = min(waits, key=lambda one: one.kind == "timer", default=None)
    if first is None:
        return ""
    more = f" +{len(waits) - 1}" if len(waits) > 1 else ""
    return f"{_describe(first, format_due)}{more}{' or more' if len(waiting) >= MAX_LISTED_WAITS else ''}"


def _describe(one: PendingWait, format_due: Callable[[datetime], str]) -> str:
    if one.kind in ("timer", "retry", "start"):
        return f"{one.kind} {format_due(one.fire_at)}" if one.fire_at else "a daemon"
    if one.kind == "turn":
        worker = one.worker if isinstance(one, TurnWait) else None
        if worker is not None and worker.worker is not None:
            return f"worker {worker.worker}".rstrip()
        return f"a worker that runs '{one.name}'"
    if one.kind == "lock":
        return f"lock of {format_entities(one.entities)}"
    return f"{one.name} of {one.entity}" if one.entity else f"{one.kind} {one.name or ''}".strip()
