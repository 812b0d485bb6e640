"""The author's orchestrator function while it runs: called once, then resumed at each yield (or await)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping
from typing import Any

from durablecli.replay.tasks import MakeError, Task
from durablecli.replay.yield_hints import explain_non_task


class AuthorFunction:
    """A generator, coroutine or plain function. Its methods raise what the author's code raises."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.is_running = False
        """Whether it has been called as a generator or coroutine, and has not ended."""
        self._coroutine: Generator[Any, Any, Any] | Coroutine[Any, Any, Any] | None = None

    def call(self, context: Any) -> Any:
        """Call it. The result counts only if it isn't running then."""
        result = self.function(context)
        if inspect.isgenerator(result) or inspect.iscoroutine(result):
            self._coroutine = result
            self.is_running = True
        elif inspect.isasyncgen(result):
            raise TypeError("an orchestrator is a generator (yield) or a coroutine (await), not both at once")
        return result

    def resume(self, value: Any, error: MakeError | None) -> Task[Any]:
        """Run it to the next yield, which must be of a task. Raises StopIteration with its result when it returns."""
        coroutine = self._coroutine
        assert coroutine is not None
        yielded = coroutine.throw(error()) if error is not None else coroutine.send(value)
        while not isinstance(yielded, Task):
            yielded = coroutine.throw(TypeError(explain_non_task(yielded)))
        return yielded

    def drop(self) -> None:
        """Forget the coroutine, which has ended."""
        self._coroutine = None
        self.is_running = False

    def close(self) -> None:
        """Have its `finally` blocks run, and forget it."""
        coroutine, self._coroutine = self._coroutine, None
        self.is_running = False
        if coroutine is not None:
            coroutine.close()

    @property
    def globals(self) -> Mapping[str, Any]:
        """The names that its module knows."""
        return getattr(inspect.unwrap(self.function), "__globals__", {})

    def current_line(self) -> str:
        """`file:line` of the yield at which it waits, or of the line that it runs."""
        frame = getattr(self._coroutine, "gi_frame", None) or getattr(self._coroutine, "cr_frame", None)
        if frame is None:
            code = getattr(inspect.unwrap(self.function), "__code__", None)
            return f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"
