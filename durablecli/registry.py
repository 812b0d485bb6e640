"""The registry: finds a function by its name, ignoring case.

An object that two modules hold is one function. Two different functions with one name disable that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial
from types import ModuleType
from typing import Any

from durablecli.bindings import FunctionBindings, FunctionCollection, Trigger, get_bindings
from durablecli.decorators import Entity, Orchestrator
from durablecli.entities.adapters import ClassEntity, EntityAdapter, FunctionEntity
from durablecli.entities.class_methods import EntityMethods
from durablecli.model.annotations import find_unresolved, resolve_signature, resolve_type_hints
from durablecli.model.round_trip import FieldClasses, find_field_classes
from durablecli.replay.function_marks import FunctionMark, get_mark, json_constructible, return_annotation

_CONTEXT_CLASS_NAMES = frozenset({"ActivityContext", "DurableEntityContext", "DurableOrchestrationContext"})
_CALLABLE_KINDS = frozenset({"orchestrator", "activity", "entity"})


class Function:
    """One loaded function: its name, its source location, and how to run it.

    `kind` is orchestrator, activity, entity, http, timer or other; the last three have a `trigger`. These attributes
    name parameters: `input_name` the one that receives the trigger's value (where the decorator names it),
    `client_parameter` the one for the durable client, `bindings` those with bindings that exist only in the cloud,
    `outputs` the output bindings among them, and `response_parameter` the one on which an HTTP function sets its
    response. `is_azure` says that the function was declared as in an Azure app: its annotations are for readers only.
    """

    def __init__(
        self, mark: FunctionMark, call: Callable[..., Any], module: str, bindings: FunctionBindings | None = None
    ) -> None:
        self.trigger: Trigger | None = bindings.trigger if bindings else None
        self.input_name = bindings.argument if bindings else None
        self.is_azure = bindings.untyped if bindings else False
        self.client_parameter = bindings.client if bindings else None
        self.bindings: Mapping[str, str] = bindings.cloud_bindings if bindings else {}
        self.outputs: Mapping[str, str] = bindings.outputs if bindings else {}
        self.response_parameter = bindings.response if bindings else None
        self.name = mark.name
        self.kind = mark.kind
        self.call = call
        self.module = module
        is_async = self.kind != "entity" and inspect.iscoroutinefunction(call)
        self.executor = mark.executor or ("async" if is_async else "thread")
        self.max_concurrency = mark.max_concurrency

    @property
    def has_bindings(self) -> bool:
        """Whether it has parameters for a client or for bindings."""
        return self.client_parameter is not None or bool(self.bindings)

    @cached_property
    def methods(self) -> EntityMethods | None:
        """The operations of a class entity; None for any other function."""
        return EntityMethods(self.call) if self.kind == "entity" and isinstance(self.call, type) else None

    @cached_property
    def entity_adapter(self) -> EntityAdapter:
        """Calls the operations of the entity."""
        return FunctionEntity(self.call) if self.methods is None else ClassEntity(self.methods)

    @property
    def source_location(self) -> str:
        """The place of the definition, as `file:line`."""
        if isinstance(self.call, type):
            return _class_location(self.call)
        code = getattr(_unwrap_definition(self.call), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.module

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """The parameters, with annotations resolved where possible."""
        try:
            return list(resolve_signature(self.call).parameters.values())
        except (TypeError, ValueError):
            return []

    @cached_property
    def return_type(self) -> Any:
        """The return annotation; Any if there is none."""
        annotation = return_annotation(self.call)
        return json_constructible(annotation) if self.is_azure else annotation

    @cached_property
    def result_classes(self) -> FieldClasses:
        """The classes with fields in the return annotation: the caller decodes the result as one of them."""
        return find_field_classes(self.return_type)

    @property
    def unresolved_annotations(self) -> list[str]:
        """A line for each annotation that is needed for decoding and can't be resolved: the parameter or field, and
        the annotation."""
        if self.is_azure:
            return []
        seen: set[Any] = set()
        lines = [line for where, part in self._decoding_annotations() for line in find_unresolved(part, where, seen)]
        return list(dict.fromkeys(lines))

    def _decoding_annotations(self) -> Iterator[tuple[str, Any]]:
        if self.methods is not None:
            yield from ((name, hint) for name, hint in resolve_type_hints(self.methods.kind).items())
            for method in self.methods:
                yield from ((f"{method.name}({each.name})", each.annotation) for each in method.inputs)
        elif self.kind == "activity":
            yield from ((each.name, each.annotation) for each in self.parameters if not _is_context_parameter(each))
        if self.kind in ("activity", "orchestrator"):
            with suppress(TypeError, ValueError):
                yield "return value", resolve_signature(inspect.unwrap(self.call)).return_annotation

    def replace_callable(self, call: Callable[..., Any]) -> None:
        """Call this callable from now on; its parameters are the function's."""
        self.call = call
        vars(self).pop("parameters", None)

    @property
    def signature(self) -> str:
        """The signature for display: `count_words(path: str) -> int`, or `Counter{add(amount: int), get() -> int}`."""
        if self.methods is not None:
            return f"{self.name}{{{', '.join(method.signature for method in self.methods)}}}"
        try:
            return f"{self.name}{inspect.signature(inspect.unwrap(self.call))}"
        except (TypeError, ValueError):
            return f"{self.name}(…)"


