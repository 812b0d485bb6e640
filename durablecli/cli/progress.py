"""The progress of an instance in a few lines, which `durable run` and `durable status --watch` draw while it works."""

from __future__ import annotations

import shlex
import textwrap
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from durablecli.cli.json_text import format_json
from durablecli.cli.progress_bar import RateMeter, draw_bar, format_counts
from durablecli.cli.time_format import current_time, format_short_time
from durablecli.cli.wait_reasons import (
    describe_obstacles,
    format_activity_state,
    format_attempt,
    format_call,
    format_due,
    format_elapsed,
    format_live_report,
    format_progress,
    format_task_counts,
    format_turn,
)
from durablecli.client import CallTracker, HistoryLine, TaskCounts
from durablecli.client.wait_summary import format_entities
from durablecli.durations import format_length
from durablecli.model import events as ev
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import PendingWait
from durablecli.replay.runtime_state import RuntimeState
from durablecli.replay.summary import pending_waits

_MAX_LISTED = 5
_MAX_EXAMINED = 20
_CALL_EVENTS = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated)
_OUTCOME_EVENTS = (
    ev.TaskCompleted,
    ev.TaskFailed,
    ev.SubOrchestrationInstanceCompleted,
    ev.SubOrchestrationInstanceFailed,
)
_MIN_REFRESH_INTERVAL = 0.2
_MIN_FAN_OUT = 2
"""The number of calls that are open together from which on a bar is drawn."""


class ProgressSource(Protocol):
    """What a view of the progress reads, each time it is refreshed."""

    def new_lines(self) -> list[HistoryLine]:
        """Return the records written since the last call."""

    def explain_waits(self, state: RuntimeState, waits: tuple[PendingWait, ...]) -> tuple[PendingWait, ...]:
        """Return the same waits, each with what delays it."""

    def count_running(self, state: RuntimeState) -> int:
        """Count the activities that are running."""

    def read_progress(self, state: RuntimeState) -> ReportedProgress | None:
        """Return what the orchestrator has reported last."""

    def engine_is_alive(self) -> bool:
        """Whether an engine is running."""


