"""Calling a function of an app: each of its parameters receives what it is bound to."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any, get_origin
from uuid import uuid4

from durablecli.app import Function
from durablecli.azure.binding import Binding
from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
from durablecli.azure.functions import Context, Out
from durablecli.azure.links import Place
from durablecli.client import Client

_CONTEXT = "context"


class Clients:
    """The clients of one hub, for functions of every kind."""

    def __init__(self, client: Client, place: Place | None = None) -> None:
        self._sync = SyncDurableFunctionsClient(client, place=place or Place())
        self._async = DurableFunctionsClient(self._sync)
        self._binding = Binding(self._sync, self._sync.place)

    def of(self, function: Function) -> SyncDurableFunctionsClient | DurableFunctionsClient | Binding:
        """What such a function expects: coroutines await theirs; who says `str` makes one from that."""
        if _annotation(function, function.client or "") in (str, "str"):
            return self._binding
        return self._async if function.executor == "async" else self._sync


def arguments(function: Function, given: Mapping[str, Any], clients: Clients) -> dict[str, Any]:
    """The arguments of a call, by name; `given` is what started it. What only the cloud has is None, or an Out."""
    found = dict(given)
    if function.client is not None:
        found[function.client] = clients.of(function)
    for parameter in function.parameters:
        if parameter.name in found or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if _is_out(parameter.annotation):
            found[parameter.name] = Out()
        elif parameter.name == _CONTEXT:
            found[parameter.name] = _context(function)
        elif parameter.default is parameter.empty:
            found[parameter.name] = None
    return found


def put_out(arguments: Mapping[str, Any]) -> Any:
    """What the function put into its first Out that holds something; None if there is none."""
    return next((out.get() for out in arguments.values() if isinstance(out, Out) and out.get() is not None), None)


def _annotation(function: Function, name: str) -> Any:
    return next((one.annotation for one in function.parameters if one.name == name), None)


def _is_out(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2].startswith("Out[") or ".Out[" in annotation
    # By its name: the one of Azure's own package, where an app has that, is meant as well.
    return getattr(get_origin(annotation) or annotation, "__name__", "") == Out.__name__


def _context(function: Function) -> Context:
    try:
        folder = os.path.dirname(inspect.getsourcefile(inspect.unwrap(function.call)) or "")
    except TypeError:
        folder = ""
    return Context(function.name, str(uuid4()), folder)
