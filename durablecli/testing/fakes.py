"""Fakes: what a test has an activity return or raise instead of running it, and how long that takes by the clock."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, NamedTuple

from durablecli.model.activity_options import DEFAULT_OPTIONS
from durablecli.model.annotations import resolve_signature
from durablecli.registry import Function, Registry
from durablecli.replay.function_marks import FunctionMark

_ANY_ARGUMENTS = (inspect.Parameter("arguments", inspect.Parameter.VAR_POSITIONAL),)


class Fake(NamedTuple):
    """What an activity returns, raises or calls, and the virtual time before that."""

    outcome: Any
    takes: timedelta


class Fakes:
    """The fakes of one hub, by the names of their activities."""

    def __init__(self) -> None:
        self._fakes: dict[str, Fake] = {}
        self._originals: dict[str, Function | None] = {}

    def add(self, registry: Registry, name: str, fake: Fake) -> None:
        """Use a fake from now on. Raises ValueError for the name of another function than an activity."""
        found = registry.find_function(name)
        if found is not None and found.kind != "activity":
            raise ValueError(f"only an activity can be faked, and {found.name} is of kind {found.kind}")
        self._fakes[name.casefold()] = fake
        if name.casefold() not in self._originals:
            self._originals[name.casefold()] = found
        self._replace(registry, name)

    def add_all(self, registry: Registry) -> None:
        """Use the same fakes in another registry."""
        self._originals = {name: registry.find_function(name) for name in self._fakes}
        for name in self._fakes:
            self._replace(registry, name)

    def _replace(self, registry: Registry, name: str) -> None:
        original = self._originals[name.casefold()]
        if (present := registry.find_function(name)) is not None:
            registry.remove(present)
        registry.add_function(make_fake_activity(name, original, self._fakes[name.casefold()]))


def make_fake_activity(name: str, original: Function | None, fake: Fake) -> Function:
    """Make the activity. It has the options of the original, such as its time-out, and its result has the same type."""

    async def run(*arguments: Any, **keywords: Any) -> Any:
        if fake.takes:
            await asyncio.sleep(fake.takes.total_seconds())
        return await _produce(fake.outcome, *arguments, **keywords)

    vars(run)["__signature__"] = _make_signature(original, fake.outcome)
    options = DEFAULT_OPTIONS if original is None else original.options
    return Function(
        FunctionMark("activity", name if original is None else original.name, options=options), run, __name__
    )


async def _produce(outcome: Any, *arguments: Any, **keywords: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome.with_traceback(None)
    if _is_exception(outcome):
        raise outcome()
    if not callable(outcome):
        return outcome
    value = outcome(*arguments, **keywords)
    return await value if isinstance(value, Awaitable) else value


def _is_exception(outcome: Any) -> bool:
    return isinstance(outcome, BaseException) or (isinstance(outcome, type) and issubclass(outcome, BaseException))


def _make_signature(original: Function | None, outcome: Any) -> inspect.Signature:
    """Return the parameters of a callable, or any. Those named as in the original have the same types by default."""
    result = inspect.Signature.empty if original is None else original.return_type
    known = {} if original is None else {each.name: each.annotation for each in original.parameters}
    parameters = _ANY_ARGUMENTS if _is_exception(outcome) or not callable(outcome) else _get_parameters(outcome)
    typed = [
        each.replace(annotation=known.get(each.name, each.annotation)) if each.annotation is each.empty else each
        for each in parameters
    ]
    return inspect.Signature(typed, return_annotation=result)


def _get_parameters(call: Callable[..., Any]) -> tuple[inspect.Parameter, ...]:
    try:
        return tuple(resolve_signature(call).parameters.values())
    except (TypeError, ValueError):
        return _ANY_ARGUMENTS
