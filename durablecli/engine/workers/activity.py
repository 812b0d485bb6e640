"""Calls one activity: binds its arguments (see `activity_arguments`), runs it, and encodes its result."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from durablecli.engine.workers.activity_arguments import bind_arguments
from durablecli.engine.workers.activity_context import ActivityContext, Cancellation
from durablecli.engine.workers.awaitables import await_outcome, unwrap_outcome
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.errors import BindingUnavailable
from durablecli.model.events import NULL, BindingOutput
from durablecli.model.failures import Failure, from_exception
from durablecli.model.payloads import encode
from durablecli.model.round_trip import check_no_subclass_fields_lost
from durablecli.registry import Function
from durablecli.store.file_handles import check_handles_for_event_loop, wait_for_handle

_PLAIN_TYPES = frozenset({type(None), bool, int, float, str, list, dict, tuple})
"""The types of most results, which need no check for lost fields and no await."""


class ActivityCall(msgspec.Struct, frozen=True, gc=False):
    """One activity to run, with all that a worker pool needs for it."""

    key: WorkKey
    function: Function
    input: Raw
    attempt: int
    redelivered: bool
    first_attempt: int
    payload_limit: int
    cancellation: Cancellation

    def make_context(self) -> ActivityContext:
        instance, execution, n = self.key
        idempotency_key = f"{instance}/{execution}/{self.first_attempt}"
        name = self.function.name
        return ActivityContext(instance, n, name, self.attempt, self.redelivered, idempotency_key, self.cancellation)

    def run(self) -> ActivityResult:
        """Run the activity in this thread. What it raises becomes its failure.

        A call that returns an awaitable, as in a worker process or behind a decorator, gets an event loop of its own.
        """
        try:
            positional, keywords = bind_arguments(self.function, self.input, self.make_context)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error, retryable=False)
        try:
            value = self.function.call(*positional, **keywords)
            if type(value) not in _PLAIN_TYPES and isinstance(value, Awaitable):
                value = _run_awaitable(value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error)
        return to_result(self, value)

    async def run_async(self) -> ActivityResult:
        """Run an asynchronous activity on the current event loop."""
        try:
            positional, keywords = bind_arguments(self.function, self.input, self.make_context)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error, retryable=False)
        try:
            value = await self.function.call(*positional, **keywords)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error)
        return to_result(self, value)

    def make_cancelled_result(self) -> ActivityResult:
        """Return the result of a call that was cancelled before it started. It is never read."""
        return ActivityResult(self.key, NULL, None)

    def make_failed_result(self, error: BaseException) -> ActivityResult:
        """Return the result of a call that the worker pool couldn't complete."""
        return to_failed_result(self.key, error)


def _run_awaitable(value: Awaitable[Any]) -> Any:
    import asyncio  # worker processes seldom need it

    wait_for_handle(check_handles_for_event_loop)
    return unwrap_outcome(asyncio.run(await_outcome(value)))


class ActivityResult(msgspec.Struct, frozen=True, gc=False):
    """The result of a call, or its failure. `outputs` are the values set on output bindings."""

    key: WorkKey
    result: Raw | None
    failure: Failure | None
    outputs: tuple[BindingOutput, ...] = ()


class ReturnWithOutputs(NamedTuple):
    """The return value of an activity with output bindings, and the values set on them."""

    value: Any
    outputs: tuple[BindingOutput, ...]


def to_result(call: ActivityCall, value: Any) -> ActivityResult:
    """Return the result of a call that returned `value`."""
    key = call.key
    value, outputs = value if type(value) is ReturnWithOutputs else (value, ())
    try:
        if classes := call.function.result_classes:
            check_no_subclass_fields_lost(value, classes, "$")
        return ActivityResult(key, encode(value, call.payload_limit), None, outputs)
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        return to_failed_result(key, error, retryable=False)


def to_failed_result(key: WorkKey, error: BaseException, *, retryable: bool = True) -> ActivityResult:
    """Return the result of a call that raised `error`."""
    failure = from_exception(error)
    if issubclass(type(error), BindingUnavailable):  # a retry would fail too; isinstance could run user code
        retryable = False
    return ActivityResult(key, None, failure if retryable else replace(failure, retryable=False))
