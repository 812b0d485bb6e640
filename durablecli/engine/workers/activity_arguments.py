"""Decodes the input of an activity by the annotations of its parameters, and binds it and the context to them.

The first parameter receives the input, the second the context. Without an input (or with None) a default value applies.
A function with keyword-only parameters receives the members of its input. Parameters that receive resources are left
out: their values are inserted when the call begins.
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
    """Return the positional and the keyword arguments. Raises Mismatch if the input doesn't fit."""
    plan = _make_plan(function)
    if plan.only_annotation is not _EMPTY:
        return [decode(input, plan.only_annotation)], _NO_KEYWORDS
    positional = [
        context() if each is _CONTEXT_SLOT else each if type(each) is ResourceSlot else _bind_value(each, input)
        for each in plan.positional
    ]
    if plan.has_varargs and input != NULL:
        positional.append(decode(input))
    return positional, _NO_KEYWORDS if plan.keywords is None else _bind_keywords(
        function, plan.keywords, input, context
    )


class ResourceSlot(NamedTuple):
    """The place of a parameter that receives a resource, among the positional arguments."""

    name: str


def insert_resources(
    positional: list[Any], keywords: Mapping[str, Any], resources: Mapping[str, Any]
) -> tuple[list[Any], Mapping[str, Any]]:
    """Return the arguments with the values of resources, which are given by parameter."""
    others = dict(resources)
    filled = [others.pop(each.name) if type(each) is ResourceSlot else each for each in positional]
    return filled, {**keywords, **others}


class _KeywordPlan(NamedTuple):
    """How to bind keyword-only parameters: those for the context, and one for the input or several for its members."""

    context: tuple[str, ...]
    input: inspect.Parameter | None
    members: Mapping[str, inspect.Parameter]
    has_kwargs: bool


class _ArgumentPlan(NamedTuple):
    """How to bind the parameters. With `has_varargs` the input goes to `*args`. `only_annotation` is the annotation of
    the parameter for the input, if that is the only argument: the most common case."""

    positional: tuple[Any, ...]
    has_varargs: bool
    keywords: _KeywordPlan | None
    only_annotation: Any


@lru_cache(4096)
def _make_plan(function: Function) -> _ArgumentPlan:
    parameters = _get_parameters(function)
    positional: list[Any] = []
    takes_input = has_context = False
    for each in parameters:
        if each.kind not in _POSITIONAL_KINDS:
            break
        if each.name in function.dependencies:
            positional.append(ResourceSlot(each.name))
        elif _is_context(each):
            positional.append(_CONTEXT_SLOT)
            has_context = True
        elif not takes_input:
            positional.append(each)
            takes_input = True
        elif each.default is _EMPTY and not has_context:
            positional.append(_CONTEXT_SLOT)
            has_context = True
        else:
            break
    has_varargs = not takes_input and any(each.kind is each.VAR_POSITIONAL for each in parameters)
    while positional and type(positional[-1]) is ResourceSlot:
        positional.pop()
    others = [each for each in parameters if each.name not in function.dependencies]
    keywords = _plan_keywords(others, takes_input or has_varargs)
    is_plain = takes_input and len(positional) == 1 and keywords is None and positional[0].default is _EMPTY
    only_annotation = _get_annotation(positional[0]) if is_plain else _EMPTY
    return _ArgumentPlan(tuple(positional), has_varargs, keywords, only_annotation)


def _plan_keywords(parameters: list[inspect.Parameter], takes_input: bool) -> _KeywordPlan | None:
    keyword_only = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
    context = tuple(each.name for each in keyword_only if _is_context(each))
    inputs = [] if takes_input else [each for each in keyword_only if not _is_context(each)]
    has_kwargs = not takes_input and any(each.kind is each.VAR_KEYWORD for each in parameters)
    if not (context or inputs or has_kwargs):
        return None
    required = [each for each in inputs if each.default is _EMPTY] or inputs
    if len(required) == 1 and not has_kwargs:
        return _KeywordPlan(context, required[0], {}, False)
    return _KeywordPlan(context, None, {each.name: each for each in inputs}, has_kwargs)


def _bind_keywords(
    function: Function, plan: _KeywordPlan, input: Raw, context: Callable[[], ActivityContext]
) -> Mapping[str, Any]:
    arguments: dict[str, Any] = {name: context() for name in plan.context}
    if plan.input is not None:
        arguments[plan.input.name] = _bind_value(plan.input, input)
    elif (plan.members or plan.has_kwargs) and input != NULL:
        for name, raw in _decode_members(function, input).items():
            parameter = plan.members.get(name)
            if parameter is None and not plan.has_kwargs:
                raise Mismatch(f"$.{name}", f"activity '{function.name}' has no parameter '{name}'")
            arguments[name] = decode(raw) if parameter is None else decode(raw, _get_annotation(parameter))
    return arguments


def _decode_members(function: Function, input: Raw) -> dict[str, Raw]:
    try:
        members: dict[str, Raw] = decode(input, dict[str, Raw])
    except Mismatch:
        text = f"activity '{function.name}' takes keyword arguments only, so its input must be an object"
        raise Mismatch("$", text) from None
    return members


def _bind_value(parameter: inspect.Parameter, input: Raw) -> Any:
    if parameter.default is not _EMPTY and input == NULL:
        return parameter.default
    return decode(input, _get_annotation(parameter))


def _get_annotation(parameter: inspect.Parameter) -> Any:
    return Any if parameter.annotation is _EMPTY else parameter.annotation


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # it can't be resolved, for it is imported for type checkers only
        return annotation.rpartition(".")[2] == ActivityContext.__name__
    return annotation is ActivityContext


def _get_parameters(function: Function) -> list[inspect.Parameter]:
    """Return the parameters of the callable, which may be a decorator's wrapper.

    A wrapper with `*args` passes everything on, so the wrapped function's parameters count. Another wrapper's own
    parameters count, with the annotations of the wrapped function's parameters of the same names.
    """
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
