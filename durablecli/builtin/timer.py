"""Timer functions: each is carried by an orchestration of ours, `timer:<function>`, so no restart makes it forget.

It sleeps by a durable timer until the schedule says, calls the function as an activity and begins anew. What came due
while no engine ran is due at once when one does: once, however often it was missed, and with `past_due`. So is a call
that was cut off. The orchestration may be looked at, suspended and resumed like any other; its status tells the last
call and the next. One that was ended begins anew with the next engine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from durablecli.apps.host_json import expand_settings
from durablecli.azure import output_bindings
from durablecli.azure.functions import TimerRequest
from durablecli.azure.invocation import ClientProvider, bind_arguments
from durablecli.blueprints import TimerTrigger
from durablecli.builtin.schedules import parse_schedule
from durablecli.client import Client, Mailbox, MessageItem, Query
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import ConfigError
from durablecli.model.payloads import encode
from durablecli.registry import Function, Registry
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark

TIMER_ORCHESTRATOR = "BuiltIn__Timer"
TIMER_PREFIX = "timer:"
"""What the ids of the orchestrations, and the names of their activities, begin with."""

_SCHEDULE_EVENT = "schedule"
_PAST_DUE_AFTER = timedelta(seconds=1)
_log = logging.getLogger("durablecli.timer")


class TimerState(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What one execution has to do: wait until the function is due by its schedule, or call it `at_once`."""

    function: str
    schedule: str
    due: datetime | None = None
    at_once: bool = False
    last: datetime | None = None
    failure: str | None = None


class ScheduleUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """What an engine that starts tells the orchestration. With `run` the function is called, unless it was `since`."""

    schedule: str
    since: datetime
    run: bool = False


class TimerCall(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the function is told of its call."""

    past_due: bool
    due: datetime
    following: datetime
    last: datetime | None = None


# What carries the functions.


def register_timers(registry: Registry, clients: Callable[[], ClientProvider]) -> None:
    """Have the orchestrator at hand, and for each timer function the activity that calls it.

    `clients` is asked at each call: where the hub answers HTTP is known only when it does."""
    calls = [_make_activity(function, clients) for function in registry.functions_of_kind("timer")]
    registry.add_built_in([_set_mark(_timer_orchestrator, FunctionMark("orchestrator", TIMER_ORCHESTRATOR)), *calls])


def _timer_orchestrator(context: DurableOrchestrationContext) -> Generator[Any, Any, None]:
    state: TimerState = context.get_input(TimerState)
    schedule = parse_schedule(state.schedule)
    due = state.due or schedule.next_after(context.current_utc_datetime)
    if not state.at_once:
        _set_status(context, state, due)
        timer, update = context.create_timer(due), context.wait_for_external_event(_SCHEDULE_EVENT, ScheduleUpdate)
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
    except Exception as error:  # noqa: BLE001 - the schedule goes on, whatever a call came to
        failure = str(error)
    # Reckoned from the run and not from now: an engine that dies here must not make the next run be forgotten.
    due = call.following
    context.continue_as_new(TimerState(state.function, state.schedule, due=due, last=began, failure=failure))


def _apply_update(state: TimerState, due: datetime, update: ScheduleUpdate) -> TimerState:
    """What to do after an engine has started."""
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

    def bind_call(occasion: TimerCall, context: ActivityContext) -> dict[str, Any]:
        request = _make_request(occasion, occasion.past_due or context.redelivered)
        return bind_arguments(function, {argument: request}, clients())

    def log_outputs(named: dict[str, Any], returned: Any) -> None:
        # The history of the call is replaced before anybody reads it.
        if found := output_bindings.record_outputs(function, named, returned):
            _log.info(
                "timer function '%s': %s: %s",
                function.name,
                output_bindings.NOT_SENT,
                output_bindings.format_outputs(found),
            )

    async def call_async(occasion: TimerCall, context: ActivityContext) -> None:
        try:
            named = bind_call(occasion, context)
            log_outputs(named, await function.call(**named))
        except Exception:
            _log.exception("timer function '%s' failed", function.name)
            raise

    def call(occasion: TimerCall, context: ActivityContext) -> None:
        try:
            named = bind_call(occasion, context)
            log_outputs(named, function.call(**named))
        except Exception:
            _log.exception("timer function '%s' failed", function.name)
            raise

    return _set_mark(
        call_async if function.executor == "async" else call, FunctionMark("activity", TIMER_PREFIX + function.name)
    )


def _make_request(call: TimerCall, late: bool) -> TimerRequest:
    last = call.last or datetime.min
    status = {"Last": last.isoformat(), "Next": call.following.isoformat(), "LastUpdated": last.isoformat()}
    return TimerRequest(past_due=late, schedule_status=status, schedule={"AdjustForDST": True})


def _set_mark(call: Callable[..., Any], mark: FunctionMark) -> Callable[..., Any]:
    setattr(call, MARK_ATTRIBUTE, mark)
    return call


# What an engine that starts has to see to.


def ensure_timers(
    registry: Registry,
    client: Client,
    mailbox: Mailbox,
    since: datetime,
    *,
    is_complete: bool,
    warn: Callable[[str], None],
) -> None:
    """See that each timer function has its orchestration, under its present schedule.

    `since` is when this engine began: what has run from then on isn't run again because of it. Where a schedule makes
    no sense, the orchestration that goes by an old one is ended. Where the `whole` app could be loaded, those of
    functions that it doesn't have any more are ended too.
    """
    functions = registry.functions_of_kind("timer")
    for function in functions:
        try:
            _ensure_timer(function, client, mailbox, since)
        except (ConfigError, ValueError) as error:
            warn(f"timer function {function.name} isn't started: {error}")
            _terminate(TIMER_PREFIX + function.name, f"it can't be started: {error}", client, mailbox)
    if is_complete:
        _terminate_removed({TIMER_PREFIX + function.name for function in functions}, client, mailbox)


def _ensure_timer(function: Function, client: Client, mailbox: Mailbox, since: datetime) -> None:
    assert isinstance(function.trigger, TimerTrigger)
    schedule, run = expand_settings(function.trigger.schedule), function.trigger.run_on_startup
    parse_schedule(schedule)
    instance = TIMER_PREFIX + function.name
    status = client.get_status(instance)
    if not status or status.ended:
        state = TimerState(function.name, schedule, at_once=run)
        mailbox.post("start", [MessageItem(instance, TIMER_ORCHESTRATOR, encode(state))])
    elif status.name != TIMER_ORCHESTRATOR:
        raise ConfigError(f"{instance} is an instance of {status.name}: end it, or call the function otherwise")
    elif run or _get_schedule(status.input_) != schedule:
        mailbox.post(
            "raise-event", [MessageItem(instance, _SCHEDULE_EVENT, encode(ScheduleUpdate(schedule, since, run)))]
        )


def _get_schedule(input: Any) -> Any:
    return input.get("schedule") if isinstance(input, dict) else None


def _terminate_removed(known: set[str], client: Client, mailbox: Mailbox) -> None:
    for instance in list(client.iter_ids(Query(name=TIMER_ORCHESTRATOR, prefix=TIMER_PREFIX))):
        if instance not in known:
            _terminate(instance, "the app has no such timer function any more", client, mailbox)


def _terminate(instance: str, reason: str, client: Client, mailbox: Mailbox) -> None:
    """End an orchestration of ours that still goes on by an old schedule."""
    status = client.get_status(instance)
    if status and status.name == TIMER_ORCHESTRATOR and not status.ended:
        mailbox.post("terminate", [MessageItem(instance, reason=reason)])
