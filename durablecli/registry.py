"""The registry: finds a function by its name, ignoring case.

An object that two modules hold is one function. Two different functions with one name disable that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache, partial
from types import ModuleType
from typing import Any, Optional

from durablecli.bindings import FunctionBindings, FunctionCollection, Trigger, get_bindings
from durablecli.decorators import Entity, Orchestrator
from durablecli.entities.adapters import ClassEntity, EntityAdapter, FunctionEntity
from durablecli.entities.class_methods import EntityMethods
from durablecli.inputs.input_check import InputRules, check_by_type
from durablecli.inputs.input_schema import Schema, make_schema
from durablecli.model.annotations import find_unresolved, is_unresolved, resolve_signature, resolve_type_hints
from durablecli.model.round_trip import FieldClasses, find_field_classes
from durablecli.replay.function_marks import (
    UNKNOWN_TRAITS,
    CalleeTraits,
    FunctionMark,
    get_mark,
    json_constructible,
    return_annotation,
)
from durablecli.replay.input_argument import bind_input_argument, get_input_type
from durablecli.resources.declarations import find_dependencies
from durablecli.resources.resource_store import ResourceStore

_CONTEXT_CLASS_NAMES = frozenset({"ActivityContext", "DurableEntityContext", "DurableOrchestrationContext"})
_MAX_IMPORT_ERRORS = 3
_CALLABLE_KINDS = frozenset({"orchestrator", "activity", "entity"})


class Function:
    """One loaded function: its name, its source location, and how to run it.

    `kind` is orchestrator, activity, entity, http, timer or other; the last three have a `trigger`. These attributes
    name parameters: `input_name` the one that receives the trigger's value (where the decorator names it),
    `client_parameter` the one for the durable client, `bindings` those with bindings that exist only in the cloud,
    `outputs` the output bindings among them, and `response_parameter` the one on which an HTTP function sets its
    response. `has_input_parameter` says that the second parameter of an orchestrator receives its input, and
    `is_azure` that the function was declared as in an Azure app: its annotations are for readers only.
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
        bound = bind_input_argument(call) if mark.kind == "orchestrator" and not self.is_azure else None
        self.call = call if bound is None else bound.call
        self.has_input_parameter = bound is not None
        self._accepts_null = bound is not None and bound.accepts_null
        self.module = module
        is_async = self.kind != "entity" and inspect.iscoroutinefunction(call)
        self.executor = mark.executor or ("async" if is_async else "thread")
        self.options = mark.options
        self.dependencies = find_dependencies(call) if self.kind == "activity" else {}
        """The resources that it needs, by parameter."""
        self.resources = ResourceStore()
        """The resources of its app."""
        self.schedule = mark.schedule
        self.successor: Function | None = None
        """The function that a reload of the app has put in its place."""

    @property
    def newest(self) -> Function:
        """The function that is called now: this one, or what reloads have put in its place."""
        function = self
        while function.successor is not None:
            function = function.successor
        return function

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

    @cached_property
    def has_async_operations(self) -> bool:
        """Whether operations of the entity are coroutines."""
        calls = [self.call] if self.methods is None else [method.call for method in self.methods]
        return self.kind == "entity" and any(map(inspect.iscoroutinefunction, calls))

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
    def traits(self) -> CalleeTraits:
        """What callers need to know of it."""
        return CalleeTraits(self.return_type, self.options.retry)

    @cached_property
    def input_type(self) -> Any:
        """The type that an orchestrator declares for its input; Any if it declares none."""
        if self.kind != "orchestrator" or is_unresolved(found := get_input_type(self.call)):
            return Any
        return Optional[found] if self._accepts_null else found  # noqa: UP045 - any annotation

    @cached_property
    def input_schema(self) -> Schema:
        """The JSON schema of the declared input; `{}` if any value is allowed."""
        return {} if self.input_type is Any else make_schema(self.input_type)

    @property
    def input_rules(self) -> InputRules | None:
        """The schema and the check of the declared input; None if any value is allowed."""
        if self.input_type is Any:
            return None
        return InputRules(self.name, self.input_schema, partial(check_by_type, self.name, self.input_type))

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
            yield from (
                (each.name, each.annotation)
                for each in self.parameters
                if not _is_context_parameter(each) and each.name not in self.dependencies
            )
        elif self.has_input_parameter:
            yield self.parameters[1].name, self.parameters[1].annotation
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
            found = inspect.signature(inspect.unwrap(self.call))
            if self.dependencies:
                kept = [each for name, each in found.parameters.items() if name not in self.dependencies]
                found = found.replace(parameters=kept)
            return f"{self.name}{found}"
        except (TypeError, ValueError):
            return f"{self.name}(…)"


