"""Calls of functions with bindings: their arguments, and the response of an HTTP function."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from durablecli.azure import output_bindings
from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
from durablecli.azure.client_binding import ClientBinding
from durablecli.azure.functions import Context, Out
from durablecli.bindings import RETURN_BINDING
from durablecli.client import Client
from durablecli.management_links import ManagementEndpoint
from durablecli.registry import Function

CONTEXT_PARAMETER = "context"
"""The parameter that receives the context of the call, unless a binding has this name."""


class ClientProvider:
    """The durable clients of one hub, for functions of every kind."""

    def __init__(self, client: Client, endpoint: ManagementEndpoint | None = None) -> None:
        self._sync = SyncDurableFunctionsClient(client, endpoint=endpoint or ManagementEndpoint())
        self._async = DurableFunctionsClient(self._sync)
        self._binding = ClientBinding(self._sync, self._sync.endpoint)

    def get_client(
        self, function: Function, parameter: inspect.Parameter | None = None
    ) -> SyncDurableFunctionsClient | DurableFunctionsClient | ClientBinding:
        """The kind of client that a function expects: async for a coroutine function, a string if annotated as `str`.

        `parameter` receives it, if it is no longer a parameter of the wrapped callable.
        """
        annotation = parameter.annotation if parameter else _find_annotation(function, function.client_parameter or "")
        if annotation in (str, "str"):
            return self._binding
        return self._async if function.executor == "async" else self._sync


def bind_arguments(function: Function, trigger_values: Mapping[str, Any], clients: ClientProvider) -> dict[str, Any]:
    """The arguments of a call, by name. An output binding receives an Out.

    Raises BindingUnavailable if the function has an input binding of an Azure service.
    """
    output_bindings.check_input_bindings(function)
    arguments = {**trigger_values, **output_bindings.create_outs(function, function.parameters)}
    if function.client_parameter is not None:
        arguments[function.client_parameter] = clients.get_client(function)
    for parameter in function.parameters:
        if parameter.name in arguments or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name == CONTEXT_PARAMETER:
            arguments[parameter.name] = _make_context(function)
        elif parameter.default is parameter.empty:
            arguments[parameter.name] = None
    return arguments


def select_response(function: Function, arguments: Mapping[str, Any], returned: Any) -> Any:
    """The response of an HTTP function: its return value, or the value it set on the parameter bound to the response.

    If it returned nothing and no binding names a parameter, it is the value of an Out that is no other output.
    """
    if function.response_parameter not in (RETURN_BINDING, None):
        out = arguments.get(function.response_parameter or "")
        response = out.get() if isinstance(out, Out) else None
        return returned if response is None else response
    if returned is not None:
        return None if function.response_parameter is None and RETURN_BINDING in function.outputs else returned
    others = (out for name, out in arguments.items() if isinstance(out, Out) and name not in function.outputs)
    return next((out.get() for out in others if out.get() is not None), None)


def _find_annotation(function: Function, name: str) -> Any:
    return next((each.annotation for each in function.parameters if each.name == name), None)


def _make_context(function: Function) -> Context:
    try:
        folder = os.path.dirname(inspect.getsourcefile(inspect.unwrap(function.call)) or "")
    except TypeError:
        folder = ""
    return Context(function.name, str(uuid4()), folder)
