"""The decorators that mark orchestrators, activities and entities, and Azure's older handles for them.

A decorator only marks a function, which stays callable as it is. Nothing is collected in a global list: a registry
collects the marked functions of the modules that it is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, update_wrapper
from typing import Any, TypeVar, cast, overload

from durablecli.entities.class_methods import check_entity
from durablecli.model.activity_options import make_activity_options
from durablecli.model.activity_signature import check_activity_signature
from durablecli.model.retries import RetryPolicy
from durablecli.model.schedule_options import DEFAULT_TIME_ZONE, ScheduleOptions
from durablecli.model.time_spans import Duration
from durablecli.model.validation import check_name
from durablecli.replay.function_marks import INPUT_TYPE_ATTRIBUTE, MARK_ATTRIBUTE, FunctionMark
from durablecli.resources.declarations import check_async_dependencies, find_dependencies, refuse_dependencies

F = TypeVar("F", bound=Callable[..., Any])


@overload
def activity(function: F, /) -> F: ...
@overload
def activity(
    *,
    name: str | None = None,
    executor: str | None = None,
    timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    retry: RetryPolicy | None = None,
    max_concurrency: int | None = None,
    rate: str | None = None,
    key: Callable[[Any], object] | None = None,
) -> Callable[[F], F]: ...
def activity(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    executor: str | None = None,
    timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    retry: RetryPolicy | None = None,
    max_concurrency: int | None = None,
    rate: str | None = None,
    key: Callable[[Any], object] | None = None,
) -> F | Callable[[F], F]:
    """Mark an activity: the place for side effects. It runs at least once; an `async def` runs on an event loop.

    `executor="process"` runs it in a worker process, for processor-bound work. A second parameter receives a
    `df.ActivityContext`.

    `timeout` limits how long an attempt may run, and `heartbeat_timeout` the time between two calls of
    `context.heartbeat()`; an attempt that takes longer fails with `df.ActivityTimedOut`. Durations are timedeltas,
    seconds or texts such as `10m`. `retry` is the policy of calls that have none of their own.

    `max_concurrency` limits how many of its calls run at the same time, and `rate`, such as `5/s`, how many begin. With
    `key`, a function of the input, both count the calls of each key by themselves.
    """
    if executor not in (None, "thread", "process"):
        raise ValueError(f"executor must be 'thread' or 'process', not {executor!r}")
    options = make_activity_options(max_concurrency, rate, key, timeout, heartbeat_timeout, retry)

    def mark(function: F) -> F:
        own_name = name or _default_name(function, "activity")
        is_async = inspect.iscoroutinefunction(function) and executor is None
        check_async_dependencies(find_dependencies(function), f"activity '{own_name}'", is_async=is_async)
        check_activity_signature(function, f"activity '{own_name}'")
        return _set_mark(function, FunctionMark("activity", own_name, executor, options))

    return mark if function is None else mark(function)


@overload
def orchestrator(function: F, /) -> F: ...
@overload
def orchestrator(
    *,
    name: str | None = None,
    input_type: Any = None,
    schedule: str | None = None,
    timezone: str = DEFAULT_TIME_ZONE,
    overlap: str = "skip",
    catch_up: bool = False,
    input: Any = None,
) -> Callable[[F], F]: ...
def orchestrator(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    input_type: Any = None,
    schedule: str | None = None,
    timezone: str = DEFAULT_TIME_ZONE,
    overlap: str = "skip",
    catch_up: bool = False,
    input: Any = None,
) -> F | Callable[[F], F]:
    """Mark an orchestrator: a generator that yields the context's tasks, or an `async def` that awaits them.

    A second parameter receives the input, decoded by its annotation, if the first is annotated as the context.
    `input_type` declares the type without one; `context.get_input()` returns an object of it. An input that doesn't fit
    the declared type is refused before an instance is started.

    With a `schedule` the daemon starts it, with `input`: five cron fields such as `0 3 * * *`, six with seconds first,
    `@daily`, or `every 10m`; in the zone `timezone`, such as `Europe/Vienna`. At a due time while a run is running,
    `overlap` says what happens: `skip` drops the due time, `queue` starts a run after the present one, `allow` at once.
    With `catch_up` due times that were missed while no daemon ran are made up for.
    """
    options = None if schedule is None else ScheduleOptions(schedule, timezone, overlap, catch_up, input)
    if options is None and (timezone, overlap, catch_up, input) != (DEFAULT_TIME_ZONE, "skip", False, None):
        raise ValueError("timezone, overlap, catch_up and input belong to a schedule: add schedule='0 3 * * *'")

    def mark(function: F) -> F:
        own_name = name or _default_name(function, "orchestrator")
        refuse_dependencies(function, f"orchestrator '{own_name}'", "it is replayed; use the resource in an activity")
        marked = _set_mark(function, FunctionMark("orchestrator", own_name, schedule=options))
        if input_type is not None:
            setattr(marked, INPUT_TYPE_ATTRIBUTE, input_type)
        return marked

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
