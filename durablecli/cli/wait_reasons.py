"""Why instances and entities can't proceed, as label and text."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from durablecli.cli.time_format import format_short_time
from durablecli.client import (
    ActivityWait,
    BlockedInfo,
    EngineStatus,
    EntityWait,
    ExecutorUsage,
    QuarantineInfo,
    QueuedEntityRequest,
    TaskCounts,
    TurnWait,
    WorkerWait,
)
from durablecli.client.wait_summary import format_heartbeat, format_limit, format_queue_place, format_worker_search
from durablecli.durations import format_duration
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import PendingWait
from durablecli.plurals import format_count


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


def format_call(one: PendingWait) -> str:
    """Format what is called, with the name of the call if it has one: `bill [invoice 17]`."""
    return f"{one.name} [{one.label}]" if one.label else one.name or ""


def format_progress(progress: ReportedProgress | None) -> str:
    """Format a report of progress, such as `40 of 100 (40 %), parsing`; empty if there is none."""
    if progress is None:
        return ""
    share = "" if progress.fraction is None else f" ({progress.fraction:.0%})".replace("%", " %")
    total = "" if progress.total is None else f" of {_format_number(progress.total)}"
    message = f", {progress.message}" if progress.message else ""
    return f"{_format_number(progress.done)}{total or ' done'}{share}{message}"


def format_live_report(one: PendingWait, now: datetime) -> str:
    """Format what a running activity has reported: its progress and its last heartbeat; empty if nothing."""
    progress = f", {format_progress(one.progress)}" if one.progress is not None else ""
    return f"{progress}, {format_heartbeat(one.heartbeat, now)}" if one.heartbeat is not None else progress


def _format_number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def format_request(kind: str, name: str | None) -> str:
    """Describe a queued request of an entity."""
    if kind == "lock":
        return "a request for the lock"
    return f"operation {name}" if kind == "operation" else kind


def format_activity_state(one: PendingWait, now: datetime) -> str:
    """Format whether an activity is running or queued, and for how long; or else how long ago it was called."""
    if isinstance(one, ActivityWait) and one.state is not None and one.state_since is not None:
        place = f" {text}" if (text := format_queue_place(one)) else ""
        return f"{one.state}{place} for {format_duration(now - one.state_since)}{_format_worker(one.worker)}"
    return format_elapsed(one, now)


def format_turn(one: PendingWait, now: datetime) -> str:
    """Format which worker runs the turn of a remote orchestrator, or which is missing."""
    worker = one.worker if isinstance(one, TurnWait) else None
    if worker is None:
        return "its turn"
    if worker.since is not None:
        return f"its turn, running for {format_duration(now - worker.since)}{_format_worker(worker)}"
    return f"{format_worker_search(worker)}, {format_elapsed(one, now)}"


def _format_worker(worker: WorkerWait | None) -> str:
    return "" if worker is None or not worker.worker else f" on worker {worker.worker}"


def format_elapsed(one: PendingWait, now: datetime) -> str:
    """Format for how long it has waited: `for 3 min`."""
    return f"for {format_duration(now - one.since)}" if one.since else "for 0 s"


def format_attempt(one: PendingWait) -> str:
    """Format which attempt of a call it is: `attempt 3 of 5`; without the total if that isn't recorded."""
    total = f" of {one.attempts}" if one.attempts else ""
    return f"attempt {one.attempt or 2}{total}"


def format_due(time: datetime | None, now: datetime, word: str = "") -> str:
    """Format when something is due: `in 3 s`, or `due for 3 s` once the time has passed."""
    if time is None or time <= now:
        return f"due for {format_duration(now - (time or now))}"
    return f"{word} in {format_duration(time - now)}".strip()


def format_task_counts(counts: TaskCounts) -> str:
    """Format how many calls there are, and how many of them are in each state: `5 of 9 completed, 1 failed`."""
    states = ("failed", "retrying", "queued", "running")
    others = [f"{count:,} {state}" for state in states if (count := getattr(counts, state))]
    return ", ".join([f"{counts.completed:,} of {counts.total:,} completed", *others])


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

    That is the executor's work, the holder of the lock, the requests queued before, why the entity is blocked, or the
    worker that is missing.
    """
    if isinstance(one, ActivityWait):
        if limit := format_limit(one, now):
            yield limit, ""
        if one.behind is not None:
            yield from _describe_busy_executor(one.behind, now)
        if one.worker is not None and one.worker.since is None:
            yield f"waiting for {format_worker_search(one.worker)}", ""
        return
    if not isinstance(one, EntityWait):
        return
    entity = one.entity or ""
    if one.holder is not None:
        since = f" since {format_short_time(one.held_since, now)}" if one.held_since else ""
        status = f", and is {one.holder_status}" if one.holder_status else ""
        yield f"{one.holder} holds the lock{since}{status}", one.holder
    runs = (
        [f"running for {format_duration(now - one.running_since)}{_format_worker(one.worker)}"]
        if one.running_since
        else []
    )
    if one.first is not None:
        yield _format_queue_position(one.ahead, one.first, runs), entity
    elif runs:
        yield runs[0], ""
    if one.blocked is not None:
        first, *_ = one.blocked.splitlines() or [""]
        yield f"{entity} is blocked: {first}", entity
    elif one.worker is not None and one.running_since is None and one.holder is None:
        yield f"waiting for {format_worker_search(one.worker)}", ""


def _format_queue_position(ahead: int, first: QueuedEntityRequest, runs: list[str]) -> str:
    counted = f"{ahead:,} others, first " if ahead > 1 else ""
    sender = [f"from {first.sender}"] if first.sender else []
    return f"behind {counted}{', '.join([format_request(first.kind, first.name), *sender, *runs])}"
