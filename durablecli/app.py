"""What authors decorate with, and the registry that collects it: from a name to its function.

A decorator only marks a function, which stays callable as it is. There is no global list: the registry holds what the
modules that it was given hold. The same object seen in two modules is one function; two different functions of one
name (without case) disable that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import cached_property
from types import ModuleType
from typing import Any, TypeVar, overload

from durablecli.entities.forms import ClassForm, Form, FunctionForm
from durablecli.entities.methods import Methods, check_class
from durablecli.model.entities import EntityId
from durablecli.model.names import name_of
from durablecli.replay.names import MARK, Mark, mark_of, return_annotation

F = TypeVar("F", bound=Callable[..., Any])


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
        return _marked(function, Mark("activity", name or function.__name__, executor, max_concurrency))

    return mark if function is None else mark(function)


@overload
def orchestrator(function: F, /) -> F: ...
@overload
def orchestrator(*, name: str | None = None) -> Callable[[F], F]: ...
def orchestrator(function: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Mark an orchestrator: a generator that yields the context's tasks, or an `async def` that awaits them."""

    def mark(function: F) -> F:
        return _marked(function, Mark("orchestrator", name or function.__name__))

    return mark if function is None else mark(function)


@overload
def entity(entity: F, /) -> F: ...
@overload
def entity(*, name: str | None = None) -> Callable[[F], F]: ...
def entity(entity: F | None = None, /, *, name: str | None = None) -> F | Callable[[F], F]:
    """Mark an entity: a function that takes its context, or a class whose public methods are its operations."""

    def mark(entity: F) -> F:
        return _marked(_checked(entity), Mark("entity", _entity_name(name or entity.__name__)))

    return mark if entity is None else mark(entity)


def _checked(entity: F) -> F:
    """What may be an entity; raises TypeError."""
    if isinstance(entity, type):
        check_class(entity)
        return entity
    name = getattr(entity, "__qualname__", repr(entity))
    if not callable(entity):
        raise TypeError(f"@df.entity decorates a function or a class, not {type(entity).__name__}")
    if inspect.isgeneratorfunction(entity) or inspect.isasyncgenfunction(entity):
        raise TypeError(f"{name} is a generator function: an entity yields nothing, and waits for nobody")
    try:
        inspect.signature(entity).bind(None)
    except TypeError as error:
        raise TypeError(f"{name} is called with the context alone when it is an entity, but: {error}") from None
    except ValueError:
        pass  # a signature that nobody knows
    return entity


def _entity_name(name: str) -> str:
    EntityId(name, "any")  # raises ValueError
    return name


def _marked(function: F, mark: Mark) -> F:
    if not callable(function):
        raise TypeError(f"@df.{mark.kind} decorates a function, not {type(function).__name__}")
    name_of(mark.name, f"an {mark.kind}")
    setattr(function, MARK, mark)
    return function


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
        return cls(_checked(function))

    def __call__(self, context: Any) -> Any:
        return self.entity_function(context)


class Blueprint:
    """A set of functions, declared with the decorators of Azure's v2 programming model."""

    def __init__(self, http_auth_level: object = None) -> None:
        self.http_auth_level = http_auth_level
        self.functions: list[Callable[..., Any]] = []

    def orchestration_trigger(
        self, context_name: str, orchestration: str | None = None, input_type: Any = None
    ) -> Callable[[F], F]:
        """Declare an orchestrator; `orchestration` names it otherwise than the function."""
        return self._declare("orchestrator", orchestration)

    def activity_trigger(self, input_name: str, activity: str | None = None) -> Callable[[F], F]:
        """Declare an activity; `activity` names it otherwise than the function."""
        return self._declare("activity", activity)

    def entity_trigger(self, context_name: str, entity_name: str | None = None) -> Callable[[F], F]:
        """Declare an entity; `entity_name` names it otherwise than the function."""

        def mark(function: F) -> F:
            self.functions.append(function)
            return entity(name=entity_name)(function)

        return mark

    def _declare(self, kind: str, name: str | None) -> Callable[[F], F]:
        def mark(function: F) -> F:
            self.functions.append(function)
            return _marked(function, Mark(kind, name or function.__name__))

        return mark


class DFApp(Blueprint):
    """The app of a `function_app.py`: a blueprint that takes in others."""

    def register_functions(self, blueprint: Blueprint) -> None:
        """Take in all functions of a blueprint."""
        self.functions += blueprint.functions

    register_blueprint = register_functions


