"""How authors name a function: by a string, or by the function itself once it is decorated."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from durablecli.model.annotations import is_unresolved, signature_of
from durablecli.model.validation import name_of


class Mark(NamedTuple):
    """What a decorator leaves on a function: that it is one of ours, under which name, and how it wants to run.

    The annotations of a `loose` one are for readers: values are passed as they are, unless a class says how to read it.
    """

    kind: str
    name: str
    executor: str | None = None
    max_concurrency: int | None = None
    loose: bool = False


MARK = "__durable__"
_OTHER = {"activity": "@df.activity", "entity": "@df.entity", "orchestrator": "@df.orchestrator"}


def mark_of(thing: object) -> Mark | None:
    """The mark of a decorated function or class, or None. A class leaves none to its subclasses and its objects."""
    found = vars(thing).get(MARK) if isinstance(thing, type) else getattr(thing, MARK, None)
    if not isinstance(found, Mark) or getattr(type(thing), MARK, None) is found:
        return None
    return found


def told_name(named: str | Callable[..., Any], kind: str) -> str:
    """The function's name; ValueError says what to decorate."""
    if isinstance(named, str):
        return name_of(named, f"an {kind}")
    found = mark_of(named)
    if found is None:
        label = getattr(named, "__name__", repr(named))
        raise ValueError(f"{label} isn't an {kind}: decorate it with {_OTHER[kind]}, or give its name as a string")
    if found.kind != kind:
        raise ValueError(f"{found.name} is an {found.kind}, and an {kind} is needed here")
    return name_of(found.name, f"an {kind}")


@lru_cache(4096)
def return_annotation(function: Callable[..., Any]) -> Any:
    """What a function says that it returns; Any where it says nothing that can be resolved."""
    found = mark_of(function)
    annotation = _return_annotation(function)
    return annotation if found is None or not found.loose else made_of_json(annotation)


def made_of_json(annotation: Any) -> Any:
    """The annotation with Any in place of each class that doesn't say by `from_json` how it is made of JSON."""
    if annotation is NoneType or hasattr(annotation, "from_json"):
        return annotation
    origin = get_origin(annotation)
    parts = tuple(each if each is Ellipsis else made_of_json(each) for each in get_args(annotation))
    if origin is Annotated:
        return parts[0]
    if origin is Literal or all(part in (Any, NoneType, Ellipsis) for part in parts):
        return Any
    return Union[parts] if origin in (Union, UnionType) else origin[parts]  # noqa: UP007 - made of a tuple


def _return_annotation(function: Callable[..., Any]) -> Any:
    plain = inspect.unwrap(function)
    try:
        annotation = signature_of(plain).return_annotation
    except (TypeError, ValueError):
        return Any
    if inspect.isgeneratorfunction(plain):
        # `Generator[Any, Any, str]` gives a str; an Iterator or a bare Generator doesn't say what it gives.
        said = get_args(annotation)
        return said[2] if get_origin(annotation) is Generator and len(said) == 3 else Any
    return Any if annotation in (inspect.Signature.empty, None) or is_unresolved(annotation) else annotation
