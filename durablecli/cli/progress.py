"""The progress of an instance in a few lines, which `durable run` draws while it works."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from durablecli.cli.json_text import decode_raw
from durablecli.cli.time_format import format_duration, format_time
from durablecli.cli.wait_reasons import describe_obstacles, format_entities
from durablecli.client import ActivityWait, HistoryLine
from durablecli.model import events as ev
from durablecli.model.status import PendingWait
from durablecli.replay.runtime_state import RuntimeState
from durablecli.replay.summary import pending_waits

_MAX_LISTED = 5
_TASK_EVENTS = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated)
_MIN_REFRESH_INTERVAL = 0.2


ExplainWaits = Callable[[RuntimeState, tuple[PendingWait, ...]], tuple[PendingWait, ...]]
"""Returns the same waits, each with what delays it."""


class HistorySource(Protocol):
    """The source of the records."""

    def new_lines(self) -> list[HistoryLine]: ...


class Progress:
    """Folds a history as it grows. A refresh reads only new records, and refreshing takes under a tenth of the time."""

    def __init__(
        self,
        source: HistorySource,
        clock: Callable[[], float] = time.monotonic,
        explain_waits: ExplainWaits = lambda state, waits: waits,
    ) -> None:
        self._source = source
        self._explain_waits = explain_waits
        self._waits: tuple[PendingWait, ...] = ()
        self._clock = clock
        self._started = self._next_update = clock()
        self._state = RuntimeState(keep_turns=True)
        self._scheduled_count = 0

    def render_lines(self) -> list[str]:
        """Return the lines to show now."""
        self._update()
        state = self._state
        elapsed = format_duration(timedelta(seconds=self._clock() - self._started))
        if not state.last_n:
            return [f"waiting to start, {elapsed}"]
        head = f"{state.started.name}  {state.status}, {elapsed}"
        counted = (
            f"  {self._scheduled_count - self._count_open()} of {self._scheduled_count} tasks done"
            if self._scheduled_count
            else ""
        )
        custom = [f"  {decode_raw(state.custom_status)}"] if state.custom_status else []
        return [head + counted, f"  {state.instance}", *custom, *self._describe_reasons()]

    def _update(self) -> None:
        now = self._clock()
        if now < self._next_update:
            return
        for line in self._source.new_lines():
            if line.record.n == 1:
                self._state, self._scheduled_count = RuntimeState(keep_turns=True), 0
            self._state.apply(line.record)
            self._scheduled_count += isinstance(line.record.event, _TASK_EVENTS)
        self._waits = (
            self._explain_waits(self._state, pending_waits(self._state, _MAX_LISTED + 1)) if self._state.last_n else ()
        )
        self._next_update = now + max(_MIN_REFRESH_INTERVAL, 10 * (self._clock() - now))

    def _count_open(self) -> int:
        return sum(isinstance(event, _TASK_EVENTS) for event in self._state.open_decisions.values())

    def _describe_reasons(self) -> Iterator[str]:
        for one in self._waits[:_MAX_LISTED]:
            yield f"  {_describe_wait(one)}"
            yield from (f"    {text}" for text, _ in describe_obstacles(one, datetime.now(UTC)))
        if self._state.blocked is not None:
            yield f"  blocked: {self._state.blocked}"
        if len(self._waits) > _MAX_LISTED:
            yield "  …"


def _describe_wait(one: PendingWait) -> str:
    since = f", {format_duration(datetime.now(UTC) - one.since)}" if one.since else ""
    match one.kind:
        case "timer" | "start":
            return f"{one.kind} at {format_time(one.fire_at)}"
        case "activity":
            attempt = f", attempt {one.attempt}" if one.attempt and one.attempt > 1 else ""
            queued = ", queued" if isinstance(one, ActivityWait) and one.state == "queued" else ""
            return f"activity {one.name}{attempt}{queued}{since}"
        case "child":
            return f"sub-orchestration {one.name} {one.child}{since}"
        case "entity":
            return f"operation {one.name} of {one.entity}{since}"
        case "lock":
            return f"lock of {format_entities(one.entities)}{since}"
        case _:
            return f"{one.kind} {one.name or ''}{since}"
