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

from durablecli.app import Function, Registry
from durablecli.apps.host_json import resolve
from durablecli.azure import output_bindings
from durablecli.azure.functions import TimerRequest
from durablecli.azure.invocation import Clients, arguments
from durablecli.blueprints import TimerTrigger
from durablecli.builtin.schedules import parse
from durablecli.client import Client, Mailbox, MessageItem, Query
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import ConfigError
from durablecli.model.payloads import encode
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark

ORCHESTRATOR = "BuiltIn__Timer"
PREFIX = "timer:"
"""What the ids of the orchestrations, and the names of their activities, begin with."""

_NEWS = "schedule"
_LATE = timedelta(seconds=1)
_log = logging.getLogger("durablecli.timer")


class Order(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What one execution has to do: wait until the function is due by its schedule, or call it `at_once`."""

    function: str
    schedule: str
    due: datetime | None = None
    at_once: bool = False
    last: datetime | None = None
    failure: str | None = None


class News(msgspec.Struct, frozen=True, rename="camel"):
    """What an engine that starts tells the orchestration. With `run` the function is called, unless it was `since`."""

    schedule: str
    since: datetime
    run: bool = False


class Occasion(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What the function is told of its call."""

    past_due: bool
    due: datetime
    following: datetime
    last: datetime | None = None


# What carries the functions.


def build_in(registry: Registry, clients: Callable[[], Clients]) -> None:
    """Have the orchestrator at hand, and for each timer function the activity that calls it.

    `clients` is asked at each call: where the hub answers HTTP is known only when it does."""
    calls = [_activity(function, clients) for function in registry.functions_of_kind("timer")]
    registry.add_built_in([_marked(_carry, FunctionMark("orchestrator", ORCHESTRATOR)), *calls])


def _carry(context: DurableOrchestrationContext) -> Generator[Any, Any, None]:
    order: Order = context.get_input(Order)
    schedule = parse(order.schedule)
    due = order.due or schedule.after(context.current_utc_datetime)
    if not order.at_once:
        _show(context, order, due)
        timer, news = context.create_timer(due), context.wait_for_external_event(_NEWS, News)
        if (yield context.task_any([timer, news])) is news:
            timer.cancel()
            context.continue_as_new(_follow(order, due, news.result))
            return
    began = context.current_utc_datetime
    late = not order.at_once and began - due > _LATE
    occasion = Occasion(late, began if order.at_once else due, schedule.after(max(began, due)), order.last)
    failure = None
    try:
        yield context.call_activity(PREFIX + order.function, occasion)
    except Exception as error:  # noqa: BLE001 - the schedule goes on, whatever a call came to
        failure = str(error)
    # Reckoned from the run and not from now: an engine that dies here must not make the next run be forgotten.
    due = occasion.following
    context.continue_as_new(Order(order.function, order.schedule, due=due, last=began, failure=failure))


def _follow(order: Order, due: datetime, news: News) -> Order:
    """What to do after an engine has started."""
    same = news.schedule == order.schedule
    run = news.run and (order.last is None or order.last < news.since)
    changed = {"schedule": news.schedule, "due": due if same and not run else None, "at_once": run}
    return msgspec.structs.replace(order, **changed)


def _show(context: DurableOrchestrationContext, order: Order, due: datetime) -> None:
    status = {"schedule": order.schedule, "next": due, "last": order.last, "failure": order.failure}
    context.set_custom_status({key: value for key, value in status.items() if value is not None})


def _activity(function: Function, clients: Callable[[], Clients]) -> Callable[..., Any]:
    assert isinstance(function.trigger, TimerTrigger)
    argument = function.trigger.argument

    def given(occasion: Occasion, context: ActivityContext) -> dict[str, Any]:
        request = _request(occasion, occasion.past_due or context.redelivered)
        return arguments(function, {argument: request}, clients())

    def log_outputs(named: dict[str, Any], returned: Any) -> None:
        # The history of the call is replaced before anybody reads it.
        if found := output_bindings.recorded(function, named, returned):
            _log.info(
                "timer function '%s': %s: %s", function.name, output_bindings.NOT_SENT, output_bindings.described(found)
            )

    async def call_async(occasion: Occasion, context: ActivityContext) -> None:
        try:
            named = given(occasion, context)
            log_outputs(named, await function.call(**named))
        except Exception:
            _log.exception("timer function '%s' failed", function.name)
            raise

    def call(occasion: Occasion, context: ActivityContext) -> None:
        try:
            named = given(occasion, context)
            log_outputs(named, function.call(**named))
        except Exception:
            _log.exception("timer function '%s' failed", function.name)
            raise

    return _marked(
        call_async if function.executor == "async" else call, FunctionMark("activity", PREFIX + function.name)
    )


def _request(occasion: Occasion, late: bool) -> TimerRequest:
    last = occasion.last or datetime.min
    status = {"Last": last.isoformat(), "Next": occasion.following.isoformat(), "LastUpdated": last.isoformat()}
    return TimerRequest(past_due=late, schedule_status=status, schedule={"AdjustForDST": True})


def _marked(call: Callable[..., Any], mark: FunctionMark) -> Callable[..., Any]:
    setattr(call, MARK_ATTRIBUTE, mark)
    return call


# What an engine that starts has to see to.


def keep(
    registry: Registry, client: Client, mailbox: Mailbox, since: datetime, *, whole: bool, say: Callable[[str], None]
) -> None:
    """See that each timer function has its orchestration, under its present schedule.

    `since` is when this engine began: what has run from then on isn't run again because of it. Where a schedule makes
    no sense, the orchestration that goes by an old one is ended. Where the `whole` app could be loaded, those of
    functions that it doesn't have any more are ended too.
    """
    functions = registry.functions_of_kind("timer")
    for function in functions:
        try:
            _keep(function, client, mailbox, since)
        except (ConfigError, ValueError) as error:
            say(f"timer function {function.name} isn't started: {error}")
            _end(PREFIX + function.name, f"it can't be started: {error}", client, mailbox)
    if whole:
        _end_others({PREFIX + function.name for function in functions}, client, mailbox)


def _keep(function: Function, client: Client, mailbox: Mailbox, since: datetime) -> None:
    assert isinstance(function.trigger, TimerTrigger)
    schedule, run = resolve(function.trigger.schedule), function.trigger.run_on_startup
    parse(schedule)
    instance = PREFIX + function.name
    status = client.get_status(instance)
    if not status or status.ended:
        order = Order(function.name, schedule, at_once=run)
        mailbox.post("start", [MessageItem(instance, ORCHESTRATOR, encode(order))])
    elif status.name != ORCHESTRATOR:
        raise ConfigError(f"{instance} is an instance of {status.name}: end it, or call the function otherwise")
    elif run or _schedule(status.input_) != schedule:
        mailbox.post("raise-event", [MessageItem(instance, _NEWS, encode(News(schedule, since, run)))])


def _schedule(input: Any) -> Any:
    return input.get("schedule") if isinstance(input, dict) else None


def _end_others(known: set[str], client: Client, mailbox: Mailbox) -> None:
    for instance in list(client.iter_ids(Query(name=ORCHESTRATOR, prefix=PREFIX))):
        if instance not in known:
            _end(instance, "the app has no such timer function any more", client, mailbox)


def _end(instance: str, reason: str, client: Client, mailbox: Mailbox) -> None:
    """End an orchestration of ours that still goes on by an old schedule."""
    status = client.get_status(instance)
    if status and status.name == ORCHESTRATOR and not status.ended:
        mailbox.post("terminate", [MessageItem(instance, reason=reason)])
