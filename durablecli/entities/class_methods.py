"""The operations of a class entity: its public methods, each with at most one input."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import msgspec

from durablecli.entities.context import DurableEntity, DurableEntityContext, EntityOperationState
from durablecli.model.annotations import resolve_signature
from durablecli.model.entity_id import EntityId
from durablecli.model.events import NULL
from durablecli.model.payloads import decode
from durablecli.resources.declarations import refuse_dependencies

_FRAMEWORK_BASES = frozenset({object, DurableEntity, msgspec.Struct})
_SDK_PREFIX = "durabletask."
"""The modules of the SDK whose entities may run here as well."""
_WHY_NO_RESOURCES = "an operation changes the state of its entity only; use the resource in an activity"
_POSITIONAL_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class EntityMethod:
    """One operation of a class. Raises TypeError if the method can't be one."""

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name = name
        self.call = call
        self._signature = resolve_signature(call)
        parameters = list(self._signature.parameters.values())[1:]
        self._positional = [each for each in parameters if each.kind in _POSITIONAL_KINDS]
        named = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
        self._context_keywords = [each.name for each in named if _is_context_parameter(each)]
        inputs = [each for each in self._positional if not _is_context_parameter(each)]
        stray = [each for each in named if not _is_context_parameter(each) and each.default is each.empty]
        _check_parameters(call, [*inputs, *stray], bool(stray) or len(inputs) > 1)
        self._is_simple = not self._context_keywords and self._positional == inputs

    @property
    def inputs(self) -> list[inspect.Parameter]:
        """The parameter for its input, if there is one."""
        return [each for each in self._positional if not _is_context_parameter(each)]

    @property
    def signature(self) -> str:
        """Its signature for callers: `add(amount: int) -> None`."""
        return f"{self.name}{self._signature.replace(parameters=self.inputs)}"

    def run(self, operation: EntityOperationState, context: DurableEntityContext) -> Any:
        """Call it on the entity object. Returns its result, or the awaitable of an asynchronous method."""
        if self._is_simple:
            return self.call(operation.entity_object, *[_decode_input(each, operation) for each in self._positional])
        places = [
            context if _is_context_parameter(each) else _decode_input(each, operation) for each in self._positional
        ]
        return self.call(operation.entity_object, *places, **dict.fromkeys(self._context_keywords, context))


def _check_parameters(call: Callable[..., Any], inputs: list[inspect.Parameter], too_many: bool) -> None:
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise TypeError(f"{call.__qualname__} is a generator function: an operation returns its result")
    refuse_dependencies(call, f"operation {call.__qualname__}", _WHY_NO_RESOURCES)
    if too_many:
        names = ", ".join(each.name for each in inputs)
        raise TypeError(
            f"{call.__qualname__} takes {names}: an operation takes at most one positional input; "
            "pass an object for more"
        )


def _decode_input(parameter: inspect.Parameter, operation: EntityOperationState) -> Any:
    if parameter.default is not parameter.empty and operation.input == NULL:
        return parameter.default
    annotation = parameter.annotation
    return decode(operation.input, Any if annotation is parameter.empty else annotation)


def _is_context_parameter(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # unresolved, such as one imported only for the type checker
        return annotation.rpartition(".")[2] == DurableEntityContext.__name__
    return annotation is DurableEntityContext


class EntityMethods:
    """The operations of one class, found by exact name, or else ignoring case."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self._methods = _collect_methods(kind)
        self._methods_by_folded_name = {name.casefold(): method for name, method in reversed(self._methods.items())}

    def __iter__(self) -> Iterator[EntityMethod]:
        return iter(self._methods.values())

    def find(self, name: str) -> EntityMethod | None:
        return self._methods.get(name) or self._methods_by_folded_name.get(name.casefold())

    def unknown_operation_error(self, name: str) -> LookupError:
        """Make the error for an operation that doesn't exist."""
        known = ", ".join(self._methods) or "none"
        return LookupError(f"{self.kind.__name__} has no operation '{name}'; its operations: {known}")


def _collect_methods(kind: type) -> dict[str, EntityMethod]:
    found: dict[str, FunctionType] = {}
    for base in reversed(kind.__mro__):
        if base in _FRAMEWORK_BASES or base.__module__.startswith(_SDK_PREFIX):
            continue
        for name, value in vars(base).items():
            found.pop(name, None)
            if isinstance(value, FunctionType) and not name.startswith("_"):
                found[name] = value
    return {name: EntityMethod(name, function) for name, function in found.items()}


def check_entity_class(kind: type) -> None:
    """Raise TypeError if a class can't be an entity."""
    EntityMethods(kind)
    try:
        signature = inspect.signature(kind)
    except ValueError:
        return  # unknown: the first operation shows it
    try:
        signature.bind()
    except TypeError as error:
        raise TypeError(
            f"an entity class is created without arguments, but {kind.__qualname__} isn't: {error}"
        ) from None


def check_entity(entity: object, name: str | None = None) -> None:
    """Raise TypeError if this can't be an entity, and ValueError if its name isn't valid."""
    if isinstance(entity, type):
        check_entity_class(entity)
    elif not callable(entity):
        raise TypeError(f"@df.entity decorates a function or a class, not {type(entity).__name__}")
    else:
        _check_entity_function(entity)
    EntityId(name or str(getattr(entity, "__name__", "any")), "any")


def _check_entity_function(entity: Callable[..., Any]) -> None:
    name = getattr(entity, "__qualname__", repr(entity))
    if inspect.isgeneratorfunction(entity) or inspect.isasyncgenfunction(entity):
        raise TypeError(f"{name} is a generator function: an entity function can't yield")
    refuse_dependencies(entity, f"entity function {name}", _WHY_NO_RESOURCES)
    try:
        signature = inspect.signature(entity)
        required = [each for each in signature.parameters.values() if each.default is each.empty]
        signature.bind(*[None] * max(1, min(len(required), 2)))  # with two, it is written for the durabletask SDK
    except TypeError as error:
        raise TypeError(f"an entity function is called with its context alone, but {name} isn't: {error}") from None
    except ValueError:
        pass  # a signature that can't be read
