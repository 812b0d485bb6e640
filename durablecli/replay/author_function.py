"""The author's orchestrator function while it runs: called once, then resumed at each yield (or await)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator, Mapping
from types import FrameType
from typing import Any

from durablecli.replay.tasks import Task, get_value, has_failed, make_error
from durablecli.replay.yield_hints import explain_non_task


class AuthorFunction:
    """A generator, coroutine or plain function. Its methods raise what the author's code raises."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.is_running = False
        """Whether it has been called as a generator or coroutine, and has not ended."""
        self._coroutine: Generator[Any, Any, Any] | Coroutine[Any, Any, Any] | None = None
        self._frame: FrameType | None = None
        """Its frame, once an exception was raised in it."""

    def call(self, context: Any) -> Any:
        """Call it. The result counts only if it isn't running then."""
        result = self.function(context)
        if inspect.isgenerator(result) or inspect.iscoroutine(result) or isinstance(result, Generator):
            self._coroutine = result
            self.is_running = True
        elif inspect.isasyncgen(result):
            raise TypeError("an orchestrator is a generator (yield) or a coroutine (await), not both at once")
        return result

    def resume(self, task: Task[Any] | None) -> Task[Any]:
        """Run it from its start, or with the outcome of a task, to the next yield, which must be of a task.

        Raises StopIteration with its result when it returns.
        """
        coroutine = self._coroutine
        assert coroutine is not None
        if task is None:
            yielded = coroutine.send(None)
        elif has_failed(task):
            self._frame = self._find_frame()
            yielded = coroutine.throw(make_error(task))  # in no variable: its traceback will refer to this frame
        else:
            yielded = coroutine.send(get_value(task))
        while not isinstance(yielded, Task):
            yielded = coroutine.throw(TypeError(explain_non_task(yielded)))
        return yielded

    def drop(self) -> None:
        """Forget the coroutine, which has ended.

        An exception that a variable of it holds refers to its frame by its traceback, so the frame is cleared.
        """
        if self._frame is not None and self._find_frame() is None:
            self._frame.clear()
        self._coroutine = self._frame = None
        self.is_running = False

    def close(self) -> None:
        """Have its `finally` blocks run, and forget it."""
        if self._coroutine is None:
            return
        try:
            self._coroutine.close()
        finally:
            self.drop()

    @property
    def globals(self) -> Mapping[str, Any]:
        """The names that its module knows."""
        return getattr(inspect.unwrap(self.function), "__globals__", {})

    def current_line(self) -> str:
        """`file:line` of the yield at which it waits, or of the line that it runs."""
        frame = self._find_frame()
        if frame is None:
            code = getattr(inspect.unwrap(self.function), "__code__", None)
            return f"{code.co_filename}:{code.co_firstlineno}" if code else "?"
        return f"{frame.f_code.co_filename}:{frame.f_lineno}"

    def _find_frame(self) -> FrameType | None:
        return getattr(self._coroutine, "gi_frame", None) or getattr(self._coroutine, "cr_frame", None)
