"""Calls an activity as Azure does: by the names of its parameters, with its input as it came.

Its annotations are for readers, but for classes with `from_json`: those get their objects, where the input fits.
Whatever else is annotated receives the plain value. An activity of durablecli's own apps is held to its annotations.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from msgspec import Raw

from durablecli.app import Function, Registry
from durablecli.azure import output_bindings
from durablecli.azure.functions import Context
from durablecli.azure.invocation import CONTEXT, Clients
from durablecli.engine.workers.activity import ReturnWithOutputs
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import Mismatch
from durablecli.model.annotations import resolve_signature
from durablecli.model.payloads import decode
from durablecli.replay.function_marks import json_constructible

_ORIGINAL = "__durable_activity__"


def bind(registry: Registry) -> None:
    """Have each activity with bindings called with what its parameters are bound to, except for clients of the hub."""
    _bind(registry, None)


def give_clients(registry: Registry, clients: Callable[[], Clients]) -> None:
    """Do the same, and give clients of the hub to those that want one; `clients` is asked at each call."""
    _bind(registry, clients)


def _bind(registry: Registry, clients: Callable[[], Clients] | None) -> None:
    for function in registry.functions_of_kind("activity"):
        if function.azure_input_name is not None or function.client_parameter is not None or function.bindings:
            function.replace_callable(_adapted(function, getattr(function.call, _ORIGINAL, function.call), clients))


def _adapted(
    function: Function, original: Callable[..., Any], clients: Callable[[], Clients] | None
) -> Callable[..., Any]:
    """The activity as the engine calls it: with its input in JSON, and the context."""
    bound = _Parameters(function, original, clients)

    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def call(given: Raw, context: ActivityContext) -> Any:
            arguments = bound.arguments(given, context)
            return bound.returned(arguments, await original(**arguments))
    else:

        @wraps(original)
        def call(given: Raw, context: ActivityContext) -> Any:
            arguments = bound.arguments(given, context)
            return bound.returned(arguments, original(**arguments))

    vars(call)["__signature__"] = _SIGNATURE
    vars(call)[_ORIGINAL] = original
    return call


class _Parameters:
    """The parameters of one activity, and what each of them receives at a call."""

    def __init__(self, function: Function, original: Callable[..., Any], clients: Callable[[], Clients] | None) -> None:
        self._function = function
        self._clients = clients
        self._parameters = parameters = _parameters(original)
        self._input = self._input_name()
        is_ours = function.azure_input_name is None
        annotation = _annotation(parameters.get(self._input or ""))
        self._read = decode if is_ours else _read
        self._annotation = annotation if is_ours else json_constructible(annotation)
        self._wants_context = CONTEXT in parameters and self._input != CONTEXT
        self._records = bool(output_bindings.outs(function, parameters.values())) or bool(function.outputs)
        self._folder = os.path.dirname(getattr(inspect.unwrap(original), "__code__", _SELF).co_filename)
        self._own = [name for name, one in parameters.items() if one.annotation is ActivityContext]

    def arguments(self, given: Raw, context: ActivityContext) -> dict[str, Any]:
        """The arguments by name; raises BindingUnavailable."""
        function = self._function
        named: dict[str, Any] = {}
        if self._input is not None:
            named[self._input] = self._read(given, self._annotation)
        if self._wants_context:
            named[CONTEXT] = Context(function.name, context.idempotency_key, self._folder)
        named.update(dict.fromkeys(self._own, context))
        if function.bindings:
            output_bindings.check_inputs(function)
        if self._records:
            named.update(output_bindings.outs(function, self._parameters.values()))
        if function.client_parameter is not None and self._clients is not None:
            named[function.client_parameter] = self._clients().of(
                function, self._parameters.get(function.client_parameter)
            )
        return named

    def returned(self, arguments: dict[str, Any], value: Any) -> Any:
        """The return value, with what was set on outputs where there are any."""
        return (
            ReturnWithOutputs(value, output_bindings.recorded(self._function, arguments, value))
            if self._records
            else value
        )

    def _input_name(self) -> str | None:
        """The parameter that receives the input: the one that the trigger names, or the first that nothing else is
        bound to."""
        parameters, declared = self._parameters, self._function.input_name
        if declared in parameters or any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
            return declared
        taken = {
            self._function.client_parameter,
            *self._function.bindings,
            *output_bindings.outs(self._function, parameters.values()),
        }
        free = [
            name
            for name, one in parameters.items()
            if name not in taken and one.kind is not one.VAR_POSITIONAL and one.annotation is not ActivityContext
        ]
        return next((name for name in free if name != CONTEXT), CONTEXT if free else None)


def _engine_calls(given: Raw, context: ActivityContext) -> None: ...


_SELF = _engine_calls.__code__
_SIGNATURE = inspect.signature(_engine_calls, eval_str=True)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(resolve_signature(function).parameters)


def _annotation(parameter: inspect.Parameter | None) -> Any:
    return Any if parameter is None or parameter.annotation is parameter.empty else parameter.annotation


def _read(given: Raw, annotation: Any) -> Any:
    try:
        return decode(given, annotation)
    except Mismatch:
        return decode(given)
