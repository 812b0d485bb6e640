"""Hooks: the built-in orchestrator that delivers one event, and its activities.

A delivery is tried until it succeeds or the attempts are used up; between two attempts it waits on a durable timer. So
it survives kills, and never delays the instance that the event is about, which has ended or is blocked already.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.model.hook_delivery import (
    HOOK_COMMAND_ACTIVITY,
    HOOK_DETAILS_ACTIVITY,
    HOOK_ORCHESTRATOR,
    HOOK_URL_ACTIVITY,
    HookAttempt,
    HookDelivery,
    HookEvent,
)
from durablecli.replay.context import DurableOrchestrationContext
from durablecli.replay.function_marks import FunctionMark, set_mark

if TYPE_CHECKING:  # slow to import, and needed for deliveries only
    from durablecli.client import Client

_FIRST_DELAY = timedelta(seconds=5)
_MAX_DELAY = timedelta(hours=1)


class HookNotDelivered(Exception):
    """A delivery failed at every attempt."""


def make_hook_functions(
    get_client: Callable[[], Client], get_page: Callable[[str], str | None], folder: str
) -> Sequence[Callable[..., Any]]:
    """Make the orchestrator and its activities.

    `get_client` returns a client of the hub, `get_page` the address of an instance's page in the dashboard, and
    commands run in `folder`.
    """

    def read_details(event: HookEvent) -> HookEvent:
        from durablecli.builtin.failed_calls import find_failed_call

        page = get_page(event.instance)
        if event.event != "failed":
            return replace(event, url=page)
        return replace(event, url=page, activity=find_failed_call(get_client(), event))

    async def post(attempt: HookAttempt) -> None:
        from durablecli.builtin.hook_delivering import post_event

        await post_event(attempt.event, attempt.target)

    def run(attempt: HookAttempt, context: ActivityContext) -> None:
        from durablecli.builtin.hook_delivering import run_command

        run_command(attempt.event, attempt.target, folder, lambda: context.cancelled)

    return (
        set_mark(_deliver, FunctionMark("orchestrator", HOOK_ORCHESTRATOR)),
        set_mark(read_details, FunctionMark("activity", HOOK_DETAILS_ACTIVITY)),
        set_mark(post, FunctionMark("activity", HOOK_URL_ACTIVITY)),
        set_mark(run, FunctionMark("activity", HOOK_COMMAND_ACTIVITY)),
    )


def _deliver(context: DurableOrchestrationContext) -> Generator[Any, Any, str]:
    delivery: HookDelivery = context.get_input(HookDelivery)
    target = delivery.target
    event: HookEvent = yield context.call_activity(HOOK_DETAILS_ACTIVITY, delivery.event, HookEvent)
    activity = HOOK_URL_ACTIVITY if target.url is not None else HOOK_COMMAND_ACTIVITY
    number = 1
    while True:
        try:
            yield context.call_activity(activity, HookAttempt(event, target, number))
        except Exception as error:  # noqa: BLE001 - whatever failed, it is tried again
            text = (str(error).partition(" failed: ")[2] or str(error)).removeprefix("HookFailed: ")
            if number >= target.attempts:
                tries = "1 attempt" if number == 1 else f"{number} attempts"
                raise HookNotDelivered(f"{event.text!r} was not delivered in {tries}: {text}") from None
            due = context.current_utc_datetime + _get_delay(number)
            context.set_custom_status({"attempts": number, "next": due, "error": text[:300]})
            yield context.create_timer(due)
            number += 1
        else:
            context.set_custom_status({"attempts": number})
            return f"delivered to {target.label}"


def _get_delay(number: int) -> timedelta:
    """The delay after this attempt."""
    factor: int = 3 ** min(number - 1, 10)
    return min(_FIRST_DELAY * factor, _MAX_DELAY)
