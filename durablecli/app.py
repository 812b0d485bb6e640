"""What authors decorate with, and the registry that collects it: from a name to its function.

A decorator only marks a function, which stays callable as it is. There is no global list: the registry holds what the
modules that it was given hold. The same object seen in two modules is one function; two different functions of one
name (without case) disable that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, partial, update_wrapper
from types import ModuleType
from typing import Any, TypeVar, cast, overload

from durablecli.blueprints import Blueprint, FunctionBindings, Trigger, get_bindings
from durablecli.entities.adapters import ClassEntity, EntityAdapter, FunctionEntity
from durablecli.entities.class_methods import EntityMethods, check_entity
from durablecli.model.annotations import find_unresolved, resolve_signature, resolve_type_hints
from durablecli.model.round_trip import FieldClasses, find_field_classes
from durablecli.model.validation import check_name
from durablecli.replay.function_marks import (
    MARK_ATTRIBUTE,
    FunctionMark,
    get_mark,
    json_constructible,
    return_annotation,
)

F = TypeVar("F", bound=Callable[..., Any])
_CONTEXT_CLASS_NAMES = frozenset({"ActivityContext", "DurableEntityContext", "DurableOrchestrationContext"})
_CALLABLE_KINDS = frozenset({"orchestrator", "activity", "entity"})


@overload
def activity(function: F, /) -> F: ...
@overload
def activity(
    *, name: str | None = None, executor: str | None = None, max_concurrency: int | None = None
) -> Callable[[F], F]: ...
def activity(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    executor: str | None = None,
    max_concurrency: int | None = None,
) -> F | Callable[[F], F]:
    """Mark an activity: the place for side effects. It runs at least once; an `async def` runs on an event loop.

    `executor="process"` runs it in a worker process, for work that keeps the processor busy; `max_concurrency` bounds
    how many of it run at once. A second parameter receives a `df.ActivityContext`.
    """
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor is 'thread' or 'process', not {executor!r}")
    if max_concurrency is not None and max_concurrency < 1:
        raise ValueError("max_concurrency is at least 1")

    def mark(function: F) -> F:
        return _set_mark(
            function, FunctionMark("activity", name or _default_name(function, "activity"), executor, max_concurrency)
        )

    return mark if function is None else mark(function)


@overload
def orchestrator(function: F, /) -> F: ...
@overload
def orchestrator(*, name: str | None = None) -> Callable[[F], F]: ...
def orchestrator(function: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Mark an orchestrator: a generator that yields the context's tasks, or an `async def` that awaits them."""

    def mark(function: F) -> F:
        return _set_mark(function, FunctionMark("orchestrator", name or _default_name(function, "orchestrator")))

    return mark if function is None else mark(function)


