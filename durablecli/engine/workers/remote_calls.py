"""Calls that run elsewhere: the dispatcher keeps them like all others, in a pool of their own."""

from __future__ import annotations

from typing import Any

from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.decided_tasks import ActivityTask
from durablecli.model import events as ev
from durablecli.registry import Function
from durablecli.replay.function_marks import FunctionMark

REMOTE = "remote"
"""The executor of remote functions."""


class RemoteActivityCall(ActivityCall, frozen=True, kw_only=True, gc=False):
    """One call of a remote activity. `version` is that of the call, or else of the orchestration."""

    task: ev.TaskScheduled
    version: str | None = None


def make_remote_call(call: ActivityCall, scheduled: ActivityTask) -> RemoteActivityCall:
    """Return the same call for workers."""
    return RemoteActivityCall(
        call.key,
        call.function,
        call.input,
        call.attempt,
        call.redelivered,
        call.first_attempt,
        call.payload_limit,
        call.cancellation,
        task=scheduled.task,
        version=scheduled.task.version or scheduled.version,
        trace=scheduled.trace,
        priority=call.priority,
    )


class RemoteFunctions:
    """The placeholders of the functions that aren't loaded here, where workers are served."""

    def __init__(self, *, are_served: bool) -> None:
        self._are_served = are_served
        self._functions: dict[tuple[str, str], Function] = {}

    def find(self, kind: str, name: str) -> Function | None:
        """Return the placeholder of a function; None if no workers are served."""
        if not self._are_served:
            return None
        function = self._functions.get((kind, name))
        if function is None:
            function = self._functions[kind, name] = _make_remote_function(name, kind)
        return function


def _make_remote_function(name: str, kind: str) -> Function:
    """Return the placeholder of a function that isn't loaded here."""
    return Function(FunctionMark(kind, name, executor=REMOTE), _raise_not_loaded, "")


def _raise_not_loaded(*_: Any) -> Any:
    raise AssertionError("a remote function isn't called here")
