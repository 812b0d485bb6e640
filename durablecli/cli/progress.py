"""How an instance gets on, in a few lines: what `durable run` draws while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from durablecli.cli.time_format import moment, span
from durablecli.cli.wait_reasons import in_the_way, named
from durablecli.client import ActivityWait, Line
from durablecli.model import events as ev
from durablecli.model.status import PendingWait
from durablecli.replay.pending import waits
from durablecli.replay.runtime_state import RuntimeState

_SHOWN = 5
_SCHEDULED = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated)
_SHORTEST = 0.2


Tell = Callable[[RuntimeState, tuple[PendingWait, ...]], tuple[PendingWait, ...]]
"""The same waits, with what stands in their way."""


class Tail(Protocol):
    """Where the records come from."""

    def news(self) -> list[Line]: ...


class Progress:
    """Folds the history as it grows. A look at it costs what is new, and it never takes a tenth of the time."""

    def __init__(
        self, tail: Tail, clock: Callable[[], float] = time.monotonic, tell: Tell = lambda ledger, waits: waits
    ) -> None:
        self._tail = tail
        self._tell = tell
        self._waits: tuple[PendingWait, ...] = ()
        self._clock = clock
        self._started = self._next = clock()
        self._ledger = RuntimeState(keep_turns=True)
        self._scheduled = 0

    def lines(self) -> list[str]:
        """The lines to show now."""
        self._catch_up()
        ledger = self._ledger
        elapsed = span(timedelta(seconds=self._clock() - self._started))
        if not ledger.last_n:
            return [f"waiting to be taken, {elapsed}"]
        head = f"{ledger.started.name}  {ledger.status}, {elapsed}"
        counted = f"  {self._scheduled - self._open()} of {self._scheduled} tasks done" if self._scheduled else ""
        custom = [f"  {bytes(memoryview(ledger.custom_status)).decode()}"] if ledger.custom_status else []
        return [head + counted, f"  {ledger.instance}", *custom, *self._reasons()]

    def _catch_up(self) -> None:
        now = self._clock()
        if now < self._next:
            return
        for line in self._tail.news():
            if line.record.n == 1:
                self._ledger, self._scheduled = RuntimeState(keep_turns=True), 0
            self._ledger.apply(line.record)
            self._scheduled += isinstance(line.record.event, _SCHEDULED)
        self._waits = self._tell(self._ledger, waits(self._ledger, _SHOWN + 1)) if self._ledger.last_n else ()
        self._next = now + max(_SHORTEST, 10 * (self._clock() - now))

    def _open(self) -> int:
        return sum(isinstance(event, _SCHEDULED) for event in self._ledger.open_decisions.values())

    def _reasons(self) -> Iterator[str]:
        for one in self._waits[:_SHOWN]:
            yield f"  {_describe(one)}"
            yield from (f"    {text}" for text, _ in in_the_way(one, datetime.now(UTC)))
        if self._ledger.blocked is not None:
            yield f"  blocked: {self._ledger.blocked}"
        if len(self._waits) > _SHOWN:
            yield "  …"


def _describe(one: PendingWait) -> str:
    since = f", {span(datetime.now(UTC) - one.since)}" if one.since else ""
    match one.kind:
        case "timer" | "start":
            return f"{one.kind} at {moment(one.fire_at)}"
        case "activity":
            attempt = f", attempt {one.attempt}" if one.attempt and one.attempt > 1 else ""
            queued = ", queued" if isinstance(one, ActivityWait) and one.state == "queued" else ""
            return f"activity {one.name}{attempt}{queued}{since}"
        case "child":
            return f"sub-orchestration {one.name} {one.child}{since}"
        case "entity":
            return f"operation {one.name} of {one.entity}{since}"
        case "lock":
            return f"lock of {named(one.entities)}{since}"
        case _:
            return f"{one.kind} {one.name or ''}{since}"
