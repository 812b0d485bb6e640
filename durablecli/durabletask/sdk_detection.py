"""Finds functions that are written for the `durabletask` SDK, without importing it.

A module that imports the SDK needs no decorators: of its public functions and classes those are taken whose first of
two parameters is annotated with one of the SDK's contexts, and the subclasses of its DurableEntity.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from types import FunctionType, ModuleType
from typing import Any

from durablecli.model.annotations import resolve_signature
from durablecli.registry import Function, Registry
from durablecli.replay.function_marks import FunctionMark, get_mark, set_mark

_SDK = "durabletask"
_TASKS = "durabletask.task"
_ENTITIES = "durabletask.entities"
_CONTEXTS = {
    (_TASKS, "OrchestrationContext"): "orchestrator",
    (_TASKS, "ActivityContext"): "activity",
    (_ENTITIES, "EntityContext"): "entity",
}
_POSITIONAL_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def mark_functions(module: ModuleType) -> None:
    """Mark the undecorated functions and entity classes of a module that imports the SDK."""
    if _TASKS in sys.modules:
        for name, value in list(vars(module).items()):
            if not name.startswith("_") and get_mark(value) is None:
                mark_function(value)


def mark_function(value: object) -> bool:
    """Mark a function or class that is written for the SDK; returns whether it is."""
    if _TASKS not in sys.modules or not isinstance(value, FunctionType | type) or _is_of_sdk(value.__module__):
        return False
    kind = _find_kind(value)
    if kind is not None:
        set_mark(value, FunctionMark(kind, getattr(value, "__durable_entity_name__", value.__name__)))
    return kind is not None


def is_for_sdk(registry: Registry, modules: Iterable[str]) -> bool:
    """Whether an app is written for the SDK: by one of its functions, which aren't bound yet, or by its imports."""
    return any(True for _ in list_functions(registry)) or _imports_sdk(modules)


def is_sdk_loaded() -> bool:
    """Whether the SDK is imported."""
    return _TASKS in sys.modules


def _imports_sdk(modules: Iterable[str]) -> bool:
    if _SDK not in sys.modules:
        return False
    loaded = (vars(sys.modules[name]).values() for name in list(modules) if name in sys.modules)
    return any(_is_of_sdk(_get_module_name(value)) for values in loaded for value in list(values))


def _get_module_name(value: object) -> str | None:
    if isinstance(value, ModuleType):
        return value.__name__
    return value.__module__ if isinstance(value, FunctionType | type) else None


def list_functions(registry: Registry) -> Iterator[Function]:
    """Yield the functions of a registry that only the SDK's conventions can call."""
    for function in registry:
        if function.kind in ("orchestrator", "activity", "entity") and _is_for_sdk(function):
            yield function


def _is_for_sdk(function: Function) -> bool:
    call = function.call
    if function.has_input_parameter:
        return False
    if isinstance(call, type):
        return is_entity_class(call)
    parameters = _list_parameters(call)
    if function.kind == "activity" and function.input_name is not None:
        return _is_activity_for_sdk(function, parameters)
    if _find_context_kind(parameters) == function.kind:
        return True
    return function.kind != "activity" and len([each for each in parameters if each.default is each.empty]) == 2


def _is_activity_for_sdk(function: Function, parameters: list[inspect.Parameter]) -> bool:
    """Judge an activity of an Azure app, whose parameters are bound by their names.

    It is one of the SDK if its first parameter is none of these.
    """
    if _find_context_kind(parameters) == "activity":
        return True
    named = {function.input_name, function.client_parameter, "context", *function.bindings}
    return len(parameters) > 1 and parameters[0].name not in named and parameters[1].name not in function.bindings


def _find_kind(value: Any) -> str | None:
    if isinstance(value, type):
        return "entity" if is_entity_class(value) else None
    parameters = _list_parameters(value)
    return _find_context_kind(parameters) if len(parameters) == 2 else None


def is_entity_class(kind: type) -> bool:
    """Whether a class is a subclass of the SDK's DurableEntity."""
    base = getattr(sys.modules.get(_ENTITIES), "DurableEntity", None)
    return base is not None and issubclass(kind, base) and kind is not base


def _find_context_kind(parameters: list[inspect.Parameter]) -> str | None:
    """Return the kind of a function by the annotation of its first parameter."""
    annotation = parameters[0].annotation if parameters else None
    for (module, name), kind in _CONTEXTS.items():
        context = getattr(sys.modules.get(module), name, None)
        if context is not None and (
            annotation is context or (isinstance(annotation, str) and annotation.rpartition(".")[2] == name)
        ):
            return kind
    return None


def _list_parameters(call: Any) -> list[inspect.Parameter]:
    try:
        parameters = resolve_signature(call).parameters.values()
    except Exception:  # noqa: BLE001 - a signature may be the author's code
        return []
    return [each for each in parameters if each.kind in _POSITIONAL_KINDS]


def _is_of_sdk(module: str | None) -> bool:
    return module is not None and f"{module}.".startswith(f"{_SDK}.")
