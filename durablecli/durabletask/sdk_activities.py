"""Runs activities of the `durabletask` SDK, whose parameters are `(ctx, input)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from durabletask import task as sdk
from msgspec import Raw

from durablecli.durabletask.sdk_payloads import SDK_CODEC, coerce, find_activity_input_type
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.model.payloads import RecordedPayload


class SdkActivityContext(sdk.ActivityContext):
    """The SDK's context of an activity call. `durable` is the engine's, with more: attempts, the idempotency key, …"""

    def __init__(self, durable: ActivityContext) -> None:
        super().__init__(durable.instance_id, durable.task_id)
        self.durable = durable


def _call_signature(input: RecordedPayload, context: ActivityContext) -> None: ...


_SIGNATURE = inspect.signature(_call_signature, eval_str=True)


def wrap_activity(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs an activity of the SDK, for the engine to call."""

    def bind(input: Raw, context: ActivityContext) -> tuple[SdkActivityContext, Any]:
        return SdkActivityContext(context), SDK_CODEC.decode(input, find_activity_input_type(function))

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call(input: Raw, context: ActivityContext) -> Any:
            return SDK_CODEC.encode(await function(*bind(input, context)))
    else:

        @wraps(function)
        def call(input: Raw, context: ActivityContext) -> Any:
            return SDK_CODEC.encode(function(*bind(input, context)))

    vars(call)["__signature__"] = _SIGNATURE
    return call


def wrap_azure_activity(function: Callable[..., Any], input_name: str) -> Callable[..., Any]:
    """Return an activity as those of Azure's apps are: its parameters, but the SDK's context, are bound by name."""
    context, given, *others = inspect.signature(function).parameters.values()
    annotation = find_activity_input_type(function)

    def bind(arguments: dict[str, Any]) -> tuple[Any, ...]:
        return SdkActivityContext(arguments.pop(context.name)), coerce(arguments.pop(input_name), annotation)

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call(**arguments: Any) -> Any:
            return await function(*bind(arguments), **arguments)
    else:

        @wraps(function)
        def call(**arguments: Any) -> Any:
            return function(*bind(arguments), **arguments)

    parameters = [
        context.replace(annotation=ActivityContext),
        given.replace(name=input_name, annotation=Any),
        *others,
    ]
    vars(call)["__signature__"] = inspect.Signature(parameters)
    return call
