"""The declared input of an orchestrator: `@df.orchestrator(input_type=…)`, or a second parameter with an annotation."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

from durablecli.model.annotations import is_unresolved, resolve_signature
from durablecli.model.events import NULL
from durablecli.replay.context import DurableOrchestrationContext, get_executor
from durablecli.replay.function_marks import INPUT_TYPE_ATTRIBUTE

_POSITIONAL_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_EMPTY = inspect.Parameter.empty


def get_input_type(function: Callable[..., Any]) -> Any:
    """Return the type that an orchestrator declares for its input; Any if it declares none."""
    return getattr(function, INPUT_TYPE_ATTRIBUTE, Any)


class BoundInput(NamedTuple):
    """An orchestrator whose second parameter receives the input: what the engine calls, and whether null is accepted,
    because the parameter has a default."""

    call: Callable[..., Any]
    accepts_null: bool


def bind_input_argument(function: Callable[..., Any]) -> BoundInput | None:
    """Bind the second parameter of an orchestrator to its input; None if it has none for it.

    The second of two parameters is for the input if the first is annotated as the context, or if the decorator declares
    the type of the input. Its annotation is that type, if the decorator names none.
    """
    parameter = _find_parameter(function)
    if parameter is None:
        return None
    default = parameter.default

    @wraps(function)
    def call(context: DurableOrchestrationContext) -> Any:
        if default is not _EMPTY and get_executor(context).started.input == NULL:
            return function(context, default)
        return function(context, context.get_input())

    annotation = parameter.annotation
    if not hasattr(function, INPUT_TYPE_ATTRIBUTE) and annotation is not _EMPTY and not is_unresolved(annotation):
        setattr(call, INPUT_TYPE_ATTRIBUTE, annotation)
    return BoundInput(call, default is not _EMPTY)


def _find_parameter(function: Callable[..., Any]) -> inspect.Parameter | None:
    try:
        plain = inspect.signature(function).parameters.values()
        if len(plain) < 2 or not all(each.kind in _POSITIONAL_KINDS for each in list(plain)[:2]):
            return None
        first, second, *others = resolve_signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(each.default is _EMPTY for each in others if each.kind in _POSITIONAL_KINDS):
        return None
    if second.default is not _EMPTY and second.annotation is _EMPTY:
        return None
    return second if hasattr(function, INPUT_TYPE_ATTRIBUTE) or _is_context(first.annotation) else None


def _is_context(annotation: Any) -> bool:
    if isinstance(annotation, str):  # it can't be resolved, for it is imported for type checkers only
        return annotation.rpartition(".")[2] == DurableOrchestrationContext.__name__
    return isinstance(annotation, type) and issubclass(annotation, DurableOrchestrationContext)
