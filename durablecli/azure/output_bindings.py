"""Output bindings: the Outs that a function receives, and the record of the values it sets. Nothing is sent.

The record is for people to read, so a value that JSON can't represent is described instead of failing the function.
"""

from __future__ import annotations

import inspect
from base64 import b64encode
from collections import UserDict, UserList
from collections.abc import Iterable, Mapping
from typing import Any, get_origin

from durablecli.azure.functions import CloudOnly, Out
from durablecli.bindings import RETURN_BINDING
from durablecli.errors import BindingUnavailable
from durablecli.model.binding_output import BindingOutput
from durablecli.model.payloads import encode
from durablecli.registry import Function

NOT_SENT = "not sent"
MAX_VALUE_BYTES = 64 * 1024
"""The largest value that is recorded whole; a larger one is truncated."""

_UNDECLARED = "undeclared"


def check_input_bindings(function: Function) -> None:
    """Raise BindingUnavailable if the function has input bindings of Azure services: their values don't exist here."""
    inputs = [f"'{name}' ({kind})" for name, kind in function.bindings.items() if name not in function.outputs]
    if inputs:
        bindings = f"{'binding' if len(inputs) == 1 else 'bindings'} {', '.join(inputs)}"
        raise BindingUnavailable(
            f"'{function.name}' can't be called here: its input {bindings} would need an Azure service; "
            "read the data inside the function instead"
        )


def create_outs(function: Function, parameters: Iterable[inspect.Parameter]) -> dict[str, Out[Any]]:
    """Make an Out for each parameter that is bound to an output or annotated as one, in order."""
    parameters = list(parameters)
    bound = [name for name in (*function.outputs, function.response_parameter) if name not in (RETURN_BINDING, None)]
    found = [one.name for one in parameters if one.name in bound or _is_out_annotation(one.annotation)]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        found += [name for name in bound if name is not None and name not in found]
    return {name: Out() for name in found}


def record_outputs(function: Function, arguments: Mapping[str, Any], returned: Any) -> tuple[BindingOutput, ...]:
    """The values that the function set on its Outs, and its return value where that is bound to an output.

    The response of an HTTP function is left out, because it is sent.
    """
    values = {name: out.get() for name, out in arguments.items() if isinstance(out, Out)}
    if RETURN_BINDING in function.outputs:
        values[RETURN_BINDING] = returned
    return tuple(
        _make_output(name, function.outputs.get(name, _UNDECLARED), value)
        for name, value in values.items()
        if value is not None and name != function.response_parameter
    )


def format_unsent(outputs: Iterable[BindingOutput]) -> str:
    """One line of text, such as `not sent: msg (queue): "hello"`."""
    values = "; ".join(f"{one.name} ({one.type}): {bytes(one.value).decode()[:200]}" for one in outputs)
    return f"{NOT_SENT}: {values}"


def _is_out_annotation(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.rpartition(".")[2].startswith("Out[") or ".Out[" in annotation
    # By name, so that the class of Azure's own package counts too, where an app imports that.
    return getattr(get_origin(annotation) or annotation, "__name__", "") == Out.__name__


def _make_output(name: str, type: str, value: Any) -> BindingOutput:
    try:
        data = encode(_to_plain_data(value))
    except Exception:  # noqa: BLE001 - objects of the app may raise anything
        data = encode(_safe_repr(value))
    if len(bytes(data)) <= MAX_VALUE_BYTES:
        return BindingOutput(name, type, NOT_SENT, data)
    return BindingOutput(
        name, type, NOT_SENT, encode(bytes(data)[:MAX_VALUE_BYTES].decode(errors="ignore")), len(bytes(data))
    )


def _to_plain_data(value: Any) -> Any:
    """Convert a value to plain data: a message to its fields, a file to its content as text."""
    if isinstance(value, bytes | bytearray | memoryview):
        return _to_text(bytes(value))
    if isinstance(value, UserDict | UserList):
        return _to_plain_data(value.data)
    if isinstance(value, CloudOnly):
        return _get_fields(value)
    if isinstance(value, Mapping):
        return {key: _to_plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain_data(item) for item in value]
    for reader in ("read", "get_body"):
        if callable(read := getattr(value, reader, None)) and not isinstance(value, type):
            return _to_plain_data(read())
    return value


def _get_fields(value: CloudOnly) -> Any:
    fields = {name: item for name, item in vars(value).items() if name != "arguments" and item is not None}
    return _to_plain_data({"arguments": list(value.arguments), **fields} if value.arguments else fields)


def _to_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return b64encode(data).decode()


def _safe_repr(value: Any) -> str:
    try:
        return ascii(value)
    except Exception:  # noqa: BLE001 - a `__repr__` of the app may raise anything
        return f"<{type(value).__name__}>"
