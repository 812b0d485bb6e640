"""Calls activities as Azure does: by parameter name, with the input as it was sent.

In an Azure app annotations are for readers, except classes with `from_json`: their objects are made if the input fits.
Any other parameter receives the plain value. In an app for durablecli the input is decoded by its annotation.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import wraps
from typing import Any

from msgspec import Raw

from durablecli.azure import output_bindings
from durablecli.azure.functions import Context
from durablecli.azure.invocation import CONTEXT_PARAMETER, ClientProvider
from durablecli.engine.workers.activity import ReturnWithOutputs
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import Mismatch
from durablecli.model.annotations import resolve_signature
from durablecli.model.payloads import decode
from durablecli.registry import Function, Registry
from durablecli.replay.function_marks import json_constructible

_ORIGINAL_ATTRIBUTE = "__durable_activity__"


def bind_activities(registry: Registry) -> None:
    """Have activities with bindings called with the values of their bindings, except durable clients."""
    _wrap_activities(registry, None)


def inject_clients(registry: Registry, clients: Callable[[], ClientProvider]) -> None:
    """Have activities with bindings called with the values of their bindings. `clients` is called for each call."""
    _wrap_activities(registry, clients)


def _wrap_activities(registry: Registry, clients: Callable[[], ClientProvider] | None) -> None:
    for function in registry.functions_of_kind("activity"):
        if function.is_azure or function.has_bindings:
            function.replace_callable(
                _wrap(function, getattr(function.call, _ORIGINAL_ATTRIBUTE, function.call), clients)
            )


def _wrap(
    function: Function, original: Callable[..., Any], clients: Callable[[], ClientProvider] | None
) -> Callable[..., Any]:
    """Wrap an activity so that the engine can call it with the encoded input and the context."""
    binding = _ActivityBinding(function, original, clients)

    if inspect.iscoroutinefunction(original):

        @wraps(original)
        async def call(input: Raw, context: ActivityContext, **resources: Any) -> Any:
            arguments = binding.bind(input, context) | resources
            return binding.wrap_result(arguments, await original(**arguments))
    else:

        @wraps(original)
        def call(input: Raw, context: ActivityContext, **resources: Any) -> Any:
            arguments = binding.bind(input, context) | resources
            return binding.wrap_result(arguments, original(**arguments))

    vars(call)["__signature__"] = _SIGNATURE
    vars(call)[_ORIGINAL_ATTRIBUTE] = original
    return call


class _ActivityBinding:
    """Binds the parameters of parameter activity to their values."""

    def __init__(
        self, function: Function, original: Callable[..., Any], clients: Callable[[], ClientProvider] | None
    ) -> None:
        self._function = function
        self._clients = clients
        self._parameters = parameters = _get_parameters(original)
        for name in function.dependencies:
            parameters.pop(name, None)
        self._input_parameter = self._find_input_parameter()
        annotation = _get_annotation(parameters.get(self._input_parameter or ""))
        self._decode = _decode_leniently if function.is_azure else decode
        self._annotation = json_constructible(annotation) if function.is_azure else annotation
        self._wants_context = CONTEXT_PARAMETER in parameters and self._input_parameter != CONTEXT_PARAMETER
        self._has_outputs = bool(output_bindings.create_outs(function, parameters.values())) or bool(function.outputs)
        self._folder = os.path.dirname(getattr(inspect.unwrap(original), "__code__", _FALLBACK_CODE).co_filename)
        self._context_parameters = [
            name for name, parameter in parameters.items() if parameter.annotation is ActivityContext
        ]

    def bind(self, input: Raw, context: ActivityContext) -> dict[str, Any]:
        """The arguments of a call by name; raises BindingUnavailable."""
        function = self._function
        arguments: dict[str, Any] = {}
        if self._input_parameter is not None:
            arguments[self._input_parameter] = self._decode(input, self._annotation)
        if self._wants_context:
            arguments[CONTEXT_PARAMETER] = Context(function.name, context.idempotency_key, self._folder)
        arguments.update(dict.fromkeys(self._context_parameters, context))
        if function.bindings:
            output_bindings.check_input_bindings(function)
        if self._has_outputs:
            arguments.update(output_bindings.create_outs(function, self._parameters.values()))
        if function.client_parameter is not None and self._clients is not None:
            arguments[function.client_parameter] = self._clients().get_client(
                function, self._parameters.get(function.client_parameter)
            )
        return arguments

    def wrap_result(self, arguments: dict[str, Any], value: Any) -> Any:
        """The return value, with the values of output bindings if the activity has any."""
        return (
            ReturnWithOutputs(value, output_bindings.record_outputs(self._function, arguments, value))
            if self._has_outputs
            else value
        )

    def _find_input_parameter(self) -> str | None:
        """The parameter that receives the input: the parameter the trigger names, or the first without a binding."""
        parameters, declared = self._parameters, self._function.input_name
        if declared in parameters or any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return declared
        taken = {
            self._function.client_parameter,
            *self._function.bindings,
            *output_bindings.create_outs(self._function, parameters.values()),
        }
        free = [
            name
            for name, parameter in parameters.items()
            if name not in taken
            and parameter.kind is not parameter.VAR_POSITIONAL
            and parameter.annotation is not ActivityContext
        ]
        return next((name for name in free if name != CONTEXT_PARAMETER), CONTEXT_PARAMETER if free else None)


def _activity_signature(input: Raw, context: ActivityContext) -> None: ...


_FALLBACK_CODE = _activity_signature.__code__
_SIGNATURE = inspect.signature(_activity_signature, eval_str=True)


def _get_parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return dict(resolve_signature(function).parameters)


def _get_annotation(parameter: inspect.Parameter | None) -> Any:
    return Any if parameter is None or parameter.annotation is parameter.empty else parameter.annotation


def _decode_leniently(input: Raw, annotation: Any) -> Any:
    try:
        return decode(input, annotation)
    except Mismatch:
        return decode(input)
