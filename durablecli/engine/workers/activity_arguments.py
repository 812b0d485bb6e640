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

from durablecli.engine.workers.activity_context import ActivityContext
from durablecli.errors import Mismatch
from durablecli.model.events import NULL
from durablecli.model.payloads import decode
from durablecli.registry import Function

_POSITIONAL_KINDS = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_EMPTY = inspect.Parameter.empty
_NO_KEYWORDS: Mapping[str, Any] = {}
_CONTEXT_SLOT = object()


def bind_arguments(
    function: Function, input: Raw, context: Callable[[], ActivityContext]
) -> tuple[list[Any], Mapping[str, Any]]:
    """The arguments by place and by name. Raises Mismatch for an input that doesn't fit."""
    plan = _make_plan(function)
    if plan.only_annotation is not _EMPTY:
        return [decode(input, plan.only_annotation)], _NO_KEYWORDS
    places = [context() if each is _CONTEXT_SLOT else _bind_value(each, input) for each in plan.positional]
    if plan.has_varargs and input != NULL:
        places.append(decode(input))
    return places, _NO_KEYWORDS if plan.keywords is None else _bind_keywords(function, plan.keywords, input, context)


class _KeywordPlan(NamedTuple):
    """What is passed by name: the context, the input to a parameter of its own, or its members to several."""

    context: tuple[str, ...]
    input: inspect.Parameter | None
    members: Mapping[str, inspect.Parameter]
    has_kwargs: bool


class _ArgumentPlan(NamedTuple):
    """What each place receives. `takes_more`: the input goes to `*args`. `only` is the annotation of the input where
    that is all there is, as nearly always."""

    positional: tuple[Any, ...]
    has_varargs: bool
    keywords: _KeywordPlan | None
    only_annotation: Any


@lru_cache(4096)
def _make_plan(function: Function) -> _ArgumentPlan:
    parameters = _get_parameters(function)
    places: list[Any] = []
    takes_input = has_context = False
    for each in parameters:
        if each.kind not in _POSITIONAL_KINDS:
            break
        if _is_context(each):
            places.append(_CONTEXT_SLOT)
            has_context = True
        elif not takes_input:
            places.append(each)
            takes_input = True
        elif each.default is _EMPTY and not has_context:
            places.append(_CONTEXT_SLOT)
            has_context = True
        else:
            break
    takes_more = not takes_input and any(each.kind is each.VAR_POSITIONAL for each in parameters)
    names = _plan_keywords(parameters, takes_input or takes_more)
    is_plain = takes_input and len(places) == 1 and names is None and places[0].default is _EMPTY
    return _ArgumentPlan(tuple(places), takes_more, names, _get_annotation(places[0]) if is_plain else _EMPTY)


def _plan_keywords(parameters: list[inspect.Parameter], takes_input: bool) -> _KeywordPlan | None:
    named = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    context = tuple(each.name for each in named if _is_context(each))
    inputs = [] if takes_input else [each for each in named if not _is_context(each)]
    takes_any = not takes_input and any(each.kind is each.VAR_KEYWORD for each in parameters)
    if not (context or inputs or takes_any):
        return None
    needed = [each for each in inputs if each.default is _EMPTY] or inputs
    if len(needed) == 1 and not takes_any:
        return _KeywordPlan(context, needed[0], {}, False)
    return _KeywordPlan(context, None, {each.name: each for each in inputs}, takes_any)


def _bind_keywords(
    function: Function, plan: _KeywordPlan, input: Raw, context: Callable[[], ActivityContext]
) -> Mapping[str, Any]:
    found: dict[str, Any] = {name: context() for name in plan.context}
    if plan.input is not None:
        found[plan.input.name] = _bind_value(plan.input, input)
    elif (plan.members or plan.has_kwargs) and input != NULL:
        for name, raw in _decode_members(function, input).items():
            known = plan.members.get(name)
            if known is None and not plan.has_kwargs:
                raise Mismatch(f"$.{name}", f"activity '{function.name}' has no parameter '{name}'")
            found[name] = decode(raw) if known is None else decode(raw, _get_annotation(known))
    return found


def _decode_members(function: Function, input: Raw) -> dict[str, Raw]:
    try:
        found: dict[str, Raw] = decode(input, dict[str, Raw])
    except Mismatch:
        text = f"activity '{function.name}' takes keyword arguments only, so its input must be an object"
        raise Mismatch("$", text) from None
    return found


def _bind_value(parameter: inspect.Parameter, input: Raw) -> Any:
    if parameter.default is not _EMPTY and input == NULL:
        return parameter.default
    return decode(input, _get_annotation(parameter))


def _get_annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is _EMPTY else parameter.annotation


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # unresolved: it is imported for type checkers only
        return annotation.rpartition(".")[2] == ActivityContext.__name__
    return annotation is ActivityContext


def _get_parameters(function: Function) -> list[inspect.Parameter]:
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
        each.replace(annotation=annotations.get(each.name, each.annotation)) if _has_no_annotation(each) else each
        for each in outer
    ]


def _has_no_annotation(parameter: inspect.Parameter) -> bool:
    return parameter.annotation is _EMPTY or isinstance(parameter.annotation, str)
