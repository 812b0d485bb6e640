"""One connection: uvicorn's, with a time for all that a client has to do, and one write for each answer.

A client that says nothing, says it drop by drop or doesn't take its answer holds a place that others need: each part of
a request has its time, and so has the answer. What a client still sends after its answer is dropped, not waited for.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from durablecli.http.responses import Refused, refusal_answer

_LINGER = 1.0  # so that a client that still sends gets to read its answer
_GRACE = 1.0  # whoever reads the body says that it is late, and says it better
_LEAST_TAKEN = 64 * 1024
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\nconnection: close\r\n"
    b"x-content-type-options: nosniff\r\ncache-control: no-store\r\n\r\n"
)


class Wire(h11.Connection):
    """Says that the connection ends where the rest of a request would have to be waited for."""

    def send(self, event: Any) -> Any:
        if isinstance(event, h11.Response) and self.their_state is h11.SEND_BODY:
            headers = [(name, value) for name, value in event.headers if name != b"connection"]
            headers.append((b"connection", b"close"))
            event = h11.Response(status_code=event.status_code, headers=headers, reason=event.reason)
        return super().send(event)


class Corked:
    """A transport that writes at the end of the loop's turn. The head and the body of an answer come one by one, and
    a system call each costs more than all else: the engine's thread takes the interpreter meanwhile.

    It hangs up on a client that takes next to nothing of its answer in `patience` seconds."""

    def __init__(
        self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, conn: h11.Connection, patience: float
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._conn = conn
        self._patience = patience
        self._kept: list[bytes] = []
        self._written = 0
        self._watched = False
        self._closing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._kept:
            self._loop.call_soon(self._flush)
        self._kept.append(data)

    def close(self) -> None:
        self._flush()
        if self.is_closing() or self._conn.their_state is not h11.SEND_BODY:
            self._transport.close()
            return
        self._closing = True
        self._transport.write_eof()
        self._transport.resume_reading()
        self._loop.call_later(_LINGER, self._transport.close)

    def _flush(self) -> None:
        kept, self._kept = self._kept, []
        if not kept:
            return
        data = b"".join(kept)
        self._written += len(data)
        self._transport.write(data)
        if not self._watched and self._transport.get_write_buffer_size():
            self._watched = True
            self._loop.call_later(self._patience, self._look, self._taken)

    @property
    def _taken(self) -> int:
        return self._written - self._transport.get_write_buffer_size()

    def _look(self, before: int) -> None:
        if not self._transport.get_write_buffer_size():
            self._watched = False
        elif self._taken - before < _LEAST_TAKEN:
            self._transport.abort()
        else:
            self._loop.call_later(self._patience, self._look, self._taken)


class Connection(H11Protocol):
    """The head of a request has to be there a while after the connection, or after its own first byte, and the body a
    while after the head. Beyond `most` connections there is no place."""

    head_timeout = 10.0
    body_timeout = 30.0
    most = 500

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.conn = Wire(h11.SERVER, config.h11_max_incomplete_event_size or _LEAST_TAKEN)
        self.access_log = False  # a URL may hold a key, and whoever sets up logging must not turn this on
        self._timer: asyncio.TimerHandle | None = None
        self._awaited: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        corked = Corked(transport, self.loop, self.conn, self.body_timeout)
        super().connection_made(cast("asyncio.Transport", corked))
        if len(self.connections) > self.most:
            transport.write(_FULL)
            transport.close()
            return
        self._wait(h11.IDLE, self.head_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait(h11.IDLE, self.head_timeout)

    def handle_events(self) -> None:
        super().handle_events()
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            self._wait(state, self.body_timeout + _GRACE)
        elif state is not h11.IDLE:
            self._stop_waiting()
        elif self.conn.trailing_data[0]:  # what came behind the last request is the head of the next
            self._wait(state, self.head_timeout)

    def send_400_response(self, msg: str) -> None:
        """What can't be read as HTTP, or whose head is too large."""
        self._refuse(Refused(400, msg))

    def _wait(self, state: Any, seconds: float) -> None:
        """Give a client some time for this part of its request, if it hasn't been given it already."""
        if self._timer is None or self._awaited is not state:
            self._stop_waiting()
            self._awaited = state
            self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if not self.transport.is_closing() and self.conn.their_state is self._awaited:
            part = "head" if self._awaited is h11.IDLE else "body"
            self._refuse(Refused(408, f"The {part} of the request didn't come in time", kind="TimeoutException"))

    def _refuse(self, refused: Refused) -> None:
        answer = refusal_answer(refused, {"connection": "close"})
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=answer.status_code, headers=answer.raw_headers)
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:  # nobody is there for its answer
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
