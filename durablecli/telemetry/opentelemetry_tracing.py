"""Tracing by the OpenTelemetry SDK. This module is imported only if traces are wanted.

Spans wait in a queue, which a thread of the SDK sends in batches. If the receiver can't be reached, spans are dropped:
the engine never waits for it.
"""

from __future__ import annotations

import logging
import secrets
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from time import monotonic
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp

from durablecli.config import TelemetryConfig
from durablecli.model.failure_report import format_traceback, short_type
from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext, make_span_id, make_traceparent, parse_traceparent
from durablecli.telemetry.interface import EventSpan, ExecutionSpan, TracedCall
from durablecli.telemetry.server_spans import ServerSpans

_SCOPE = "durablecli"
_CLOSE_TIMEOUT = 3.0
_ERROR_INTERVAL = 60.0
_EXPORT_LOGGERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._common",
    "opentelemetry.exporter.otlp.common._http",
    "opentelemetry.sdk._shared_internal",
)
_chosen_ids: ContextVar[tuple[int, int] | None] = ContextVar("durable_span_ids", default=None)
"""The trace id and the span id of the span that is being made, if it doesn't get random ones."""


class OpenTelemetryTracing:
    """A pipeline of its own: what the author's code has set up is left alone."""

    def __init__(
        self, exporter: str, settings: TelemetryConfig, env: Mapping[str, str], *, owns_process: bool = True
    ) -> None:
        self._processor = BatchSpanProcessor(_make_exporter(exporter, settings))
        resource = Resource.create(_choose_service_name(settings, env))
        self._provider = TracerProvider(id_generator=_IdGenerator(), resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(self._processor)
        self._tracer = self._provider.get_tracer(_SCOPE)
        _limit_export_errors()
        if owns_process and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            trace.set_tracer_provider(self._provider)

    def make_root(self, name: str) -> TraceContext:
        """Make the context of an orchestration that nobody's trace contains. It is sampled or not from here on."""
        trace_id = secrets.randbits(128) or 1
        decision = self._provider.sampler.should_sample(None, trace_id, name).decision
        return TraceContext(make_traceparent(trace_id, 0, int(decision is Decision.RECORD_AND_SAMPLE)))

    def emit(self, span: ExecutionSpan | EventSpan) -> None:
        """Emit a span that is over, with the times of the history."""
        if isinstance(span, EventSpan):
            self._emit_event(span)
        else:
            self._emit_execution(span)

    def _emit_event(self, span: EventSpan) -> None:
        receiver = _to_span_context(span.receiver) if span.receiver is not None else None
        at = _to_nanoseconds(span.at)
        self._tracer.start_span(
            f"event:{span.name}",
            _make_parent_context(span.trace),
            SpanKind.PRODUCER,
            {"durabletask.type": "event", "durabletask.task.instance_id": span.instance},
            [trace.Link(receiver)] if receiver is not None else [],
            at,
        ).end(at)

    def _emit_execution(self, span: ExecutionSpan) -> None:
        parsed = parse_traceparent(span.trace.traceparent)
        if parsed is None or not parsed.flags & 1:
            return
        attributes: dict[str, Any] = {
            "durabletask.type": "orchestration",
            "durabletask.task.name": span.name,
            "durabletask.task.instance_id": span.instance,
            "durabletask.task.execution_id": span.execution,
            "durabletask.task.status": span.status,
        }
        if span.version:
            attributes["durabletask.task.version"] = span.version
        token = _chosen_ids.set((parsed.trace_id, make_span_id(span.trace, span.instance, span.execution)))
        try:
            made = self._tracer.start_span(
                f"orchestration:{span.name}",
                _make_parent_context(span.trace),
                attributes=attributes,
                start_time=_to_nanoseconds(span.started_at),
            )
        finally:
            _chosen_ids.reset(token)
        ended_at = _to_nanoseconds(span.ended_at)
        if span.failure is not None:
            _record_failure(made, span.failure, ended_at)
        made.end(ended_at)

    @contextmanager
    def trace_call(self, span: TracedCall) -> Iterator[_RunningCall]:
        """Emit a span over a block, in which it is the current one."""
        attributes: dict[str, Any] = {
            "durabletask.type": span.kind,
            "durabletask.task.name": span.name,
            "durabletask.task.instance_id": span.instance,
            "durabletask.task.execution_id": span.execution,
            "durabletask.task.task_id": span.n,
        }
        name = f"{span.kind}:{span.name}"
        if span.kind == "activity":
            attributes["durabletask.task.attempt"] = span.attempt
            attributes["durabletask.task.redelivered"] = span.redelivered
        if span.operation is not None:
            attributes["durabletask.entity.operation"] = span.operation
            name = f"{name}:{span.operation}"
        made = self._tracer.start_span(name, _make_parent_context(span.trace), attributes=attributes)
        token = otel_context.attach(trace.set_span_in_context(made))
        try:
            yield _RunningCall(made)
        finally:
            otel_context.detach(token)
            made.end()

    def wrap_server(self, app: ASGIApp) -> ASGIApp:
        """Wrap an ASGI app, so that its requests have spans."""
        return ServerSpans(app, self._tracer)

    def close(self) -> None:
        """Send what is left, for three seconds at most."""
        closing = threading.Thread(target=self._provider.shutdown, name="durable-traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_TIMEOUT)


class _RunningCall:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def fail(self, failure: Failure) -> None:
        """Mark the call as failed."""
        _record_failure(self._span, failure, None)


class _IdGenerator(RandomIdGenerator):
    """Gives random ids, unless the ids of a span are chosen."""

    def generate_span_id(self) -> int:
        chosen = _chosen_ids.get()
        return super().generate_span_id() if chosen is None else chosen[1]

    def generate_trace_id(self) -> int:
        chosen = _chosen_ids.get()
        return super().generate_trace_id() if chosen is None else chosen[0]


def _make_exporter(exporter: str, settings: TelemetryConfig) -> SpanExporter:
    if exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr)  # the standard output of `durable run` is a result
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    endpoint = settings.endpoint
    return OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces") if endpoint else OTLPSpanExporter()


def _choose_service_name(settings: TelemetryConfig, env: Mapping[str, str]) -> dict[str, Any]:
    if settings.service_name is not None:
        return {"service.name": settings.service_name}
    if env.get("OTEL_SERVICE_NAME") or "service.name=" in env.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        return {}
    return {"service.name": "durablecli"}


def _make_parent_context(parent: TraceContext) -> otel_context.Context:
    """The context with this parent; without one for the root of a trace."""
    empty = otel_context.Context()
    span_context = _to_span_context(parent)
    return empty if span_context is None else trace.set_span_in_context(trace.NonRecordingSpan(span_context), empty)


def _to_span_context(span: TraceContext) -> trace.SpanContext | None:
    parsed = parse_traceparent(span.traceparent)
    if parsed is None or not parsed.span_id:
        return None
    return trace.SpanContext(
        parsed.trace_id,
        parsed.span_id,
        is_remote=True,
        trace_flags=trace.TraceFlags(parsed.flags),
        trace_state=trace.TraceState.from_header([span.tracestate]) if span.tracestate else None,
    )


def _record_failure(span: trace.Span, failure: Failure, at: int | None) -> None:
    """Set the error status, and add the event that OpenTelemetry defines for an exception."""
    type = short_type(failure)
    span.set_attribute("error.type", type)
    span.set_status(Status(StatusCode.ERROR, failure.message))
    attributes = {"exception.type": type, "exception.message": failure.message}
    if failure.traceback:
        attributes["exception.stacktrace"] = format_traceback(failure)
    span.add_event("exception", attributes, at)


def _to_nanoseconds(at: datetime) -> int:
    whole = at.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000_000 + at.microsecond * 1_000


def _limit_export_errors() -> None:
    """Log that spans can't be sent once a minute, not for every batch."""
    for name in _EXPORT_LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _RareErrors) for each in logger.filters):
            logger.addFilter(_RareErrors())


class _RareErrors(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._next_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        now = monotonic()
        if now < self._next_at:
            return False
        self._next_at = now + _ERROR_INTERVAL
        record.exc_info = None  # the message names the reason; a traceback of the SDK helps nobody
        return True
