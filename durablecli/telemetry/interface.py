"""What the engine and the HTTP server need from tracing. Nothing here imports OpenTelemetry."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext

if TYPE_CHECKING:  # an engine without HTTP needs nothing of it
    from starlette.types import ASGIApp


ROUTE = "durablecli.route"
"""The key of a scope under which a handler finds a list, and puts the template of the path that it serves."""


class ExecutionSpan(NamedTuple):
    """An execution that has ended. `trace` is that of its start; `status` is Completed, Failed, Terminated or
    ContinuedAsNew."""

    trace: TraceContext
    instance: str
    execution: str
    name: str
    version: str | None
    started_at: datetime
    ended_at: datetime
    status: str
    failure: Failure | None


class EventSpan(NamedTuple):
    """An event that was delivered. `trace` is that of its sender, and `receiver` the span of the execution that has
    received it, if that is traced."""

    trace: TraceContext
    receiver: TraceContext | None
    instance: str
    name: str
    at: datetime


class TracedCall(NamedTuple):
    """A call of an activity, or an operation of an entity, that is about to run. `trace` names its parent."""

    trace: TraceContext
    kind: str
    """`activity` or `entity`."""
    name: str
    instance: str
    execution: str
    n: int
    attempt: int = 1
    redelivered: bool = False
    operation: str | None = None


class RunningSpan(Protocol):
    """The span of a call that is running."""

    def fail(self, failure: Failure) -> None:
        """Mark the call as failed."""
        ...


class Tracing(Protocol):
    """Emits spans. No method raises, or waits for the network, except that `close` waits for a bounded time."""

    def make_root(self, name: str) -> TraceContext:
        """Make the context of an orchestration that nobody's trace contains."""
        ...

    def emit(self, span: ExecutionSpan | EventSpan) -> None:
        """Emit a span that is over."""
        ...

    def trace_call(self, span: TracedCall) -> AbstractContextManager[RunningSpan]:
        """Emit a span over a block, in which it is the current one."""
        ...

    def wrap_server(self, app: ASGIApp) -> ASGIApp:
        """Wrap an ASGI app, so that its requests have spans."""
        ...

    def close(self) -> None:
        """Send what is left, for a few seconds at most."""
        ...
