"""The reasons for standing still that instances and entities have in common, as label and text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from durablecli.cli.times import clock
from durablecli.client import Blocked, Engine

_NAMED = 3


def blocked(found: Blocked | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Why the code doesn't let it go on."""
    if found is None:
        return
    first, *rest = found.reason.splitlines() or [""]
    yield "blocked", f"since {clock(found.since, now)}: {first}"
    yield from (("", line.strip()) for line in rest)
    yield "", "it goes on when the code fits again"


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


def text_of(raw: object) -> str:
    """JSON as it was written."""
    return bytes(memoryview(raw)).decode()  # type: ignore[arg-type]  # a Raw is a buffer, which typeshed can't say
