"""Checks that an activity has parameters for what it receives: one input, and the context."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from durablecli.model.annotations import resolve_signature

_POSITIONAL_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_activity_signature(function: Callable[..., Any], who: str) -> None:
    """Raise TypeError if a second parameter is annotated as a value, or if there are more than an input and a context.

    A second parameter without a default receives the context, whatever its name is. Wrappers are not checked: what they
    pass on is theirs.
    """
    if hasattr(function, "__wrapped__"):
        return
    try:
        parameters = resolve_signature(function).parameters.values()
    except (TypeError, ValueError):
        return  # a signature that can't be read
    required = [each for each in parameters if each.kind in _POSITIONAL_KINDS and each.default is each.empty]
    if not required or _is_context(required[0].annotation):
        return
    others = required[1:2] if len(required) < 3 else required[2:]
    for each in others:
        if len(required) > 2 or _is_value(each.annotation):
            raise TypeError(
                f"{who} takes one input, so it can't have the parameter '{each.name}': pass a dataclass or a dict "
                "(a second parameter receives the df.ActivityContext)"
            )


def _is_context(annotation: Any) -> bool:
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return str(name).endswith("Context")


def _is_value(annotation: Any) -> bool:
    """Whether an annotation is surely that of a payload: a class, a collection, or several of them."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return all(_is_value(part) for part in typing.get_args(annotation))
    kind = typing.get_origin(annotation) or annotation
    is_open = kind in (object, Any, inspect.Parameter.empty) or getattr(kind, "_is_protocol", False)
    return isinstance(kind, type) and not is_open and not _is_context(kind)
