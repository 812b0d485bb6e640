"""An OTLP/HTTP receiver on loopback: it decodes what exporters send, and keeps the spans."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class ReceivedSpan(NamedTuple):
    """A span as it was received; ids are hexadecimal, and times are nanoseconds."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    attributes: dict[str, Any]
    start: int
    end: int
    is_error: bool
    events: dict[str, dict[str, Any]]
    links: list[tuple[str, str]]
    """The trace id and span id of each link."""
    service: str


class OtlpReceiver:
    """The receiver; `url` is its base URL. Requests get `status`, and with `hangs` no response."""

    def __init__(self) -> None:
        self.spans: list[ReceivedSpan] = []
        self.status = 200
        self.hangs = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def find(self, name: str) -> list[ReceivedSpan]:
        """The spans of this name."""
        return [span for span in list(self.spans) if span.name == name]

    def tree(self, parent_id: str) -> dict[str, Any]:
        """The names of the spans below one, each with its own."""
        return {span.name: self.tree(span.span_id) for span in self.spans if span.parent_id == parent_id}

    def run(self) -> None:
        self._server.serve_forever(0.02)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if receiver.hangs.is_set():
                    threading.Event().wait(60)
                if receiver.status == 200 and self.path == "/v1/traces":
                    is_compressed = self.headers.get("content-encoding") == "gzip"
                    receiver.spans += _decode(gzip.decompress(body) if is_compressed else body)
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None: ...

        return Handler


def _decode(body: bytes) -> list[ReceivedSpan]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        ReceivedSpan(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.kind,
            _read_attributes(span.attributes),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.code == 2,
            {event.name: _read_attributes(event.attributes) for event in span.events},
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            _read_attributes(part.resource.attributes)["service.name"],
        )
        for part in request.resource_spans
        for scope in part.scope_spans
        for span in scope.spans
    ]


def _read_attributes(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextmanager
def run_receiver() -> Iterator[OtlpReceiver]:
    receiver = OtlpReceiver()
    thread = threading.Thread(target=receiver.run, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.close()
        thread.join()
