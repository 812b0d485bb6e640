"""The trace of the calling code, if it uses OpenTelemetry. A program that doesn't pays for one look-up."""

from __future__ import annotations

import sys

from durablecli.model.trace_context import TraceContext, make_traceparent


def read_current_trace() -> TraceContext | None:
    """Return the context of the current span; None if there is none."""
    otel = sys.modules.get("opentelemetry.trace")
    if otel is None:
        return None
    span = otel.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    return TraceContext(make_traceparent(span.trace_id, span.span_id, span.trace_flags), span.trace_state.to_header())
