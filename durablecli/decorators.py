"""The decorators that mark orchestrators, activities and entities, and Azure's older handles for them.

A decorator only marks a function, which stays callable as it is. Nothing is collected in a global list: a registry
collects the marked functions of the modules that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, TypeVar, cast, overload

from durablecli.entities.class_methods import check_entity
from durablecli.model.validation import check_name
from durablecli.replay.function_marks import MARK_ATTRIBUTE, FunctionMark

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

    `executor="process"` runs it in a worker process, for processor-bound work; `max_concurrency` limits how many of
    its calls run at the same time. A second parameter receives a `df.ActivityContext`.
    """
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor must be 'thread' or 'process', not {executor!r}")
    if max_concurrency is not None and max_concurrency < 1:
        raise ValueError("max_concurrency must be at least 1")

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
    """Mark an entity: a function that takes its context, or a class whose public methods are the operations."""

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
        # A bound method or a built-in function accepts no attribute; a partial that calls it does.
        function = cast("F", update_wrapper(partial(function), function))
        setattr(function, MARK_ATTRIBUTE, mark)
    return function


def _default_name(function: Callable[..., Any], kind: str) -> str:
    name = getattr(function, "__name__", None)
    if not callable(function) or isinstance(name, str):
        return name or ""
    raise TypeError(f"{type(function).__name__} has no name: write @df.{kind}(name=...)")


class Orchestrator:
    """Azure's older declaration: `main = df.Orchestrator.create(function)`. It is named after its module."""

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
    """Azure's older declaration: `main = df.Entity.create(function)`. It is named after its module."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.entity_function = function

    @classmethod
    def create(cls, function: Callable[..., Any]) -> Entity:
        """Make the handle that the module holds, usually as `main`."""
        check_entity(function)
        return cls(function)

    def __call__(self, context: Any) -> Any:
        return self.entity_function(context)
