"""Declares resources, and the parameters of activities and resources that receive them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, NoReturn, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_ATTRIBUTE = "__durable_resource__"
_SCOPES = {"process": 0, "thread": 1, "call": 2}
"""The scopes, from the widest to the narrowest."""


class Resource:
    """How a value is set up and torn down, and how long one lasts. It is compared by identity."""

    def __init__(self, function: Callable[..., Any], scope: str) -> None:
        """Raises ValueError or TypeError if the function can't be a resource."""
        self.name: str = getattr(function, "__name__", type(function).__name__)
        self.scope = scope
        self._function = function
        self._is_generator = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
        self.is_async = inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function)
        self.dependencies = find_dependencies(function)
        self._check()

    def open(self, arguments: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Return the context manager that sets it up and tears it down."""
        return contextmanager(self._function if self._is_generator else self._make_value)(**arguments)

    def open_async(self, arguments: Mapping[str, Any]) -> AbstractAsyncContextManager[Any]:
        """Return the asynchronous context manager that sets it up and tears it down."""
        return asynccontextmanager(self._function if self._is_generator else self._await_value)(**arguments)

    def _make_value(self, **arguments: Any) -> Iterator[Any]:
        yield self._function(**arguments)

    async def _await_value(self, **arguments: Any) -> AsyncIterator[Any]:
        yield await self._function(**arguments)

    def _check(self) -> None:
        if self.scope not in _SCOPES:
            raise ValueError(f"scope must be 'process', 'thread' or 'call', not {self.scope!r}")
        if self.is_async and self.scope == "thread":
            raise ValueError(
                f"the async resource '{self.name}' can't have the scope 'thread': "
                "all async activities share one thread; use 'process' or 'call'"
            )
        if not self._is_generator and inspect.isgeneratorfunction(inspect.unwrap(self._function)):
            raise TypeError(f"{self.name} is already a context manager: leave its decorator out, @df.resource suffices")
        for each in inspect.signature(self._function).parameters.values():
            if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
                raise TypeError(
                    f"resource '{self.name}' is set up without arguments, so its parameter '{each.name}' needs a "
                    "default value or df.Depends"
                )
        for other in self.dependencies.values():
            if _SCOPES[other.scope] > _SCOPES[self.scope]:
                raise ValueError(
                    f"resource '{self.name}' lasts longer (scope '{self.scope}') than '{other.name}' "
                    f"(scope '{other.scope}'), on which it depends"
                )
        check_async_dependencies(self.dependencies, f"resource '{self.name}'", is_async=self.is_async)


class Dependency:
    """The default value of a parameter that receives a resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(
            f"this parameter receives the resource '{self.resource.name}' in an activity that the engine runs; "
            "code that calls the function itself passes a value"
        )


@overload
def resource(function: F, /) -> F: ...
@overload
def resource(*, scope: str = "process") -> Callable[[F], F]: ...
def resource(function: F | None = None, /, *, scope: str = "process") -> F | Callable[[F], F]:
    """Mark a resource: a generator function that sets a value up, yields it, and tears it down.

    A function that returns a value has nothing to tear down. An `async def` is for async activities. Parameters may be
    other resources, as `df.Depends(other)`.

    A value is set up when an activity first needs it. With the scope `process` the activities of a process share one
    until the engine stops, with `thread` those of each thread share one, and with `call` each call has its own.
    """

    def mark(function: F) -> F:
        if isinstance(function, type) or not callable(function):
            raise TypeError(f"@df.resource decorates a function, not {function!r}")
        setattr(function, _ATTRIBUTE, Resource(function, scope))
        return function

    return mark if function is None else mark(function)


@overload
def Depends(resource: Callable[..., Iterator[T]]) -> T: ...
@overload
def Depends(resource: Callable[..., AsyncIterator[T]]) -> T: ...
@overload
def Depends(resource: Callable[..., Coroutine[Any, Any, T]]) -> T: ...
@overload
def Depends(resource: Callable[..., T]) -> T: ...
def Depends(resource: Callable[..., Any]) -> Any:  # noqa: N802
    """Make the default value of a parameter that receives a resource: `db: Db = df.Depends(open_db)`.

    Raises ValueError if the function isn't decorated with `@df.resource`.
    """
    return Dependency(get_resource(resource))


def get_resource(function: object) -> Resource:
    """Return the resource that a decorated function declares. Raises ValueError."""
    found = find_resource(function)
    if found is None:
        label = getattr(function, "__name__", repr(function))
        raise ValueError(f"{label} isn't a resource: decorate it with @df.resource")
    return found


def find_resource(function: object) -> Resource | None:
    """Return the resource that a decorated function declares, or None."""
    found = getattr(function, _ATTRIBUTE, None)
    return found if isinstance(found, Resource) else None


def make_constant(name: str, value: object) -> Resource:
    """Make a resource that is always this value."""

    def constant() -> object:
        return value

    constant.__name__ = name
    return Resource(constant, "process")


def check_replacement(original: Resource, replacement: Resource) -> None:
    """Raise ValueError if a resource can't take the place of another."""
    if replacement.is_async and not original.is_async:
        raise ValueError(f"'{original.name}' isn't async, so the async '{replacement.name}' can't take its place")
    if _SCOPES[replacement.scope] > _SCOPES[original.scope]:
        raise ValueError(
            f"'{replacement.name}' (scope '{replacement.scope}') lasts shorter than '{original.name}' "
            f"(scope '{original.scope}'), whose place it is to take"
        )


def find_dependencies(function: Callable[..., Any]) -> dict[str, Resource]:
    """Return the resources that a function needs, by parameter. Raises TypeError for a positional-only parameter."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return {}
    found = [each for each in parameters if type(each.default) is Dependency]
    for each in found:
        if each.kind is each.POSITIONAL_ONLY:
            raise TypeError(f"parameter '{each.name}' can't be positional-only, because it receives a resource")
    return {each.name: each.default.resource for each in found}


def check_async_dependencies(dependencies: Mapping[str, Resource], who: str, *, is_async: bool) -> None:
    """Raise TypeError if a synchronous function needs an async resource."""
    for each in dependencies.values():
        if each.is_async and not is_async:
            raise TypeError(
                f"{who} needs the async resource '{each.name}', so it has to be an `async def` that runs in the engine"
            )


def refuse_dependencies(function: Callable[..., Any], who: str, reason: str) -> None:
    """Raise TypeError if a function of a kind that can't have resources needs one."""
    for name, each in find_dependencies(function).items():
        raise TypeError(f"{who} can't receive the resource '{each.name}' (parameter '{name}'): {reason}")
