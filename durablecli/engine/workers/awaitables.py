"""Waits for what user code returns, and raises its exception outside of the task that ran it.

A task of asyncio keeps its exception, and the traceback refers to the frames that wait for the task: a cycle that only
the garbage collector could free.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple


class AwaitedOutcome(NamedTuple):
    """What an awaitable gave: its value, or the exception that it raised."""

    value: Any
    error: BaseException | None


async def await_outcome(value: Awaitable[Any]) -> AwaitedOutcome:
    """Await a value; what that raises is part of the outcome."""
    try:
        return AwaitedOutcome(await value, None)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything
        return AwaitedOutcome(None, error)


def unwrap_outcome(outcome: AwaitedOutcome) -> Any:
    """Return the value, or raise the exception."""
    if outcome.error is None:
        return outcome.value
    try:
        raise outcome.error
    finally:
        del outcome  # the traceback refers to this frame
