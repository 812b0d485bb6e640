"""The built-in entity of schedules: its timer is a signal to itself, and it starts a run in the commit that decides so.

It isn't replayed, so it may look at what the app declares. A run tells it by a signal that it has begun or ended; the
engine sends that in the same commit (`engine/schedule_notices.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from durablecli.entities.context import DurableEntityContext, get_operation_time
from durablecli.model.schedule_options import RUN_ENDED, RUN_STARTED, SCHEDULE_ENTITY, SCHEDULE_TAG, SCHEDULED_TIME_TAG
from durablecli.replay.function_marks import FunctionMark, set_mark
from durablecli.scheduling.schedule_state import ScheduleSpec, ScheduleState
from durablecli.scheduling.schedule_turn import ScheduledRun, ScheduleTurn

DUE = "due"
LOAD, UNLOAD, PAUSE, RESUME = "load", "unload", "pause", "resume"
_log = logging.getLogger("durablecli.schedule")


class DeclaredSchedules:
    """The schedules that the running app declares. Until `set` is called, nothing is known about them."""

    def __init__(self) -> None:
        self._specs: dict[str, ScheduleSpec] | None = None
        self._is_complete = False

    def set(self, specs: Iterable[ScheduleSpec], *, is_complete: bool) -> None:
        """Replace them. Unless `is_complete`, the app may have others, in modules that can't be imported."""
        self._specs, self._is_complete = {each.name: each for each in specs}, is_complete

    def synchronize(self, turn: ScheduleTurn, name: str) -> None:
        """Bring a schedule up to date, before one of its due times is decided."""
        if self._specs is None:
            return
        spec = self._specs.get(name)
        if spec is not None and spec != turn.state.spec:
            turn.load(spec)
        elif spec is None and self._is_complete:
            turn.unload()


def make_schedule_entity(declared: DeclaredSchedules) -> Callable[..., Any]:
    """Make the entity function."""

    def schedule(context: DurableEntityContext) -> None:
        state = context.get_state(ScheduleState, ScheduleState)
        turn = ScheduleTurn(context.entity_key, state, get_operation_time(context))
        _apply(turn, context, declared)
        for run in turn.runs:
            _start(context, turn.state, run)
        if turn.timer_at is not None:
            context.signal_entity(context.entity_id, DUE, turn.state.timer, turn.timer_at)
        if turn.state != state or context.is_newly_constructed:
            context.set_state(turn.state)
        for note in turn.notes:
            _log.log(note.level, "%s", note.text)

    return set_mark(schedule, FunctionMark("entity", SCHEDULE_ENTITY))


def _apply(turn: ScheduleTurn, context: DurableEntityContext, declared: DeclaredSchedules) -> None:
    match context.operation_name:
        case "due":
            declared.synchronize(turn, context.entity_key)
            turn.on_timer(context.get_input(int))
        case "load":
            turn.load(context.get_input(ScheduleSpec))
        case "unload":
            turn.unload()
        case "pause":
            turn.pause()
        case "resume":
            turn.resume()
        case name if name == RUN_STARTED:
            turn.on_run_started(context.get_input(str))
        case name if name == RUN_ENDED:
            turn.on_run_ended(context.get_input(str))
        case other:
            raise ValueError(f"a schedule has no operation {other!r}")


def _start(context: DurableEntityContext, state: ScheduleState, run: ScheduledRun) -> None:
    spec = state.spec
    assert spec is not None
    tags = {SCHEDULE_TAG: spec.name, SCHEDULED_TIME_TAG: spec.format_scheduled_time(run.due)}
    context.start_new(spec.orchestrator, run.id, msgspec.to_builtins(spec.input), tags=tags)