class Function:
    """One loaded function: what it is called, where it stands, and how it is to be run."""

    def __init__(self, mark: Mark, call: Callable[..., Any], module: str) -> None:
        self.name = mark.name
        self.kind = mark.kind
        self.call = call
        self.module = module
        is_async = self.kind != "entity" and inspect.iscoroutinefunction(call)
        self.executor = mark.executor or ("async" if is_async else "thread")
        self.max_concurrency = mark.max_concurrency

    @cached_property
    def methods(self) -> Methods | None:
        """The operations of an entity that is a class."""
        return Methods(self.call) if self.kind == "entity" and isinstance(self.call, type) else None

    @cached_property
    def form(self) -> Form:
        """How the operations of an entity are called."""
        if self.methods is not None:
            return ClassForm(self.methods)
        return FunctionForm(self.call)

    @property
    def place(self) -> str:
        """`file:line` of its definition."""
        if isinstance(self.call, type):
            return _place_of_class(self.call)
        code = getattr(inspect.unwrap(self.call), "__code__", None)
        return f"{code.co_filename}:{code.co_firstlineno}" if code else self.module

    @cached_property
    def parameters(self) -> list[inspect.Parameter]:
        """Its parameters, annotations resolved where they can be."""
        try:
            found = inspect.signature(self.call, eval_str=True)
        except (NameError, TypeError, ValueError, SyntaxError, AttributeError):
            try:
                found = inspect.signature(self.call)
            except (TypeError, ValueError):
                return []
        return list(found.parameters.values())

    @cached_property
    def returns(self) -> Any:
        """Its return annotation; Any where it says nothing."""
        return return_annotation(self.call)

    @property
    def signature(self) -> str:
        """As people read it: `count_words(path: str) -> int`, or `Counter{add(amount: int), get() -> int}`."""
        if self.methods is not None:
            return f"{self.name}{{{', '.join(method.signature for method in self.methods)}}}"
        try:
            return f"{self.name}{inspect.signature(self.call)}"
        except (TypeError, ValueError):
            return f"{self.name}(…)"


def _place_of_class(kind: type) -> str:
    try:
        return f"{inspect.getsourcefile(kind)}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):
        return kind.__module__


class Registry:
    """From a name, without case, to its function. `clashes` names the places of functions that share one."""

    def __init__(self) -> None:
        self._functions: dict[str, Function] = {}
        self._seen: set[int] = set()
        self.clashes: dict[str, list[str]] = {}

    def add(self, module: ModuleType) -> None:
        """Collect what a loaded module holds: marked functions, handles, apps and blueprints."""
        stem = module.__name__.rpartition(".")[2]
        for thing in list(vars(module).values()):
            if isinstance(thing, Orchestrator):
                self._take(Mark("orchestrator", stem), thing.orchestrator_function, module.__name__)
            elif isinstance(thing, Entity):
                self._take(Mark("entity", stem), thing.entity_function, module.__name__)
            elif isinstance(thing, Blueprint):
                for function in thing.functions:
                    self._take_marked(function, module.__name__)
            else:
                self._take_marked(thing, module.__name__)

    def _take_marked(self, thing: Any, module: str) -> None:
        mark = mark_of(thing)
        if mark is not None and callable(thing):
            self._take(mark, thing, getattr(thing, "__module__", module) or module)

    def _take(self, mark: Mark, call: Callable[..., Any], module: str) -> None:
        if id(call) in self._seen:
            return
        self._seen.add(id(call))
        function = Function(mark, call, module)
        key = mark.name.casefold()
        if key in self._functions or key in self.clashes:
            places = self.clashes.setdefault(key, [])
            if earlier := self._functions.pop(key, None):
                places.append(f"{earlier.name} ({earlier.kind}, {earlier.place})")
            places.append(f"{function.name} ({function.kind}, {function.place})")
            return
        self._functions[key] = function

    def orchestrator(self, name: str) -> Function | None:
        """The orchestrator of this name, or None."""
        return self._of("orchestrator", name)

    def activity(self, name: str) -> Function | None:
        """The activity of this name, or None."""
        return self._of("activity", name)

    def entity(self, name: str) -> Function | None:
        """The entity of this name, or None."""
        return self._of("entity", name)

    def _of(self, kind: str, name: str) -> Function | None:
        function = self._functions.get(name.casefold())
        return function if function is not None and function.kind == kind else None

    def returns(self, name: str) -> Any:
        """The return annotation of a function that an orchestrator named by a string; Any where it isn't known."""
        function = self._functions.get(name.casefold())
        return function.returns if function else Any

    def __iter__(self) -> Iterator[Function]:
        return iter(sorted(self._functions.values(), key=lambda function: function.name.casefold()))

    def __len__(self) -> int:
        return len(self._functions)
