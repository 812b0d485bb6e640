"""Connections: uvicorn's protocol, with a timeout for everything that a client does, and one write for each response.

A client that sends nothing, sends byte by byte or doesn't read its response takes up a connection that others need. So
each part of a request has a timeout, and so has the response. Data that arrives after the response is dropped.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from durablecli.http.middleware import MAX_HEAD_BYTES
from durablecli.http.responses import ApiError, error_response

_LINGER_TIMEOUT = 1.0  # gives a client that is still sending the time to read its response
_BODY_TIMEOUT_MARGIN = 1.0  # lets the middleware report the timeout first, with a better message
_MIN_PROGRESS_BYTES = 64 * 1024
_SERVER_FULL_RESPONSE = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\nconnection: close\r\n"
    b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n\r\n"
)


class H11Connection(h11.Connection):
    """Adds `connection: close` to a response that is sent before the whole request has arrived."""

    def send(self, event: Any) -> Any:
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            headers = [(name, value) for name, value in event.headers if name != b"connection"]
            headers.append((b"connection", b"close"))
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        return super().send(event)


class BufferedTransport:
    """A transport that writes once per iteration of the event loop.

    uvicorn writes the head and the body of a response separately, and each system call is expensive, because the
    engine's thread takes the interpreter meanwhile. The connection of a client that reads next to nothing in
    `write_timeout` seconds is aborted.
    """

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, conn: h11.Connection, write_timeout: float
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._conn = conn
        self._write_timeout = write_timeout
        self._buffer: list[bytes] = []
        self._bytes_written = 0
        self._is_checking_progress = False
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._buffer:
            self._loop.call_soon(self._flush)
        self._buffer.append(data)

    def close(self) -> None:
        self._flush()
        if self.is_closing() or self._conn.their_state is not h11.SEND_BODY:
            self._transport.close()
            return
        self._closing = True
        self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(_LINGER_TIMEOUT, self._transport.close)

    def _flush(self) -> None:
        chunks, self._buffer = self._buffer, []
        if not chunks:
            return
        data = b"".join(chunks)
        self._bytes_written += len(data)
        self._transport.write(data)
        if not self._is_checking_progress and self._transport.get_write_buffer_size():
            self._is_checking_progress = True
            self._loop.call_later(self._write_timeout, self._check_progress, self._bytes_sent)

    @property
    def _bytes_sent(self) -> int:
        return self._bytes_written - self._transport.get_write_buffer_size()

    def _check_progress(self, bytes_sent_before: int) -> None:
        if not self._transport.get_write_buffer_size():
            self._is_checking_progress = False
        elif self._bytes_sent - bytes_sent_before < _MIN_PROGRESS_BYTES:
            self._transport.abort()
        else:
            self._loop.call_later(self._write_timeout, self._check_progress, self._bytes_sent)


class HttpProtocol(H11Protocol):
    """The protocol of one connection.

    `head_timeout` runs from the connection, or from the first byte of a later request; `body_timeout` runs from the end
    of the head. Beyond `max_connections`, connections get a 503 response.
    """

    head_timeout = 10.0
    body_timeout = 30.0
    max_connections = 500

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = H11Connection(h11.SERVER, config.h11_max_incomplete_event_size or MAX_HEAD_BYTES)
        self.access_log = False  # a URL may contain a key, so no logging setup may turn this on
        self._timer: asyncio.TimerHandle | None = None
        self._awaited_state: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        buffered = BufferedTransport(transport, self.loop, self.conn, self.body_timeout)
        super().connection_made(cast("asyncio.Transport", buffered))
        if len(self.connections) > self.max_connections:
            transport.write(_SERVER_FULL_RESPONSE)
            transport.close()
            return
        self._start_timeout(h11.IDLE, self.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._start_timeout(h11.IDLE, self.head_timeout)

    def handle_events(self) -> None:
        super().handle_events()
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._start_timeout(state, self.body_timeout + _BODY_TIMEOUT_MARGIN)
        elif state is not h11.IDLE:
            self._cancel_timeout()
        elif self.conn.trailing_data[0]:  # data after the last request is the head of the next
            self._start_timeout(state, self.head_timeout)

    def send_400_response(self, msg: str) -> None:
        """Respond to data that isn't HTTP, or to a head that is too large."""
        self._reject(ApiError(400, msg))

    def _start_timeout(self, state: Any, seconds: float) -> None:
        """Start the timeout of a part of the request, unless it is running already."""
        if self._timer is None or self._awaited_state is not state:
            self._cancel_timeout()
            self._awaited_state = state
            self._timer = self.loop.call_later(seconds, self._on_timeout)

    def _cancel_timeout(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self) -> None:
        self._timer = None
        if not self.transport.is_closing() and self.conn.their_state is self._awaited_state:
            part = "head" if self._awaited_state is h11.IDLE else "body"
            self._reject(ApiError(408, f"The {part} of the request didn't arrive in time", kind="TimeoutException"))

    def _reject(self, error: ApiError) -> None:
        response = error_response(error, {"connection": "close"})
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=response.status_code, headers=response.raw_headers)
            for event in (head, h11.Data(data=bytes(response.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:  # nobody will read its response
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
