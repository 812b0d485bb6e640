"""Marks that decorators leave on functions, and the names of functions, given as strings or decorated functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import lru_cache
from types import FunctionType, NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from durablecli.model.activity_options import DEFAULT_OPTIONS, ActivityOptions
from durablecli.model.annotations import is_unresolved, resolve_signature
from durablecli.model.retries import RetryPolicy
from durablecli.model.schedule_options import ScheduleOptions
from durablecli.model.validation import check_name

F = TypeVar("F", bound=Callable[..., Any])


class FunctionMark(NamedTuple):
    """What a decorator leaves on a function: its kind, its name, and how it wants to run.

    With `untyped` annotations are for readers only: values stay plain JSON, except of classes with `from_json`.
    """

    kind: str
    name: str
    executor: str | None = None
    options: ActivityOptions = DEFAULT_OPTIONS
    untyped: bool = False
    schedule: ScheduleOptions | None = None


MARK_ATTRIBUTE = "__durable__"
INPUT_TYPE_ATTRIBUTE = "__durable_input_type__"
"""The attribute of an orchestrator that holds the type of its input, if its trigger declares one."""
_DECORATORS = {"activity": "@df.activity", "entity": "@df.entity", "orchestrator": "@df.orchestrator"}


def get_mark(thing: object) -> FunctionMark | None:
    """Return the mark of a decorated function or class, or None. Subclasses and objects of a class don't inherit it."""
    found = vars(thing).get(MARK_ATTRIBUTE) if isinstance(thing, type) else getattr(thing, MARK_ATTRIBUTE, None)
    if not isinstance(found, FunctionMark) or getattr(type(thing), MARK_ATTRIBUTE, None) is found:
        return None
    return found


def set_mark(function: F, mark: FunctionMark) -> F:
    """Mark a function, and return it."""
    setattr(function, MARK_ATTRIBUTE, mark)
    return function


def function_name(function: str | Callable[..., Any], kind: str) -> str:
    """Return the name of a function; raises ValueError if it isn't decorated as this kind."""
    if isinstance(function, str):
        return check_name(function, f"an {kind}")
    found = get_mark(function)
    if found is None:
        label = getattr(function, "__name__", repr(function))
        raise ValueError(f"{label} isn't an {kind}: decorate it with {_DECORATORS[kind]}, or give its name as a string")
    if found.kind != kind:
        raise ValueError(f"{found.name} is an {found.kind}; an {kind} is needed here")
    return check_name(found.name, f"an {kind}")


class CalleeTraits(NamedTuple):
    """What a caller needs to know of a function: the type of its result, and the retry policy that it declares."""

    return_type: Any = Any
    retry: RetryPolicy | None = None


UNKNOWN_TRAITS = CalleeTraits()
FindTraits = Callable[[str], CalleeTraits]
"""From the name of an activity or orchestrator to its traits; UNKNOWN_TRAITS where nothing is known."""


class Callee(NamedTuple):
    """A function that an orchestrator calls. `traits` is None of one given by name."""

    name: str
    label: str
    traits: CalleeTraits | None


_CACHEABLE_TYPES = frozenset({str, FunctionType})
"""The types of nearly all that is called. Others may compare and hash as they like."""


def find_callee(function: str | Callable[..., Any], kind: str) -> Callee:
    """Find the activity or orchestrator that is called; raises ValueError if it isn't decorated as this kind."""
    return _find_callee_cached(function, kind) if type(function) in _CACHEABLE_TYPES else _find_callee(function, kind)


def _find_callee(function: str | Callable[..., Any], kind: str) -> Callee:
    name = function_name(function, kind)
    traits = None if isinstance(function, str) else _get_traits(function)
    label = f"Activity function '{name}'" if kind == "activity" else f"Orchestrator function '{name}'"
    return Callee(name, label, traits)


def _get_traits(function: Callable[..., Any]) -> CalleeTraits:
    mark = get_mark(function)
    return CalleeTraits(return_annotation(function), None if mark is None else mark.options.retry)


_find_callee_cached = lru_cache(4096)(_find_callee)


@lru_cache(4096)
def return_annotation(function: Callable[..., Any]) -> Any:
    """Return the return annotation of a function; Any if there is none that can be resolved."""
    found = get_mark(function)
    annotation = _resolve_return_annotation(function)
    return annotation if found is None or not found.untyped else json_constructible(annotation)


def json_constructible(annotation: Any) -> Any:
    """Return the annotation with Any in place of each class that has no `from_json`."""
    if annotation is NoneType or hasattr(annotation, "from_json"):
        return annotation
    origin = get_origin(annotation)
    parts = tuple(each if each is Ellipsis else json_constructible(each) for each in get_args(annotation))
    if origin is Annotated:
        return parts[0]
    if origin is Literal or all(part in (Any, NoneType, Ellipsis) for part in parts):
        return Any
    return Union[parts] if origin in (Union, UnionType) else origin[parts]  # noqa: UP007 - made of a tuple


def _resolve_return_annotation(function: Callable[..., Any]) -> Any:
    plain = inspect.unwrap(function)
    try:
        annotation = resolve_signature(plain).return_annotation
    except (TypeError, ValueError):
        return Any
    if inspect.isgeneratorfunction(plain):
        # `Generator[Any, Any, str]` gives a str; an Iterator or a bare Generator doesn't say what it gives.
        arguments = get_args(annotation)
        return arguments[2] if get_origin(annotation) is Generator and len(arguments) == 3 else Any
    return Any if annotation in (inspect.Signature.empty, None) or is_unresolved(annotation) else annotation
