"""Resolves the annotations of functions and classes, each on its own.

A name that only type checkers import (`if TYPE_CHECKING:`) can't be resolved at run time. An annotation that uses it
stays a string and is ignored; the others are resolved.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any


def resolve_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function with annotations resolved where possible. Raises as inspect.signature does."""
    found = inspect.signature(function)
    parts = [*(each.annotation for each in found.parameters.values()), found.return_annotation]
    if all(isinstance(part, type) for part in parts):
        return found
    names = _function_namespace(function)
    parameters = [each.replace(annotation=_resolve(each.annotation, names)) for each in found.parameters.values()]
    return found.replace(parameters=parameters, return_annotation=_resolve(found.return_annotation, names))


def resolve_type_hints(kind: Any) -> dict[str, Any]:
    """Return the annotations of a class and its bases, with their extras; unresolvable ones are left unchanged."""
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is the author's code, and may raise anything
        found: dict[str, Any] = {}
        for base in reversed(kind.__mro__):
            names = _class_namespace(base)
            for name, annotation in inspect.get_annotations(base).items():
                found[name] = _resolve(annotation, names)
        return found


def check_expected_type(expected_type: Any, hint: str = "") -> Any:
    """Return the type that a caller expects, which may be None. Raises TypeError for a value, with the `hint`."""
    if isinstance(expected_type, str | bytes | int | float | list | tuple | set | dict):
        raise TypeError(f"expected_type must be a type, not {expected_type!r:.80}{hint and f': {hint}'}")
    return expected_type


def is_unresolved(annotation: Any) -> bool:
    """Whether an annotation couldn't be resolved."""
    return isinstance(annotation, str | typing.ForwardRef)


def find_unresolved(annotation: Any, where: str, seen: set[Any]) -> Iterator[str]:
    """Yield a line for each unresolved annotation: this one, and those of the fields of classes in it."""
    if is_unresolved(annotation):
        text = annotation.__forward_arg__ if isinstance(annotation, typing.ForwardRef) else annotation
        yield f"{where}: {text}"
        return
    kind = typing.get_origin(annotation) or annotation
    if kind is typing.Literal:
        return
    for part in typing.get_args(annotation)[: 1 if kind is typing.Annotated else None]:
        yield from find_unresolved(part, where, seen)
    if isinstance(kind, type) and kind not in seen and _has_own_fields(kind):
        seen.add(kind)
        for name, hint in resolve_type_hints(kind).items():
            yield from find_unresolved(hint, f"{kind.__qualname__}.{name}", seen)


def _has_own_fields(kind: type) -> bool:
    marks = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "_field_defaults", "__required_keys__")
    return any(hasattr(kind, mark) for mark in marks)


def _resolve(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    if annotation is None or annotation is inspect.Signature.empty:
        return annotation
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})  # a class, because ClassVar is allowed in one
    try:
        found = typing.get_type_hints(holder, dict(namespace), include_extras=True)["it"]
    except Exception:  # noqa: BLE001 - an annotation is the author's code, and may raise anything
        return annotation
    return None if found is type(None) else found


def _function_namespace(call: Any) -> dict[str, Any]:
    """Return the names that the annotations of a function can use."""
    while True:
        call = inspect.unwrap(call, stop=lambda each: hasattr(each, "__signature__"))
        if isinstance(call, partial):
            call = call.func
        elif inspect.ismethod(call):
            call = call.__func__
        else:
            break
    if isinstance(call, type):
        return _class_namespace(call)
    function = call if hasattr(call, "__globals__") else vars(type(call)).get("__call__", call)
    return {**getattr(function, "__globals__", {}), **_type_parameters(function)}


def _class_namespace(kind: type) -> dict[str, Any]:
    module = sys.modules.get(kind.__module__)
    return {**vars(kind), **(vars(module) if module else {}), **_type_parameters(kind)}


def _type_parameters(thing: Any) -> dict[str, Any]:
    return {each.__name__: each for each in getattr(thing, "__type_params__", ())}
