"""Calls one activity: binds its arguments (see `activity_arguments`), runs it, and encodes its result."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from durablecli.engine.workers.activity_arguments import bind_arguments, insert_resources
from durablecli.engine.workers.activity_context import ActivityContext, Cancellation
from durablecli.engine.workers.awaitables import await_outcome, unwrap_outcome
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.work_output import (
    OutputLog,
    WorkIdentity,
    finish_lines,
    running_work,
    unfinished_lines,
)
from durablecli.errors import BindingUnavailable, InvalidCommandInput, RetryAfter
from durablecli.model.binding_output import BindingOutput
from durablecli.model.events import NULL
from durablecli.model.failures import Failure, from_exception
from durablecli.model.payloads import encode
from durablecli.model.round_trip import check_no_subclass_fields_lost
from durablecli.model.trace_context import TraceContext
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
    output_log: OutputLog | None = None
    trace: TraceContext | None = None
    """The parent of its span, if it has one."""
    priority: int = 0
    on_begin: Callable[[], None] | None = None
    """Called in the worker's thread when the author's code begins."""

    def identify(self) -> WorkIdentity:
        instance, execution, n = self.key
        first = self.first_attempt
        return WorkIdentity(
            instance, execution, "activity", self.function.name, n, self.attempt, first if first != n else None
        )

    def make_context(self) -> ActivityContext:
        instance, execution, n = self.key
        idempotency_key = f"{instance}/{execution}/{self.first_attempt}"
        name = self.function.name
        return ActivityContext(instance, n, name, self.attempt, self.redelivered, idempotency_key, self.cancellation)

    def run(self) -> ActivityResult:
        """Run the activity in this thread. What it raises becomes its failure.

        A call that returns an awaitable, as in a worker process or behind a decorator, gets an event loop of its own.
        """
        if self.function.successor is not None:
            return replace(self, function=self.function.newest).run()
        try:
            positional, keywords = bind_arguments(self.function, self.input, self.make_context)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error, retryable=False)
        if self.on_begin is not None:
            self.on_begin()
        token = running_work.set(self)
        try:
            if self.function.dependencies:
                value = self._call_with_resources(positional, keywords)
            else:
                value = self.function.call(*positional, **keywords)
            if type(value) not in _PLAIN_TYPES and isinstance(value, Awaitable):
                value = _run_awaitable(value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error)
        finally:
            running_work.reset(token)
            if unfinished_lines:
                finish_lines(self)
        return to_result(self, value)

    async def run_async(self) -> ActivityResult:
        """Run an asynchronous activity on the current event loop."""
        if self.function.successor is not None:
            return await replace(self, function=self.function.newest).run_async()
        try:
            positional, keywords = bind_arguments(self.function, self.input, self.make_context)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error, retryable=False)
        if self.on_begin is not None:
            self.on_begin()
        token = running_work.set(self)
        try:
            if self.function.dependencies:
                value = await self._call_with_resources_async(positional, keywords)
            else:
                value = await self.function.call(*positional, **keywords)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return to_failed_result(self.key, error)
        finally:
            running_work.reset(token)
            if unfinished_lines:
                finish_lines(self)
        return to_result(self, value)

    def _call_with_resources(self, positional: list[Any], keywords: Mapping[str, Any]) -> Any:
        function = self.function

        def call(values: dict[str, Any]) -> Any:
            places, names = insert_resources(positional, keywords, values)
            value = function.call(*places, **names)
            return _run_awaitable(value) if isinstance(value, Awaitable) else value

        return function.resources.call(function.dependencies, call)

    async def _call_with_resources_async(self, positional: list[Any], keywords: Mapping[str, Any]) -> Any:
        function = self.function

        def call(values: dict[str, Any]) -> Awaitable[Any]:
            places, names = insert_resources(positional, keywords, values)
            return function.call(*places, **names)  # type: ignore[no-any-return]

        return await function.resources.call_async(function.dependencies, call)

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
    must_rerun: bool = False
    """Whether the worker has died instead: the call begins once more, when its limits let it."""


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
    kind = type(error)  # isinstance could run user code
    if issubclass(kind, (BindingUnavailable, InvalidCommandInput)):  # a retry would fail too
        retryable = False
    elif issubclass(kind, RetryAfter):
        failure = replace(failure, retry_after=_get_requested_delay(error))
    return ActivityResult(key, None, failure if retryable else replace(failure, retryable=False))


def _get_requested_delay(error: BaseException) -> float | None:
    """Return the delay of a RetryAfter in seconds; None if a subclass of the author's has replaced it by nonsense."""
    seconds = vars(error).get("seconds")
    return seconds if type(seconds) is float and 0 <= seconds < inf else None
