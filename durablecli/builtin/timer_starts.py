"""Starts the orchestrations of timer functions when an engine starts, and ends those that the app no longer has."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from durablecli.apps.host_json import expand_settings
from durablecli.bindings import TimerTrigger
from durablecli.errors import ConfigError
from durablecli.model.payloads import encode
from durablecli.registry import Function, Registry
from durablecli.scheduling.expressions import parse_schedule
from durablecli.store.hub import Hub, use_index
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.message_files import BATCH
from durablecli.store.inbox.messages import Mailbox, MessageItem
from durablecli.store.query import Query

if TYPE_CHECKING:  # slow to import, and needed for apps with timer functions only
    from durablecli.client import Client

TIMER_ORCHESTRATOR = "BuiltIn__Timer"
TIMER_PREFIX = "timer:"
"""The prefix of the orchestrations' instance ids and of their activities' names."""

SCHEDULE_EVENT = "schedule"
_ALL_TIMERS = Query(name=TIMER_ORCHESTRATOR, prefix=TIMER_PREFIX)


class TimerState(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """The input of one execution: it waits until the function is due, or calls it `at_once`."""

    function: str
    schedule: str
    due: datetime | None = None
    at_once: bool = False
    last: datetime | None = None
    failure: str | None = None


class ScheduleUpdate(msgspec.Struct, frozen=True, rename="camel"):
    """The event that a starting engine sends. With `run` the function is called, unless it was called since `since`."""

    schedule: str
    since: datetime
    run: bool = False


def may_exist(registry: Registry, hub: Hub) -> bool:
    """Whether the app has timer functions, or the hub may have an orchestration of one that the app had before."""
    if registry.functions_of_kind("timer"):
        return True
    if use_index(hub, lambda index: index.count(_ALL_TIMERS)):
        return True
    return not InboxReader(hub.disk, hub.root).read_listing().targets <= {BATCH}  # no batch starts any


def ensure_timers(
    registry: Registry,
    client: Client,
    mailbox: Mailbox,
    since: datetime,
    *,
    is_complete: bool,
    warn: Callable[[str], None],
) -> None:
    """Ensure that each timer function has its orchestration, with its current schedule.

    `since` is the start of this engine: `run_on_startup` doesn't repeat a call made after it. If a schedule is invalid,
    the orchestration with the old one is terminated. If the app was loaded completely (`is_complete`), so are those of
    functions that it no longer has.
    """
    functions = registry.functions_of_kind("timer")
    for function in functions:
        try:
            _ensure_timer(function, client, mailbox, since)
        except (ConfigError, ValueError) as error:
            warn(f"timer function {function.name} was not started: {error}")
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
        raise ConfigError(f"{instance} is an instance of {status.name}: terminate it, or rename the function")
    elif run or _get_schedule(status.input_) != schedule:
        mailbox.post(
            "raise-event", [MessageItem(instance, SCHEDULE_EVENT, encode(ScheduleUpdate(schedule, since, run)))]
        )


def _get_schedule(input: Any) -> Any:
    return input.get("schedule") if isinstance(input, dict) else None


def _terminate_removed(known: set[str], client: Client, mailbox: Mailbox) -> None:
    for instance in list(client.iter_ids(_ALL_TIMERS)):
        if instance not in known:
            _terminate(instance, "the app no longer has this timer function", client, mailbox)


def _terminate(instance: str, reason: str, client: Client, mailbox: Mailbox) -> None:
    """Terminate the orchestration of a timer function, if it is running."""
    status = client.get_status(instance)
    if status and status.name == TIMER_ORCHESTRATOR and not status.ended:
        mailbox.post("terminate", [MessageItem(instance, reason=reason)])
