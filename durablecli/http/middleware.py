"""What every request passes before anything looks at its path: is it for us, may it come from there, is it too large.

A browser will send what any page tells it to, also to a loopback address. It can't lie about two things, though: the
name that it was told to reach (a page whose own name was turned to 127.0.0.1 still says that name), and where the page
came from. So a name that isn't ours is refused, and so is what another site sends to change something, unless the
settings allow its origin. The management API and the functions of an app look at the origin once more: see there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable
from contextlib import suppress

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durablecli.http.api_keys import MAX_HEAD_BYTES, MAX_URL_BYTES, is_loopback
from durablecli.http.origins import AllowedOrigins, cross_site_error, is_cross_site
from durablecli.http.responses import ApiError, Shutdown, error_response

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_match_host = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?").fullmatch
_CLOSE_HEADERS = {"connection": "close"}
_STOPPING_MESSAGE = "The server is about to stop"
_SHUTDOWN_POLL_INTERVAL = 0.2


class AllowedHosts:
    """The names under which a server at this address is reached.

    At a loopback address these are the loopback names. Elsewhere any plain address is one of ours, as no page can be
    served from it unless it is the very machine, and so is the machine's own name.
    """

    def __init__(self, address: str, allowed: Iterable[str] = ()) -> None:
        self._accepts_any_ip = not is_loopback(address)
        self._names = {"localhost", "127.0.0.1", "::1", address.lower(), *(name.lower() for name in allowed)}
        if self._accepts_any_ip:
            self._names.add(socket.gethostname().lower())

    def allows(self, host: str) -> bool:
        """Whether a Host header, with or without port, names us."""
        name = _parse_host(host)
        return name in self._names or (self._accepts_any_ip and _is_ip_address(name))


class RequestGuard:
    """The middleware; `body_timeout` is in seconds, and for the whole of the body."""

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
        refused = self._find_error(scope)
        if refused is not None:
            # What is left of the body isn't waited for.
            await error_response(refused, {"connection": "close"})(scope, receive, send)
            return
        try:
            await self._app(scope, self._limit_body(receive), send)
        except asyncio.CancelledError:
            if not self._shutdown.requested:
                raise
            await self._respond_stopping(scope, receive, send)

    async def _respond_stopping(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what would take longer than the server has."""
        with suppress(RuntimeError):  # it has been answered in part
            await error_response(ApiError(503, _STOPPING_MESSAGE, kind="Unavailable"), _CLOSE_HEADERS)(
                scope, receive, send
            )

    def _find_error(self, scope: Scope) -> ApiError | None:
        headers = scope["headers"]
        if len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"]) > MAX_URL_BYTES:
            return ApiError(414, f"The URL is longer than {MAX_URL_BYTES} bytes")
        if sum(len(name) + len(value) + 4 for name, value in headers) > MAX_HEAD_BYTES:
            return ApiError(431, f"The headers have more than {MAX_HEAD_BYTES} bytes")
        given = {name: value.decode("latin-1") for name, value in headers}
        host = given.get(b"host", "")
        if not self._hosts.allows(host):
            return ApiError(403, "This server isn't known by that name: see http.allowed_hosts", kind="Forbidden")
        if (
            scope["method"] not in SAFE_METHODS
            and is_cross_site(scope)
            and not self._origins.allows(given.get(b"origin"))
        ):
            return cross_site_error()
        length = given.get(b"content-length", "")
        if length and b"transfer-encoding" in given:  # whoever stands before us may have taken the other one
            return ApiError(400, "The body has two lengths")
        if length.isdigit() and int(length) > self._body_limit:
            return self._body_too_large()
        return None

    def _limit_body(self, receive: Receive) -> Receive:
        """The body no longer than the limit, and no slower than the time-out."""
        size = 0
        until: float | None = None
        whole = False

        async def receive_limited() -> Message:
            nonlocal size, until, whole
            if whole:  # what is waited for now is that the client goes
                return await receive()
            until = until or asyncio.get_running_loop().time() + self._body_timeout
            message = await self._receive_part(receive, until)
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self._body_limit:
                raise HTTPException(413, self._body_too_large().message, _CLOSE_HEADERS)
            return message

        return receive_limited

    async def _receive_part(self, receive: Receive, until: float) -> Message:
        """The next part of a body. A server that stops doesn't wait for it."""
        now = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout_at(min(until, now() + _SHUTDOWN_POLL_INTERVAL)):
                    return await receive()
            except TimeoutError:
                if self._shutdown.requested:
                    raise HTTPException(503, _STOPPING_MESSAGE, _CLOSE_HEADERS) from None
                if now() >= until:
                    raise HTTPException(408, "The body of the request didn't come in time", _CLOSE_HEADERS) from None

    def _body_too_large(self) -> ApiError:
        return ApiError(413, f"The body has more than {self._body_limit} bytes, the limit")


def _parse_host(host: str) -> str:
    """The name in a Host header, without its port; empty if it is anything but a name and a port."""
    found = _match_host(host)
    return "" if found is None else (found[1] or found[2]).lower().removesuffix(".")


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