def _is_context_parameter(parameter: inspect.Parameter) -> bool:
    """Return whether a parameter with an unresolved annotation receives a context, judged by the class's name."""
    annotation = parameter.annotation
    return isinstance(annotation, str) and annotation.rpartition(".")[2] in _CONTEXT_CLASS_NAMES


def _unwrap_definition(call: Any) -> Any:
    """Return the function behind decorators, partials, bound methods and callable objects."""
    inner = inspect.unwrap(call)
    if isinstance(inner, partial):
        return _unwrap_definition(inner.func)
    if inspect.ismethod(inner):
        return _unwrap_definition(inner.__func__)
    return inner if hasattr(inner, "__code__") else vars(type(inner)).get("__call__", inner)


def _class_location(kind: type) -> str:
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return kind.__module__


class Registry:
    """Finds functions by name, ignoring case."""

    def __init__(self) -> None:
        self._functions: dict[tuple[bool, str], Function] = {}
        self._seen_ids: set[int] = set()
        self._clashing_locations: dict[tuple[bool, str], list[str]] = {}
        self._built_in: dict[str, Function] = {}
        self._found: dict[tuple[str, str], Function] = {}
        """What was found by its exact name, by kind and name: nearly all that is looked up."""

    @property
    def clashes(self) -> dict[str, list[str]]:
        """The locations of functions that share a name, by that name."""
        return {name: locations for (_, name), locations in self._clashing_locations.items()}

    def add_module(self, module: ModuleType) -> None:
        """Add the functions of a loaded module: marked ones, handles, and those of its apps and blueprints."""
        stem = module.__name__.rpartition(".")[2]
        for value in list(vars(module).values()):
            if isinstance(value, Orchestrator):
                self._add_callable(FunctionMark("orchestrator", stem), value.orchestrator_function, module.__name__)
            elif isinstance(value, Entity):
                self._add_callable(FunctionMark("entity", stem), value.entity_function, module.__name__)
            elif isinstance(value, FunctionCollection):
                for function in value.functions:
                    self._add_marked(function, module.__name__)
            else:
                self._add_marked(value, module.__name__)

    def _add_marked(self, value: Any, module: str) -> None:
        mark = get_mark(value)
        if mark is not None and callable(value):
            self._add_callable(mark, value, getattr(_unwrap_definition(value), "__module__", module) or module)

    def _add_callable(self, mark: FunctionMark, call: Callable[..., Any], module: str) -> None:
        if id(call) in self._seen_ids:
            return
        self._seen_ids.add(id(call))
        self.add_function(Function(mark, call, module, get_bindings(call)))

    def add_function(self, function: Function) -> None:
        """Add a function; if its name is in use, disable both."""
        self._found.clear()
        key = _registry_key(function.kind, function.name)
        if key in self._functions or key in self._clashing_locations:
            locations = self._clashing_locations.setdefault(key, [])
            if earlier := self._functions.pop(key, None):
                locations.append(f"{earlier.name} ({earlier.kind}, {earlier.source_location})")
            locations.append(f"{function.name} ({function.kind}, {function.source_location})")
            return
        self._functions[key] = function

    def remove(self, function: Function) -> None:
        """Remove a function."""
        self._found.clear()
        del self._functions[_registry_key(function.kind, function.name)]

    def add_built_in(self, functions: Iterable[Callable[..., Any]]) -> None:
        """Add durablecli's own functions. They aren't listed, and an author's function of the same name wins."""
        self._found.clear()
        for call in functions:
            mark = get_mark(call)
            assert mark is not None
            self._built_in[mark.name.casefold()] = Function(mark, call, call.__module__)

    def is_built_in(self, function: Function) -> bool:
        """Return whether a function is durablecli's own."""
        return self._built_in.get(function.name.casefold()) is function

    def find_orchestrator(self, name: str) -> Function | None:
        """Return the orchestrator with this name, or None."""
        return self._find_of_kind("orchestrator", name)

    def find_activity(self, name: str) -> Function | None:
        """Return the activity with this name, or None."""
        return self._find_of_kind("activity", name)

    def find_entity(self, name: str) -> Function | None:
        """Return the entity with this name, or None."""
        return self._find_of_kind("entity", name)

    def _find_of_kind(self, kind: str, name: str) -> Function | None:
        if (found := self._found.get((kind, name))) is not None:
            return found
        for function in (self._functions.get(_registry_key(kind, name)), self._built_in.get(name.casefold())):
            if function is not None and function.kind == kind:
                if function.name == name:
                    self._found[kind, name] = function
                return function
        return None

    def find_function(self, name: str) -> Function | None:
        """Return the function with this name, or None; of two, the one that a client can start or call."""
        return self._functions.get((True, name.casefold())) or self._functions.get((False, name.casefold()))

    def functions_of_kind(self, kind: str) -> list[Function]:
        """Return all functions of a kind."""
        return [function for function in self if function.kind == kind]

    def get_return_type(self, name: str) -> Any:
        """Return the return annotation of the function with this name; Any if there is none."""
        function = self._functions.get((True, name.casefold()))
        return function.return_type if function else Any

    def __iter__(self) -> Iterator[Function]:
        return iter(sorted(self._functions.values(), key=lambda function: function.name.casefold()))

    def __len__(self) -> int:
        return len(self._functions)


def _registry_key(kind: str, name: str) -> tuple[bool, str]:
    """Return the key of a function. A triggered function may share its name with a callable one, as in Azure."""
    return kind in _CALLABLE_KINDS, name.casefold()