@lru_cache(1024)
def find_input_rules(function: Callable[..., Any]) -> InputRules | None:
    """Return the schema and the check of the input that a decorated orchestrator declares; None if it declares none."""
    mark = get_mark(function)
    return None if mark is None else Function(mark, function, "", get_bindings(function)).input_rules


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
    except Exception:  # noqa: BLE001 - it reads the file, which may hold anything by now
        return kind.__module__


class Registry:
    """Finds functions by name, ignoring case."""

    def __init__(self) -> None:
        self._functions: dict[tuple[bool, str], Function] = {}
        self._seen_ids: set[int] = set()
        self._clashing_locations: dict[tuple[bool, str], list[str]] = {}
        self._built_in: dict[str, Function] = {}
        self.resources = ResourceStore()
        """What the resources of the functions have set up."""
        self.import_errors: tuple[str, ...] = ()
        """A line for each module that can't be imported: it may hold a function that isn't found."""
        self._found: dict[tuple[str, str], Function] = {}
        """What was found by its exact name, by kind and name: nearly all that is looked up."""

    @property
    def clashes(self) -> dict[str, list[str]]:
        """The locations of functions that share a name, by that name."""
        return {name: locations for (_, name), locations in self._clashing_locations.items()}

    def describe_missing(self, kind: str, name: str) -> str:
        """Return that a function isn't loaded, and the modules that can't be imported: one of them may hold it."""
        errors = self.import_errors
        lines = [f"{kind} '{name}' isn't loaded", *(f"can't import {error}" for error in errors[:_MAX_IMPORT_ERRORS])]
        if len(errors) > _MAX_IMPORT_ERRORS:
            lines.append(f"and {len(errors) - _MAX_IMPORT_ERRORS} other modules")
        return "\n".join(lines)

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
        function.resources = self.resources
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

    def replace_functions(self, other: Registry) -> None:
        """Have the functions of another registry, which isn't used any more, instead of the present ones. A call that
        waits for its turn runs the new function if that is run in the same way.

        The resources of the earlier functions are torn down when the calls that use them have ended.
        """
        for key, function in self._functions.items():
            successor = other._functions.get(key)
            if successor is not None and (successor.kind, successor.executor) == (function.kind, function.executor):
                function.successor = successor
        self._functions, self._built_in = other._functions, other._built_in
        self._seen_ids, self._clashing_locations = other._seen_ids, other._clashing_locations
        self.import_errors = other.import_errors
        self._found = {}
        self.resources.retire()
        self.resources = other.resources

    def close_resources(self) -> None:
        """Tear down the resources of the functions, once nothing runs them any more."""
        self.resources.close()

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

    @property
    def built_in(self) -> list[Function]:
        """Durablecli's own functions."""
        return list(self._built_in.values())

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

    def find_traits(self, name: str) -> CalleeTraits:
        """Return what callers need to know of the function with this name."""
        function = self._functions.get((True, name.casefold()))
        return function.traits if function else UNKNOWN_TRAITS

    def __iter__(self) -> Iterator[Function]:
        return iter(sorted(self._functions.values(), key=lambda function: function.name.casefold()))

    def __len__(self) -> int:
        return len(self._functions)


def _registry_key(kind: str, name: str) -> tuple[bool, str]:
    """Return the key of a function. A triggered function may share its name with a callable one, as in Azure."""
    return kind in _CALLABLE_KINDS, name.casefold()
