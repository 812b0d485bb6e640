"""The reasons for standing still that instances and entities have in common, as label and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from durablecli.cli.time_format import clock, span
from durablecli.client import ActivityWait, Blocked, Engine, EntityWait, Queued, SetAside, Slots
from durablecli.model.status import PendingWait

_NAMED = 3


def blocked(found: Blocked | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Why the code doesn't let it go on."""
    if found is None:
        return
    first, *rest = found.reason.splitlines() or [""]
    yield "blocked", f"since {clock(found.since, now)}: {first}"
    yield from (("", line.strip()) for line in rest)
    yield "", "it goes on when the code fits again"


def set_aside(found: SetAside | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Why the engine leaves it alone."""
    if found is None:
        return
    since = f"since {clock(found.since, now)}: " if found.since is not None else ""
    yield "set aside", f"{since}{found.reason}"
    if found.kept:
        yield "", f"{found.kept:,} message{'' if found.kept == 1 else 's'} kept for it; delivered once it is repaired"


def no_daemon(engine: Engine, now: datetime) -> tuple[str, str]:
    """That nobody is there to move it."""
    seen = [f"last seen {clock(engine.last_seen, now)}"] if engine.last_seen else []
    seen += [f"pid {engine.pid}"] if engine.pid else []
    last = f" ({', '.join(seen)})" if seen else ""
    return "no daemon", f"is running{last}: nothing will move    durable run-daemon"


def named(entities: Sequence[str]) -> str:
    """Entities that are locked together; of many, the first."""
    more = len(entities) - _NAMED
    return ", ".join(entities) if more <= 1 else f"{', '.join(entities[:_NAMED])} and {more} more"


def asked(kind: str, name: str | None) -> str:
    """What stands in an entity's line, in words."""
    if kind == "lock":
        return "a request for the lock"
    return f"operation {name}" if kind == "operation" else kind


def state_of(one: PendingWait, now: datetime) -> str:
    """Whether an activity runs or is queued, and for how long; where the engine hasn't said so, since it was called."""
    if isinstance(one, ActivityWait) and one.state is not None and one.state_since is not None:
        return f"{one.state} for {span(now - one.state_since)}"
    return f"for {span(now - one.since)}" if one.since else "for 0 s"


_SLOTS = {"thread": "threads", "process": "worker processes", "async": "async slots"}


def _occupied(slots: Slots, now: datetime) -> Iterator[tuple[str, str]]:
    """What a queued activity waits for."""
    longest = slots.longest
    if longest is None:
        return
    told = ", told to stop" if longest.cancelled else ""
    text = f"{longest.name} of {longest.instance} for {span(now - longest.since)}{told}"
    busy = f"{slots.running} {_SLOTS.get(slots.executor, slots.executor)} are busy, the longest with {text}"
    yield busy if slots.running > 1 else f"behind {text}", longest.instance


def in_the_way(one: PendingWait, now: datetime) -> Iterator[tuple[str, str]]:
    """Why an activity is queued, or why an entity doesn't answer, and whose status says more: who holds its lock, what
    stands before, what runs, why it is blocked."""
    if isinstance(one, ActivityWait):
        if one.behind is not None:
            yield from _occupied(one.behind, now)
        return
    if not isinstance(one, EntityWait):
        return
    entity = one.entity or ""
    if one.holder is not None:
        since = f" since {clock(one.held_since, now)}" if one.held_since else ""
        stands = f", and is {one.holder_stands}" if one.holder_stands else ""
        yield f"{one.holder} holds the lock{since}{stands}", one.holder
    runs = [f"running for {span(now - one.running_since)}"] if one.running_since else []
    if one.first is not None:
        yield _behind(one.ahead, one.first, runs), entity
    elif runs:
        yield runs[0], ""
    if one.blocked is not None:
        first, *_ = one.blocked.splitlines() or [""]
        yield f"{entity} is blocked: {first}", entity


def _behind(count: int, first: Queued, runs: list[str]) -> str:
    counted = f"{count:,} others, first " if count > 1 else ""
    sender = [f"from {first.sender}"] if first.sender else []
    return f"behind {counted}{', '.join([asked(first.kind, first.name), *sender, *runs])}"


def text_of(raw: object) -> str:
    """JSON as it was written."""
    return bytes(memoryview(raw)).decode()  # type: ignore[arg-type]  # a Raw is a buffer, which typeshed can't say