class Progress:
    """Folds a history as it grows. A refresh reads only new records, and refreshing takes under a tenth of the time."""

    def __init__(
        self,
        source: ProgressSource,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = current_time,
        *,
        plain: bool = False,
    ) -> None:
        """Without `plain` a bar is drawn with block characters."""
        self._source = source
        self._clock = clock
        self._now = now
        self._plain = plain
        self._started_at = now()
        self._next_update = clock()
        self._waits: tuple[PendingWait, ...] = ()
        self._counts = TaskCounts()
        self._reported: ReportedProgress | None = None
        self._no_daemon = False
        self._reset()

    def _reset(self) -> None:
        self._state, self._calls, self._report_meter = RuntimeState(keep_turns=True), CallTracker(), RateMeter()
        self._begin_fan_out()

    def render_lines(self, width: int = 80) -> list[str]:
        """Return the lines to show now, each at most `width` characters long."""
        return [line for text in self._describe(width) for line in _fit(text, width)]

    def render_summary(self) -> str:
        """Return the same in one line, for a log."""
        self._update()
        if not self._state.last_n:
            return self._describe_start()
        hints = [f"waits for event {one.name}" for one in self._waits if one.kind == "event"]
        failed = f", {self._counts.failed:,} failed" if self._counts.failed else ""
        bar = [format_counts(*self._fan_out) + failed] if self._fan_out else []
        return "; ".join([f"{self._state.instance}  {self._head()}", *bar, *hints])

    def _describe(self, width: int) -> Iterator[str]:
        self._update()
        state, counts = self._state, self._counts
        if not state.last_n:
            yield self._describe_start()
            return
        yield self._head()
        yield f"  {state.instance}"
        if state.custom_status:
            yield f"  {format_json(state.custom_status)}"
        if self._reported is not None:
            yield f"  {self._draw_report(self._reported, width - 2)}"
        if self._fan_out:
            done, total, _ = self._fan_out
            text = format_counts(*self._fan_out)
            yield f"  {draw_bar(done, total, text, width - 2, plain=self._plain)}"
        if counts.total > 1:
            yield f"  {format_task_counts(counts)}"
        yield from self._describe_reasons()

    def _draw_report(self, reported: ReportedProgress, width: int) -> str:
        """Return what the orchestrator has reported, as a bar if it has said of how much."""
        if not reported.total:
            return format_progress(reported)
        message = f", {reported.message}" if reported.message else ""
        counts = format_counts(reported.done, reported.total, self._report_meter.rate(self._now()))
        return draw_bar(reported.done, reported.total, f"{counts}{message}", width, plain=self._plain)

    def _describe_start(self) -> str:
        hint = "; no daemon is running, start one with: durable run-daemon" if self._no_daemon else ""
        return f"waiting to start, {format_length(self._now() - self._started_at)}{hint}"

    def _head(self) -> str:
        age = format_length(self._now() - self._state.created)
        return f"{self._state.started.name}  {self._state.status}, {age}"

    @property
    def _fan_out(self) -> tuple[float, float, float] | None:
        """How many of the calls that were open together are done, of how many, and how fast."""
        total, done = self._counts.total - self._fan_out_base.total, self._counts.done - self._fan_out_base.done
        if total < _MIN_FAN_OUT:
            return None
        return done, total, self._meter.rate(self._now())

    def _begin_fan_out(self) -> None:
        """Begin to count calls: none is open now."""
        self._fan_out_base = self._calls.count()
        self._meter = RateMeter()

    def _update(self) -> None:
        began = self._clock()
        if began < self._next_update:
            return
        for line in self._source.new_lines():
            self._apply(line.record)
        state = self._state
        if state.last_n:
            found = pending_waits(state, _MAX_EXAMINED)
            events = [
                PendingWait("event", n, *wait) for n, wait in list(state.event_waits.active.items())[:_MAX_LISTED]
            ]
            others = (self._calls.explain_retry(one) for one in found if one.kind != "event")
            self._waits = self._source.explain_waits(state, (*others, *events))
            counts = self._calls.count()
            self._counts = counts.with_running(self._source.count_running(state)) if counts.queued else counts
            self._reported = None if state.ended else self._source.read_progress(state)
            if self._reported is not None:
                self._report_meter.add(self._reported.at, self._reported.done)
        self._no_daemon = not state.ended and not self._source.engine_is_alive()
        self._next_update = self._clock() + max(_MIN_REFRESH_INTERVAL, 10 * (self._clock() - began))

    def _apply(self, record: ev.Record) -> None:
        event = record.event
        if record.n == 1:
            self._reset()
        if isinstance(event, _CALL_EVENTS) and event.retry_of is None and not self._calls.open_count:
            self._begin_fan_out()
            self._meter.add(record.at, self._fan_out_base.done)
        self._state.apply(record)
        self._calls.apply(record)
        if isinstance(event, _OUTCOME_EVENTS):
            self._meter.add(record.at, self._calls.count().done)

    def _describe_reasons(self) -> Iterator[str]:
        now, name = self._now(), shlex.quote(self._state.instance)
        activities = sorted((one for one in self._waits if one.kind != "event"), key=_order)
        for one in activities[:_MAX_LISTED]:
            yield f"  {_describe_wait(one, now)}"
            if one.last_error:
                yield f"    last error: {one.last_error}"
            yield from (f"    {text}" for text, _ in describe_obstacles(one, now))
        if len(activities) > _MAX_LISTED:
            yield "  …"
        for one in self._waits:
            if one.kind == "event":
                yield f"  event {one.name}, {format_elapsed(one, now)}"
                yield f"    durable raise-event {name} {shlex.quote(one.name or '')} --data JSON"
        if self._state.blocked is not None:
            yield f"  blocked: {self._state.blocked}"
        if self._no_daemon:
            yield "  no daemon is running; start one with: durable run-daemon"


def _order(one: PendingWait) -> int:
    """Sort what is running and what is retried before what is queued."""
    state = getattr(one, "state", None)
    return 0 if state == "running" or one.kind == "retry" else 2 if state == "queued" else 1


def _describe_wait(one: PendingWait, now: datetime) -> str:
    match one.kind:
        case "timer" | "start":
            return f"{one.kind} at {format_short_time(one.fire_at, now)}, {format_due(one.fire_at, now)}"
        case "retry":
            return f"retry of {format_call(one)}, {format_attempt(one)}, {format_due(one.fire_at, now, 'next')}"
        case "activity":
            attempt = f", {format_attempt(one)}" if one.attempt and one.attempt > 1 else ""
            reported = format_live_report(one, now)
            return f"activity {format_call(one)}{attempt}, {format_activity_state(one, now)}{reported}"
        case "child":
            return f"sub-orchestration {format_call(one)} {one.child}, {format_elapsed(one, now)}"
        case "entity":
            return f"operation {one.name} of {one.entity}, {format_elapsed(one, now)}"
        case "turn":
            return format_turn(one, now)
        case "lock":
            return f"lock of {format_entities(one.entities)}, {format_elapsed(one, now)}"
        case _:
            return f"{one.kind} {one.name or ''}".rstrip() + f", {format_elapsed(one, now)}"


def _fit(text: str, width: int) -> list[str]:
    """Fit a line into the width: a command is wrapped, so that it can be copied, and anything else is cut."""
    text = text.replace("\n", " ")
    if len(text) <= width:
        return [text]
    if text.lstrip().startswith("durable "):
        return textwrap.wrap(
            text, width, subsequent_indent="      ", break_long_words=True, break_on_hyphens=False, drop_whitespace=True
        )
    return [f"{text[: width - 1]}…"]
