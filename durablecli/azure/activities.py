"""Calls an activity as Azure does: by the names of its parameters, with its input as it came.

Its annotations are for readers. Where one can be followed it is, so that a class with `from_json` gets its objects;
where it can't, the plain value is passed, and not refused.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

from msgspec import Raw

from durablecli.app import Function, Registry
from durablecli.azure.functions import Context
from durablecli.azure.invocation import Clients
from durablecli.engine.activity import ActivityContext
from durablecli.errors import Mismatch
from durablecli.model.payloads import decode

_CONTEXT = "context"


def give_clients(registry: Registry, clients: Callable[[], Clients]) -> None:
    """See that activities which want a client of the hub get one; `clients` is asked at each call."""
    for function in registry.of_kind("activity"):
        if function.argument is not None and function.client is not None:
            own = inspect.unwrap(function.call, stop=lambda call: "__signature__" not in vars(call))
            function.call = adapted(own, function.argument, function.name, partial(_client, function, clients))


def _client(function: Function, clients: Callable[[], Clients]) -> dict[str, Any]:
    return {function.client or "": clients().of(function)}


def adapted(
    function: Callable[..., Any], argument: str, name: str, more: Callable[[], dict[str, Any]] = dict
) -> Callable[..., Any]:
    """The activity as the engine calls it: with its input in JSON, and the context. `more` are arguments by name."""
    parameters = _parameters(function)
    if argument not in parameters and parameters:
        argument = next(iter(parameters))
    annotation = _annotation(parameters.get(argument))
    folder = os.path.dirname(inspect.unwrap(function).__code__.co_filename)

    def arguments(given: Raw, context: ActivityContext) -> dict[str, Any]:
        named: dict[str, Any] = {argument: _read(given, annotation)} if parameters else {}
        if _CONTEXT in parameters and argument != _CONTEXT:
            wants_ours = parameters[_CONTEXT].annotation is ActivityContext
            named[_CONTEXT] = context if wants_ours else Context(name, context.idempotency_key, folder)
        return named | more()

    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def call(given: Raw, context: ActivityContext) -> Any:
            return await function(**arguments(given, context))
    else:

        @wraps(function)
        def call(given: Raw, context: ActivityContext) -> Any:
            return function(**arguments(given, context))

    vars(call)["__signature__"] = _SIGNATURE
    return call


def _engine_calls(given: Raw, context: ActivityContext) -> None: ...


_SIGNATURE = inspect.signature(_engine_calls, eval_str=True)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function, eval_str=True).parameters)
    except (NameError, TypeError, ValueError, SyntaxError, AttributeError):
        return dict(inspect.signature(function).parameters)


def _annotation(parameter: inspect.Parameter | None) -> Any:
    if parameter is None or parameter.annotation is parameter.empty or isinstance(parameter.annotation, str):
        return Any
    return parameter.annotation


def _read(given: Raw, annotation: Any) -> Any:
    try:
        return decode(given, annotation)
    except Mismatch:
        return decode(given)
