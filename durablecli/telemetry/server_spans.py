"""The spans of HTTP requests: those that start an orchestration or change something, and the calls of functions.

A handler says what it serves by setting ROUTE in the scope; a request without it (a page, a status) has no span.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durablecli.telemetry.interface import ROUTE


class ServerSpans:
    """The middleware. Its span is the current one while the request is handled, and continues the caller's trace."""

    def __init__(self, app: ASGIApp, tracer: trace.Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        attributes: dict[str, Any] = {"http.request.method": method, "url.path": scope["path"]}
        parent = propagate.extract(headers)
        span = self._tracer.start_span(method, parent, SpanKind.SERVER, attributes)
        scope[ROUTE] = route = [""]  # shared with the copies of the scope that routes make

        async def send_traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                _set_status(span, message["status"])
            await send(message)

        token = otel_context.attach(trace.set_span_in_context(span, parent))
        try:
            await self._app(scope, receive, send_traced)
        finally:
            otel_context.detach(token)
            if route[0]:  # otherwise the span is never ended, and so never sent
                span.update_name(f"{method} {route[0]}")
                span.set_attribute("http.route", route[0])
                span.end()


def _set_status(span: trace.Span, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(Status(StatusCode.ERROR))
