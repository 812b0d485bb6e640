"""Runs orchestrators of the `durabletask` SDK: generators with the parameters `(ctx, input)` that yield its tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from functools import wraps
from types import FrameType
from typing import Any

from durabletask import task as sdk

from durablecli.durabletask.sdk_context import SdkOrchestrationContext
from durablecli.durabletask.sdk_payloads import SDK_CODEC, PayloadCodec, find_orchestrator_input_type
from durablecli.replay.context import DurableOrchestrationContext, get_executor
from durablecli.replay.tasks import Task
from durablecli.replay.yield_hints import describe_type

_NOT_ASYNC = (
    "an orchestrator with the parameters (ctx, input) is a generator, which yields its tasks: the tasks of the "
    "durabletask SDK can't be awaited"
)


def wrap_orchestrator(
    function: Callable[..., Any], codec: PayloadCodec = SDK_CODEC
) -> Callable[[DurableOrchestrationContext], Any]:
    """Return a function that runs an orchestrator of the SDK, for the engine to call."""
    takes_input = count_parameters(function) > 1

    @wraps(function)
    def call(inner: DurableOrchestrationContext) -> Any:
        context = SdkOrchestrationContext(inner, codec)
        arguments = [_read_input(function, inner, codec)] if takes_input else []
        result = function(context, *arguments)
        if inspect.isgenerator(result):
            return OrchestratorRun(result, context)
        if inspect.iscoroutine(result):
            result.close()
        if inspect.iscoroutine(result) or inspect.isasyncgen(result):
            raise TypeError(_NOT_ASYNC)
        return result if context.will_continue_as_new else codec.encode(result)

    return call


def count_parameters(function: Callable[..., Any]) -> int:
    """Return how many positional arguments a function can take."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return sum(2 if each.kind is each.VAR_POSITIONAL else each.kind in kinds for each in parameters)


def _read_input(function: Callable[..., Any], inner: DurableOrchestrationContext, codec: PayloadCodec) -> Any:
    return codec.decode(get_executor(inner).started.input, find_orchestrator_input_type(function))


class OrchestratorRun(Generator[Task[Any], Any, Any]):
    """An orchestrator that runs: it receives and yields tasks of the SDK, the engine those of its own."""

    def __init__(self, generator: Generator[Any, Any, Any], context: SdkOrchestrationContext) -> None:
        self._generator = generator
        self._context = context

    @property
    def gi_frame(self) -> FrameType | None:
        """The frame of the author's function; None once it has ended."""
        frame: FrameType | None = self._generator.gi_frame  # type: ignore[attr-defined]
        return frame

    def send(self, value: Any) -> Task[Any]:
        return self._advance(self._generator.send, value)

    def throw(self, error: Any, value: Any = None, traceback: Any = None) -> Task[Any]:
        try:
            return self._advance(self._generator.throw, error)
        finally:
            del error  # its traceback will refer to this frame

    def close(self) -> None:
        self._context.tasks.stop_waiting()
        self._generator.close()

    def _advance(self, step: Callable[[Any], Any], argument: Any) -> Task[Any]:
        """Run the function to its next yield. Raises StopIteration with the encoded result when it returns."""
        self._context.tasks.stop_waiting()
        result = None
        try:
            yielded = step(argument)
            while not isinstance(yielded, sdk.Task):
                yielded = self._generator.throw(TypeError(_explain(yielded)))
        except StopIteration as end:
            yielded, result = None, end.value
        finally:
            del argument  # as in `throw`
        if yielded is not None:
            if not self._context.will_continue_as_new or yielded.is_complete:
                return self._context.tasks.wait_for(yielded)
            self._generator.close()
        if isinstance(result, sdk.Task):
            raise TypeError("the orchestrator returned a task: did you forget `yield`?")
        raise StopIteration(self._context.codec.encode(result))


def _explain(yielded: object) -> str:
    kind = type(yielded)
    if isinstance(yielded, list | tuple):
        return f"an orchestrator may yield tasks only, not a {kind.__name__}: use task.when_all or task.when_any"
    return f"an orchestrator may yield the context's own tasks only, not {describe_type(kind)}"
