"""Calling one activity: decode its input, give it its context, encode what comes back."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, NamedTuple

from msgspec import Raw
from msgspec.structs import replace

from durablecli.engine.workers.activity_arguments import bind_arguments
from durablecli.engine.workers.activity_context import ActivityContext, Cancellation
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.errors import BindingUnavailable
from durablecli.model.events import NULL, BindingOutput
from durablecli.model.failures import Failure, from_exception
from durablecli.model.payloads import encode
from durablecli.model.round_trip import check_no_subclass_fields_lost
from durablecli.registry import Function

_PLAIN_TYPES = frozenset({type(None), bool, int, float, str, list, dict, tuple})
"""Most results, which need no closer look."""


class ActivityCall(NamedTuple):
    """One activity to run, as an executor needs it."""

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
        """Run an activity to its end, here and now. Whatever it raises is its failure, never ours.

        One that turns out to be asynchronous, as in a worker process or behind a decorator, gets its own event loop.
        """
        try:
            places, names = bind_arguments(self.function, self.input, self.make_context)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error, retryable=False)
        try:
            value = self.function.call(*places, **names)
            if type(value) not in _PLAIN_TYPES and isinstance(value, Awaitable):
                value = _run_awaitable(value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error)
        return to_result(self, value)

    async def run_async(self) -> ActivityResult:
        """Run an asynchronous one."""
        try:
            places, names = bind_arguments(self.function, self.input, self.make_context)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error, retryable=False)
        try:
            value = await self.function.call(*places, **names)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error)
        return to_result(self, value)

    def make_cancelled_result(self) -> ActivityResult:
        """The outcome of one that was cancelled before it began: nobody reads it."""
        return ActivityResult(self.key, NULL, None)

    def make_failed_result(self, error: BaseException) -> ActivityResult:
        """The outcome of one that an executor could not run to its end."""
        return to_failed_result(self.key, error)


def _run_awaitable(value: Awaitable[Any]) -> Any:
    import asyncio  # worker processes seldom need it

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


class ActivityResult(NamedTuple):
    """What came of a call: a result, or a failure. `outputs` are the values set on output bindings."""

    key: WorkKey
    result: Raw | None
    failure: Failure | None
    outputs: tuple[BindingOutput, ...] = ()


class ReturnWithOutputs(NamedTuple):
    """The return value of an activity that has output bindings, with the values set on them."""

    value: Any
    outputs: tuple[BindingOutput, ...]


def to_result(call: ActivityCall, value: Any) -> ActivityResult:
    """The outcome of a call that returned."""
    key = call.key
    value, outputs = value if type(value) is ReturnWithOutputs else (value, ())
    try:
        if classes := call.function.result_classes:
            check_no_subclass_fields_lost(value, classes, "$")
        return ActivityResult(key, encode(value, call.payload_limit), None, outputs)
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        return to_failed_result(key, error, retryable=False)


def to_failed_result(key: WorkKey, error: BaseException, *, retryable: bool = True) -> ActivityResult:
    """The outcome of a call that raised."""
    failure = from_exception(error)
    if issubclass(type(error), BindingUnavailable):  # no later attempt would find it; isinstance may run user code
        retryable = False
    return ActivityResult(key, None, failure if retryable else replace(failure, retryable=False))