@overload
def entity(entity: F, /) -> F: ...
@overload
def entity(*, name: str | None = None) -> Callable[[F], F]: ...
def entity(entity: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Mark an entity: a function that takes its context, or a class whose public methods are its operations."""

    def mark(entity: F) -> F:
        check_entity(entity, name)
        return _set_mark(entity, FunctionMark("entity", name or entity.__name__))

    return mark if entity is None else mark(entity)


def _set_mark(function: F, mark: FunctionMark) -> F:
    if not callable(function):
        raise TypeError(f"@df.{mark.kind} decorates a function, not {type(function).__name__}")
    check_name(mark.name, f"an {mark.kind}")
    try:
        setattr(function, MARK_ATTRIBUTE, mark)
    except (AttributeError, TypeError):
        # The method of an object, or a built-in function, has no room for a mark; a partial that calls it has.
        function = cast("F", update_wrapper(partial(function), function))
        setattr(function, MARK_ATTRIBUTE, mark)
    return function


def _default_name(function: Callable[..., Any], kind: str) -> str:
    name = getattr(function, "__name__", None)
    if not callable(function) or isinstance(name, str):
        return name or ""
    raise TypeError(f"{type(function).__name__} has no name of its own: write @df.{kind}(name=...)")


class Orchestrator:
    """The older way to say it: `main = df.Orchestrator.create(function)`. Its name is the module's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.orchestrator_function = function

    @classmethod
    def create(cls, function: Callable[..., Any]) -> Orchestrator:
        """Make the handle that the module holds, usually as `main`."""
        if not callable(function):
            raise TypeError("Orchestrator.create takes the orchestrator function")
        return cls(function)

    def __call__(self, context: Any) -> Any:
        return self.orchestrator_function(context)


class Entity:
    """The older way to say it: `main = df.Entity.create(function)`. Its name is the module's."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.entity_function = function

    @classmethod
    def create(cls, function: Callable[..., Any]) -> Entity:
        """Make the handle that the module holds, usually as `main`."""
        check_entity(function)
        return cls(function)

    def __call__(self, context: Any) -> Any:
        return self.entity_function(context)


class Function:
    """One loaded function: what it is called, where it stands, and how it is to be run.

    `kind` is orchestrator, activity, entity, http, timer or other; the last three have a `trigger`. `client` is the
    parameter that receives the durable client, `bindings` are those that receive what only the cloud has, `outputs`
    those of them that the function sets. `response` is the one that an HTTP function sets its response on.
    `input_name` is the parameter that a trigger's decorator names for what started the function; `argument` is the
    same, and only functions that Azure would call have one.
    """

    def __init__(
        self, mark: FunctionMark, call: Callable[..., Any], module: str, bindings: FunctionBindings | None = None
    ) -> None:
        self.trigger: Trigger | None = bindings.trigger if bindings else None
        self.input_name = bindings.argument if bindings else None
        self.azure_input_name = bindings.argument if bindings and bindings.untyped else None
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

    @cached_property
    def methods(self) -> EntityMethods | None:
        """The operations of an entity that is a class."""
        return EntityMethods(self.call) if self.kind == "entity" and isinstance(self.call, type) else None

    @cached_property
    def entity_adapter(self) -> EntityAdapter:
        """How the operations of an entity are called."""
        if self.methods is not None:
            return ClassEntity(self.methods)
        return FunctionEntity(self.call)

    @property
    def is_azure(self) -> bool:
        """Whether it was declared as functions of Azure's apps are."""
        return self.azure_input_name is not None

    @property
    def source_location(self) -> str:
        """`file:line` of its definition."""
        if isinstance(self.call, type):
            return _class_location(self.call)
        code = getattr(_unwrap_definition(self.call), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.module

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """Its parameters, annotations resolved where they can be."""
        try:
            return list(resolve_signature(self.call).parameters.values())
        except (TypeError, ValueError):
            return []

    @cached_property
    def return_type(self) -> Any:
        """Its return annotation; Any where it says nothing."""
        found = return_annotation(self.call)
        return found if self.azure_input_name is None else json_constructible(found)

    @cached_property
    def result_classes(self) -> FieldClasses:
        """The classes with fields that its return annotation names: its caller reads the result as one of them."""
        return find_field_classes(self.return_type)

    @property
    def unresolved_annotations(self) -> list[str]:
        """Where an annotation that values are decoded by can't be resolved: the parameter or field, and the annotation.

        Not for functions of Azure apps: their annotations are for readers.
        """
        if self.azure_input_name is not None:
            return []
        seen: set[Any] = set()
        found = [line for where, part in self._decoding_annotations() for line in find_unresolved(part, where, seen)]
        return list(dict.fromkeys(found))

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
        """Have it called by another callable, whose parameters are then its own."""
        self.call = call
        vars(self).pop("parameters", None)

    @property
    def signature(self) -> str:
        """As people read it: `count_words(path: str) -> int`, or `Counter{add(amount: int), get() -> int}`."""
        if self.methods is not None:
            return f"{self.name}{{{', '.join(method.signature for method in self.methods)}}}"
        try:
            return f"{self.name}{inspect.signature(inspect.unwrap(self.call))}"
        except (TypeError, ValueError):
            return f"{self.name}(…)"


def _is_context_parameter(parameter: inspect.Parameter) -> bool:
    """Whether it receives a context. One whose annotation can't be resolved is known by its name."""
    annotation = parameter.annotation
    return isinstance(annotation, str) and annotation.rpartition(".")[2] in _CONTEXT_CLASS_NAMES


def _unwrap_definition(call: Any) -> Any:
    """The function that is run in the end: behind decorators and partials, of a method or of a callable object."""
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
    """From a name, without case, to its function. `clashes` names the places of functions that share one."""

    def __init__(self) -> None:
        self._functions: dict[tuple[bool, str], Function] = {}
        self._seen_ids: set[int] = set()
        self._clashing_locations: dict[tuple[bool, str], list[str]] = {}
        self._built_in: dict[str, Function] = {}

    @property
    def clashes(self) -> dict[str, list[str]]:
        """By the name that they share, the places of functions."""
        return {name: places for (_, name), places in self._clashing_locations.items()}

    def add_module(self, module: ModuleType) -> None:
        """Collect what a loaded module holds: marked functions, handles, apps and blueprints."""
        stem = module.__name__.rpartition(".")[2]
        for thing in list(vars(module).values()):
            if isinstance(thing, Orchestrator):
                self._add_callable(FunctionMark("orchestrator", stem), thing.orchestrator_function, module.__name__)
            elif isinstance(thing, Entity):
                self._add_callable(FunctionMark("entity", stem), thing.entity_function, module.__name__)
            elif isinstance(thing, Blueprint):
                for function in thing.functions:
                    self._add_marked(function, module.__name__)
            else:
                self._add_marked(thing, module.__name__)

    def _add_marked(self, thing: Any, module: str) -> None:
        mark = get_mark(thing)
        if mark is not None and callable(thing):
            self._add_callable(mark, thing, getattr(_unwrap_definition(thing), "__module__", module) or module)

    def _add_callable(self, mark: FunctionMark, call: Callable[..., Any], module: str) -> None:
        if id(call) in self._seen_ids:
            return
        self._seen_ids.add(id(call))
        self.add_function(Function(mark, call, module, get_bindings(call)))

    def add_function(self, function: Function) -> None:
        """Take in a function that no decorator has marked."""
        key = _registry_key(function.kind, function.name)
        if key in self._functions or key in self._clashing_locations:
            places = self._clashing_locations.setdefault(key, [])
            if earlier := self._functions.pop(key, None):
                places.append(f"{earlier.name} ({earlier.kind}, {earlier.source_location})")
            places.append(f"{function.name} ({function.kind}, {function.source_location})")
            return
        self._functions[key] = function

    def remove(self, function: Function) -> None:
        """Take a function out."""
        del self._functions[_registry_key(function.kind, function.name)]

    def add_built_in(self, functions: Iterable[Callable[..., Any]]) -> None:
        """Have functions of durablecli's own at hand, unlisted. One of the author's by that name goes first."""
        for call in functions:
            mark = get_mark(call)
            assert mark is not None
            self._built_in[mark.name.casefold()] = Function(mark, call, call.__module__)

    def is_built_in(self, function: Function) -> bool:
        """Whether it is durablecli's own."""
        return self._built_in.get(function.name.casefold()) is function

    def find_orchestrator(self, name: str) -> Function | None:
        """The orchestrator of this name, or None."""
        return self._find_of_kind("orchestrator", name)

    def find_activity(self, name: str) -> Function | None:
        """The activity of this name, or None."""
        return self._find_of_kind("activity", name)

    def find_entity(self, name: str) -> Function | None:
        """The entity of this name, or None."""
        return self._find_of_kind("entity", name)

    def _find_of_kind(self, kind: str, name: str) -> Function | None:
        for function in (self._functions.get(_registry_key(kind, name)), self._built_in.get(name.casefold())):
            if function is not None and function.kind == kind:
                return function
        return None

    def find_function(self, name: str) -> Function | None:
        """What has this name; of two, the one that a client can start or call."""
        return self._functions.get((True, name.casefold())) or self._functions.get((False, name.casefold()))

    def functions_of_kind(self, kind: str) -> list[Function]:
        """All orchestrators, activities, entities, or what `kind` names: http, timer, other."""
        return [function for function in self if function.kind == kind]

    def get_return_type(self, name: str) -> Any:
        """The return annotation of a function that an orchestrator named by a string; Any where it isn't known."""
        function = self._functions.get((True, name.casefold()))
        return function.return_type if function else Any

    def __iter__(self) -> Iterator[Function]:
        return iter(sorted(self._functions.values(), key=lambda function: function.name.casefold()))

    def __len__(self) -> int:
        return len(self._functions)


def _registry_key(kind: str, name: str) -> tuple[bool, str]:
    """What starts by itself may share its name with what is called: Azure lets an orchestrator be named apart."""
    return kind in _CALLABLE_KINDS, name.casefold()
