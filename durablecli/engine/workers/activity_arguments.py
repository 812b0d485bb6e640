"""The arguments of an activity: its input, and its context where it has a place for one.

The input goes to the first parameter, the context to the second. What the orchestrator didn't give (or gave as None)
leaves a default value in force. A function that takes keyword arguments alone receives the members of its input.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Raw

from durablecli.app import Function
from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import Mismatch
from durablecli.model.events import NULL
from durablecli.model.payloads import decode

_PLACES = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_EMPTY = inspect.Parameter.empty
_NO_NAMES: Mapping[str, Any] = {}
_CONTEXT = object()


def bind(function: Function, given: Raw, context: Callable[[], ActivityContext]) -> tuple[list[Any], Mapping[str, Any]]:
    """The arguments by place and by name. Raises Mismatch for an input that doesn't fit."""
    plan = _plan(function)
    if plan.only is not _EMPTY:
        return [decode(given, plan.only)], _NO_NAMES
    places = [context() if each is _CONTEXT else _value(each, given) for each in plan.places]
    if plan.takes_more and given != NULL:
        places.append(decode(given))
    return places, _NO_NAMES if plan.names is None else _named(function, plan.names, given, context)


class _Names(NamedTuple):
    """What is passed by name: the context, the input to a parameter of its own, or its members to several."""

    context: tuple[str, ...]
    input: inspect.Parameter | None
    members: Mapping[str, inspect.Parameter]
    takes_any: bool


class _Plan(NamedTuple):
    """What each place receives. `takes_more`: the input goes to `*args`. `only` is the annotation of the input where
    that is all there is, as nearly always."""

    places: tuple[Any, ...]
    takes_more: bool
    names: _Names | None
    only: Any


@lru_cache(4096)
def _plan(function: Function) -> _Plan:
    parameters = _parameters(function)
    places: list[Any] = []
    takes_input = has_context = False
    for each in parameters:
        if each.kind not in _PLACES:
            break
        if _is_context(each):
            places.append(_CONTEXT)
            has_context = True
        elif not takes_input:
            places.append(each)
            takes_input = True
        elif each.default is _EMPTY and not has_context:
            places.append(_CONTEXT)
            has_context = True
        else:
            break
    takes_more = not takes_input and any(each.kind is each.VAR_POSITIONAL for each in parameters)
    names = _names(parameters, takes_input or takes_more)
    is_plain = takes_input and len(places) == 1 and names is None and places[0].default is _EMPTY
    return _Plan(tuple(places), takes_more, names, _annotation(places[0]) if is_plain else _EMPTY)


def _names(parameters: list[inspect.Parameter], takes_input: bool) -> _Names | None:
    named = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    context = tuple(each.name for each in named if _is_context(each))
    inputs = [] if takes_input else [each for each in named if not _is_context(each)]
    takes_any = not takes_input and any(each.kind is each.VAR_KEYWORD for each in parameters)
    if not (context or inputs or takes_any):
        return None
    needed = [each for each in inputs if each.default is _EMPTY] or inputs
    if len(needed) == 1 and not takes_any:
        return _Names(context, needed[0], {}, False)
    return _Names(context, None, {each.name: each for each in inputs}, takes_any)


def _named(function: Function, names: _Names, given: Raw, context: Callable[[], ActivityContext]) -> Mapping[str, Any]:
    found: dict[str, Any] = {name: context() for name in names.context}
    if names.input is not None:
        found[names.input.name] = _value(names.input, given)
    elif (names.members or names.takes_any) and given != NULL:
        for name, raw in _members(function, given).items():
            known = names.members.get(name)
            if known is None and not names.takes_any:
                raise Mismatch(f"$.{name}", f"activity '{function.name}' has no parameter '{name}'")
            found[name] = decode(raw) if known is None else decode(raw, _annotation(known))
    return found


def _members(function: Function, given: Raw) -> dict[str, Raw]:
    try:
        found: dict[str, Raw] = decode(given, dict[str, Raw])
    except Mismatch:
        text = f"activity '{function.name}' takes keyword arguments only, so its input must be an object"
        raise Mismatch("$", text) from None
    return found


def _value(parameter: inspect.Parameter, given: Raw) -> Any:
    if parameter.default is not _EMPTY and given == NULL:
        return parameter.default
    return decode(given, _annotation(parameter))


def _annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is _EMPTY else parameter.annotation


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # unresolved: it is imported for type checkers only
        return annotation.rpartition(".")[2] == ActivityContext.__name__
    return annotation is ActivityContext


def _parameters(function: Function) -> list[inspect.Parameter]:
    """The parameters of what is called. A decorator that hides them behind `*args` passes all on to what it wraps;
    another one's own parameters count, with the annotations of those that it has from there."""
    inner = function.parameters
    try:
        outer = list(inspect.signature(function.call, follow_wrapped=False).parameters.values())
    except (TypeError, ValueError):
        return inner
    if any(each.kind is each.VAR_POSITIONAL for each in outer):
        return inner
    annotations = {each.name: each.annotation for each in inner}
    return [
        each.replace(annotation=annotations.get(each.name, each.annotation)) if _says_nothing(each) else each
        for each in outer
    ]


def _says_nothing(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is _EMPTY or isinstance(parameter.annotation, str)
