"""Timer functions: a built-in orchestration `timer:<function>` calls each of them, so schedules survive restarts.

The orchestration waits on a durable timer until the function is due, calls it as an activity and continues as new. A
function that came due while no engine was running is called when one starts: once, however many calls were missed, and
with `past_due`. So is a call that was interrupted. The orchestration can be inspected, suspended and resumed like any
other; its custom status shows the last call and the next. If it was ended, the next engine starts it again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from durablecli.azure import output_bindings
from durablecli.azure.functions import TimerRequest
from durablecli.azure.invocation import ClientProvider, bind_arguments
from durablecli.bindings import TimerTrigger
from durablecli.builtin.timer_starts import (
    SCHEDULE_EVENT,
    TIMER_ORCHESTRATOR,
    TIMER_PREFIX,
    ScheduleUpdate,
    TimerState,
)
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.registry import Function, Registry
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.function_marks import FunctionMark, set_mark
from durablecli.scheduling.expressions import parse_schedule

_PAST_DUE_AFTER = timedelta(seconds=1)
_log = logging.getLogger("durablecli.timer")


class TimerCall(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The input of the activity that calls the function."""

    past_due: bool
    due: datetime
    following: datetime
    last: datetime | None = None


# The orchestrator and its activities.


def register_timers(registry: Registry, clients: Callable[[], ClientProvider]) -> None:
    """Register the orchestrator, and for each timer function the activity that calls it.

    `clients` is called for each call: the URL of the hub is known only once its server is running.
    """
    calls = [_make_activity(function, clients) for function in registry.functions_of_kind("timer")]
    registry.add_built_in([set_mark(_timer_orchestrator, FunctionMark("orchestrator", TIMER_ORCHESTRATOR)), *calls])


def _timer_orchestrator(context: DurableOrchestrationContext) -> Generator[Any, Any, None]:
    state: TimerState = context.get_input(TimerState)
    schedule = parse_schedule(state.schedule)
    due = state.due or schedule.next_after(context.current_utc_datetime)
    if not state.at_once:
        _set_status(context, state, due)
        timer, update = context.create_timer(due), context.wait_for_external_event(SCHEDULE_EVENT, ScheduleUpdate)
        if (yield context.task_any([timer, update])) is update:
            timer.cancel()
            context.continue_as_new(_apply_update(state, due, update.result))
            return
    began = context.current_utc_datetime
    late = not state.at_once and began - due > _PAST_DUE_AFTER
    call = TimerCall(late, began if state.at_once else due, schedule.next_after(max(began, due)), state.last)
    failure = None
    try:
        yield context.call_activity(TIMER_PREFIX + state.function, call)
    except Exception as error:  # noqa: BLE001 - a failed call doesn't end the schedule
        failure = str(error)
    # Computed from this run and not from now: if the engine dies here, the next run isn't skipped.
    due = call.following
    context.continue_as_new(TimerState(state.function, state.schedule, due=due, last=began, failure=failure))


def _apply_update(state: TimerState, due: datetime, update: ScheduleUpdate) -> TimerState:
    """The state after an engine has started."""
    same = update.schedule == state.schedule
    run = update.run and (state.last is None or state.last < update.since)
    changed = {"schedule": update.schedule, "due": due if same and not run else None, "at_once": run}
    return msgspec.structs.replace(state, **changed)


def _set_status(context: DurableOrchestrationContext, state: TimerState, due: datetime) -> None:
    status = {"schedule": state.schedule, "next": due, "last": state.last, "failure": state.failure}
    context.set_custom_status({key: value for key, value in status.items() if value is not None})


def _make_activity(function: Function, clients: Callable[[], ClientProvider]) -> Callable[..., Any]:
    assert isinstance(function.trigger, TimerTrigger)
    argument = function.trigger.argument

    def bind_call(timer_call: TimerCall, context: ActivityContext) -> dict[str, Any]:
        request = _make_request(timer_call, timer_call.past_due or context.redelivered)
        return bind_arguments(function, {argument: request}, clients())

    def log_outputs(named: dict[str, Any], returned: Any) -> None:
        # They are only logged, because the orchestration continues as new and its history is replaced.
        if found := output_bindings.record_outputs(function, named, returned):
            _log.info("timer function '%s': %s", function.name, output_bindings.format_unsent(found))

    async def call_async(timer_call: TimerCall, context: ActivityContext) -> None:
        try:
            named = bind_call(timer_call, context)
            log_outputs(named, await function.call(**named))
        except Exception:
            _log.exception("timer function '%s' failed", function.name)
            raise

    def call(timer_call: TimerCall, context: ActivityContext) -> None:
        try:
            named = bind_call(timer_call, context)
            log_outputs(named, function.call(**named))
        except Exception:
            _log.exception("timer function '%s' failed", function.name)
            raise

    mark = FunctionMark("activity", TIMER_PREFIX + function.name)
    return set_mark(call_async if function.executor == "async" else call, mark)


def _make_request(call: TimerCall, late: bool) -> TimerRequest:
    last = call.last or datetime.min
    status = {"Last": last.isoformat(), "Next": call.following.isoformat(), "LastUpdated": last.isoformat()}
    return TimerRequest(past_due=late, schedule_status=status, schedule={"AdjustForDST": True})
