"""Checks every request before it is routed: its host, its origin, and its size.

A browser sends to a loopback address whatever a web page makes it send, but it can't lie about two things: the host
name it connects to (a page that rebinds its own name to 127.0.0.1 still sends that name), and the origin of the page.
So an unknown host name is an error, and so is a request of another site that would change something, unless the
settings allow its origin. The management API and the functions of an app check the origin more strictly.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durablecli.http.origins import SAFE_METHODS, AllowedOrigins, cross_site_error, is_cross_site
from durablecli.http.responses import ApiError, Shutdown, error_response
from durablecli.serving.addresses import AllowedHosts

MAX_HEAD_BYTES = 16 * 1024
MAX_URL_BYTES = 8 * 1024
_CLOSE_HEADERS = {"connection": "close"}
_STOPPING_MESSAGE = "The server is shutting down; retry later"
_SHUTDOWN_POLL_INTERVAL = 0.2


class RequestGuard:
    """The middleware; `body_timeout` is in seconds, for the whole body."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: AllowedHosts,
        body_limit: int,
        body_timeout: float,
        shutdown: Shutdown,
        origins: AllowedOrigins | None = None,
    ) -> None:
        self._app = app
        self._shutdown = shutdown
        self._hosts = hosts
        self._origins = origins or AllowedOrigins()
        self._body_limit = body_limit
        self._body_timeout = body_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        error = self._find_error(scope)
        if error is not None:
            await error_response(error, _CLOSE_HEADERS)(scope, receive, send)  # without reading the body
            return
        try:
            await self._app(scope, self._limit_body(receive), send)
        except asyncio.CancelledError:
            if not self._shutdown.requested:
                raise
            await self._respond_stopping(scope, receive, send)

    async def _respond_stopping(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request that was cancelled because the server shuts down."""
        with suppress(RuntimeError):  # part of the response is sent already
            await error_response(ApiError(503, _STOPPING_MESSAGE, kind="Unavailable"), _CLOSE_HEADERS)(
                scope, receive, send
            )

    def _find_error(self, scope: Scope) -> ApiError | None:
        headers = scope["headers"]
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > MAX_URL_BYTES:
            return ApiError(414, f"The URL is longer than {MAX_URL_BYTES} bytes")
        if sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES:
            return ApiError(431, f"The headers are longer than {MAX_HEAD_BYTES} bytes")
        headers_by_name = {name: value.decode("latin-1") for name, value in headers}
        host = headers_by_name.get(b"host", "")
        if not self._hosts.allows(host):
            return ApiError(
                403, "Unknown host name; add it to http.allowed_hosts if it names this server", kind="Forbidden"
            )
        if (
            scope["method"] not in SAFE_METHODS
            and is_cross_site(scope)
            and not self._origins.allows(headers_by_name.get(b"origin"))
        ):
            return cross_site_error()
        length = headers_by_name.get(b"content-length", "")
        if length and b"transfer-encoding" in headers_by_name:  # a proxy may have gone by the other one
            return ApiError(400, "The body has both a Content-Length and a Transfer-Encoding")
        if length.isdigit() and int(length) > self._body_limit:
            return self._body_too_large()
        return None

    def _limit_body(self, receive: Receive) -> Receive:
        """Enforce the size limit and the timeout of the body."""
        size = 0
        until: float | None = None
        complete = False

        async def receive_limited() -> Message:
            nonlocal size, until, complete
            if complete:  # what comes now is the disconnection of the client
                return await receive()
            until = until or asyncio.get_running_loop().time() + self._body_timeout
            message = await self._receive_part(receive, until)
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if size > self._body_limit:
                raise HTTPException(413, self._body_too_large().message, _CLOSE_HEADERS)
            return message

        return receive_limited

    async def _receive_part(self, receive: Receive, until: float) -> Message:
        """The next part of the body. A server that shuts down doesn't wait for it."""
        now = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout_at(min(until, now() + _SHUTDOWN_POLL_INTERVAL)):
                    return await receive()
            except TimeoutError:
                if self._shutdown.requested:
                    raise HTTPException(503, _STOPPING_MESSAGE, _CLOSE_HEADERS) from None
                if now() >= until:
                    raise HTTPException(408, "The body of the request didn't arrive in time", _CLOSE_HEADERS) from None

    def _body_too_large(self) -> ApiError:
        return ApiError(413, f"The body is longer than {self._body_limit} bytes; raise http.body_limit to allow it")
