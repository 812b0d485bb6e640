"""Calling one activity: decode its input, give it its context, encode what comes back."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Raw

from durablecli.app import Function
from durablecli.model.events import NULL, Output
from durablecli.model.failures import Failure, from_exception
from durablecli.model.payloads import decode, encode


class Cancellation:
    """Whether a call is to stop; set once, from any thread.

    `dropped`: nobody waits for its outcome any more, and it need not begin. `seen`: its function has read that it is
    to stop. `wake` ends what it awaits, where that is known.
    """

    __slots__ = ("asked", "dropped", "seen", "wake")

    def __init__(self) -> None:
        self.asked = False
        self.dropped = False
        self.seen = False
        self.wake: Callable[[], object] | None = None

    def ask(self) -> None:
        """Let the function see that it is to stop, as the engine stops. Its outcome counts, unless it has seen that."""
        self.asked = True

    def drop(self) -> None:
        """Stop it: its outcome counts no more."""
        self.asked = self.dropped = True
        if self.wake is not None:
            self.wake()

    def look(self) -> bool:
        """Whether the function is to stop; it knows from now on."""
        self.seen = self.seen or self.asked
        return self.asked

    @property
    def counts(self) -> bool:
        """Whether an outcome would be recorded. One that has seen it may have stopped half-way."""
        return not (self.dropped or self.seen)


class ActivityContext:
    """What an activity may ask about its own call, as its second parameter.

    `attempt` counts the tries of a retry policy from 1; `redelivered` says that an earlier engine may have begun this
    very attempt. `idempotency_key` is the same for all attempts and redeliveries of one call: give it to whatever must
    not happen twice.

    `cancelled` turns true when the orchestration has ended, was terminated or has continued as new, and when the engine
    begins to stop. An activity that has read it as true may return or raise what it likes: that is not recorded, and if
    the orchestration still needs the activity, the next engine runs it again.
    """

    def __init__(
        self,
        instance_id: str,
        task_id: int,
        name: str,
        attempt: int,
        redelivered: bool,
        idempotency_key: str,
        cancellation: Cancellation,
    ) -> None:
        self.instance_id = instance_id
        self.task_id = task_id
        self.name = name
        self.attempt = attempt
        self.redelivered = redelivered
        self.idempotency_key = idempotency_key
        self._cancellation = cancellation
        self.logger = logging.getLogger(f"durablecli.activity.{name}")

    @property
    def cancelled(self) -> bool:
        return self._cancellation.look()


class Call(NamedTuple):
    """One activity to run, as an executor needs it."""

    key: tuple[str, str, int]
    function: Function
    input: Raw
    attempt: int
    redelivered: bool
    first: int
    payload_limit: int
    cancellation: Cancellation

    def context(self) -> ActivityContext:
        instance, execution, n = self.key
        idempotency_key = f"{instance}/{execution}/{self.first}"
        name = self.function.name
        return ActivityContext(instance, n, name, self.attempt, self.redelivered, idempotency_key, self.cancellation)

    def run(self) -> Outcome:
        """Run an activity to its end, here and now. Whatever it raises is its failure, never ours.

        One that turns out to be asynchronous, as in a worker process or behind a decorator, gets its own event loop.
        """
        try:
            value = self.function.call(*arguments(self.function, self.input, self.context))
            if isinstance(value, Awaitable):
                value = _wait_for(value)
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return failed(self.key, error)
        return settle(self, value)

    async def run_async(self) -> Outcome:
        """Run an asynchronous one."""
        try:
            value = await self.function.call(*arguments(self.function, self.input, self.context))
        except BaseException as error:  # noqa: BLE001 - user code may raise anything
            return failed(self.key, error)
        return settle(self, value)

    def dropped(self) -> Outcome:
        """The outcome of one that was cancelled before it began: nobody reads it."""
        return Outcome(self.key, NULL, None)

    def failed(self, error: BaseException) -> Outcome:
        """The outcome of one that an executor could not run to its end."""
        return failed(self.key, error)


def _wait_for(value: Awaitable[Any]) -> Any:
    import asyncio  # worker processes seldom need it

    async def waited() -> Any:
        return await value

    return asyncio.run(waited())


class Outcome(NamedTuple):
    """What came of a call: a result, or a failure. `outputs` are the values set on output bindings."""

    key: tuple[str, str, int]
    result: Raw | None
    failure: Failure | None
    outputs: tuple[Output, ...] = ()


class Returned(NamedTuple):
    """The return value of an activity that has output bindings, with the values set on them."""

    value: Any
    outputs: tuple[Output, ...]


def arguments(function: Function, raw: Raw, context: Callable[[], ActivityContext]) -> list[Any]:
    """The arguments of a call: the input by its annotation, then the context where there is room for one."""
    return [context() if wanted is ActivityContext else decode(raw, wanted) for wanted in _wanted(function)]


@lru_cache(4096)
def _wanted(function: Function) -> tuple[Any, ...]:
    """What each argument is decoded as; ActivityContext stands for the context itself."""
    found: list[Any] = []
    for i, parameter in enumerate(function.parameters):
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            break
        if _is_context(parameter) or (i == 1 and parameter.default is parameter.empty):
            found.append(ActivityContext)
        elif i == 0:
            found.append(Any if parameter.annotation is parameter.empty else parameter.annotation)
        else:
            break
    return tuple(found)


def _is_context(parameter: inspect.Parameter) -> bool:
    annotation = parameter.annotation
    if isinstance(annotation, str):  # unresolved: it is imported for type checkers only
        return annotation.rpartition(".")[2] == ActivityContext.__name__
    return annotation is ActivityContext


def settle(call: Call, value: Any) -> Outcome:
    """The outcome of a call that returned."""
    key = call.key
    value, outputs = value if type(value) is Returned else (value, ())
    try:
        return Outcome(key, encode(value, call.payload_limit), None, outputs)
    except Exception as error:  # noqa: BLE001 - user code may raise anything
        return failed(key, error)


def failed(key: tuple[str, str, int], error: BaseException) -> Outcome:
    """The outcome of a call that raised."""
    return Outcome(key, None, from_exception(error))
