"""Messages for authors who yield, await or return something that isn't a task."""

from __future__ import annotations

from types import CoroutineType, GeneratorType

NO_ASYNCIO = (
    "asyncio can't be used in an orchestrator, which must be able to replay: instead of asyncio.sleep await "
    "context.create_timer, instead of asyncio.gather context.task_all, instead of asyncio.wait_for context.task_any "
    "of the task and a timer"
)
_GENERATOR_HINT = (
    "calling a lambda or a function that contains `yield` or `await` only makes one and runs nothing. Return the task "
    "from it without `yield`, or run it with `yield from` (in an async orchestrator: with `await`)"
)
RETURNED_TASK = "the orchestrator returned a task: did you forget `yield` or `await`?"
_NO_LOOP_MESSAGES = ("no running event loop", "no current event loop", "should be used inside a task")


def describe_type(kind: type) -> str:
    """Name a type that was given in place of a task, with a hint if there is one."""
    if kind in (GeneratorType, CoroutineType):
        return f"a {kind.__name__}: {_GENERATOR_HINT}"
    return kind.__name__


def explain_non_task(value: object) -> str:
    """Explain why a yielded or awaited value isn't a task."""
    kind = type(value)
    if hasattr(kind, "_asyncio_future_blocking"):  # how asyncio itself recognizes a future
        return NO_ASYNCIO
    if value is None:
        return f"the orchestrator yielded None, which isn't a task. If this is an asyncio.sleep: {NO_ASYNCIO}"
    if isinstance(value, list | tuple):
        return f"an orchestrator may yield tasks only, not a {kind.__name__}: use context.task_all or context.task_any"
    return f"an orchestrator may yield or await the context's own tasks only, not {describe_type(kind)}"


def explain_non_result(value: object) -> str | None:
    """Explain why a result can't be meant, as a generator; None for any other."""
    if isinstance(value, GeneratorType | CoroutineType):
        return f"the orchestrator returned {describe_type(type(value))}"
    return None


def is_missing_event_loop(error: BaseException) -> bool:
    """Whether asyncio raised this because there is no event loop."""
    if type(error) is not RuntimeError:
        return False
    text = str(error)
    return any(part in text for part in _NO_LOOP_MESSAGES)
