"""Calls to another engine: each with a deadline, retried for a moment, and with its errors as durablecli's own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from google.protobuf.empty_pb2 import Empty

from durablecli.dts.address import EngineAddress
from durablecli.dts.channel import open_channel
from durablecli.errors import (
    Conflict,
    DurableError,
    EngineUnavailable,
    NoPermission,
    NotFound,
    TimedOut,
    UsageError,
    WrongState,
)

T = TypeVar("T")
CALL_TIMEOUT = 30.0
CONNECT_PATIENCE = 3.0
"""The seconds for which a call is repeated while there is no answer."""
_MIN_PAUSE = 0.1
_MAX_PAUSE = 2.0
_MAX_DETAILS_LENGTH = 300
_CONNECTION_PREFIX = re.compile(r"^failed to connect to all addresses; last error: (?:[A-Z]+: )?(?:ipv[46]:\S+: )?")
_ERRORS: dict[grpc.StatusCode, type[DurableError]] = {
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.ALREADY_EXISTS: Conflict,
    grpc.StatusCode.CANCELLED: EngineUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: EngineUnavailable,
    grpc.StatusCode.FAILED_PRECONDITION: WrongState,
    grpc.StatusCode.INVALID_ARGUMENT: UsageError,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.OUT_OF_RANGE: UsageError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: EngineUnavailable,
    grpc.StatusCode.UNAVAILABLE: EngineUnavailable,
    grpc.StatusCode.UNIMPLEMENTED: UsageError,
}


class ProtocolCalls:
    """Calls the methods of one engine, by their names in the protocol."""

    def __init__(self, address: EngineAddress, make_stub: Callable[[grpc.Channel], Any]) -> None:
        self.address = address
        self._channel = open_channel(address)
        self._stub = make_stub(self._channel)
        self._is_connected = False

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def read(self, method: str, request: Any, *, patience: float = CONNECT_PATIENCE) -> Any:
        """Return the answer to a request that changes nothing. It is repeated while the engine is unavailable."""
        return self._repeat(lambda: getattr(self._stub, method)(request, timeout=CALL_TIMEOUT), patience)

    def read_stream(self, method: str, request: Any) -> list[Any]:
        """Return all messages of a stream; after a broken connection it is read again from its beginning."""
        return self._repeat(lambda: list(getattr(self._stub, method)(request, timeout=CALL_TIMEOUT)), CONNECT_PATIENCE)

    def send(self, method: str, request: Any) -> Any:
        """Return the answer to a request that changes something. It is sent at most once.

        Only the connection is tried again: what breaks later may have taken effect, and the error says so.
        """
        if not self._is_connected:
            self.read("Hello", Empty())
        try:
            return getattr(self._stub, method)(request, timeout=CALL_TIMEOUT)
        except grpc.RpcError as error:
            raise to_error(self.address, error, may_have_acted=True) from None

    def wait(self, method: str, request: Any, timeout: float) -> Any:
        """Return the answer to a request that the engine answers later; raise TimedOut if it doesn't in time."""
        try:
            return getattr(self._stub, method)(request, timeout=timeout)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimedOut("no answer yet") from None
            raise to_error(self.address, error) from None

    def _repeat(self, call: Callable[[], T], patience: float) -> T:
        until, pause = time.monotonic() + patience, _MIN_PAUSE
        while True:
            try:
                answer = call()
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() + pause > until:
                    raise to_error(self.address, error) from None
            else:
                self._is_connected = True
                return answer
            time.sleep(pause)
            pause = min(2 * pause, _MAX_PAUSE)


def to_error(address: EngineAddress, error: grpc.RpcError, *, may_have_acted: bool = False) -> DurableError:
    """Return the error for a call that has failed, in one line.

    `may_have_acted` says that the call may have taken effect if the connection broke.
    """
    code, details = error.code(), first_line(error.details())
    lost = "; whether it took effect isn't known" if may_have_acted else ""
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return EngineUnavailable(f"cannot reach {address.target}: {details or 'connection closed'}{lost}")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return EngineUnavailable(f"{address.target} has not answered within {CALL_TIMEOUT:.0f} s{lost}")
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return denied_error(address, code, details)
        case grpc.StatusCode.UNIMPLEMENTED:
            return UsageError(f"{address.target} can't do this: {details or 'not implemented'}")
        case _ if code in _ERRORS:
            return _ERRORS[code](f"{address.target}: {details or code.name}")
        case _:
            return DurableError(f"{address.target} failed: {details or getattr(code, 'name', code)}")


def denied_error(address: EngineAddress, code: grpc.StatusCode, details: str) -> NoPermission:
    """Return the error for a call that the engine refuses to this caller: it needs another token, or any."""
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return NoPermission(f"{address.target}: {details or 'permission denied'}")
    if address.token_file is None:
        return NoPermission(
            f"{address.target} requires a token: {details or 'no valid token'} "
            "(TokenFile=PATH in the address names a file with one)"
        )
    return NoPermission(f"{address.target} refused the token: {details or 'no valid token'}")


def first_line(text: str | None) -> str:
    """Return the first line of the error of an engine, or of gRPC."""
    first, *_ = [line.strip() for line in (text or "").splitlines() if line.strip()] or [""]
    first = _CONNECTION_PREFIX.sub("", first)
    return first if len(first) <= _MAX_DETAILS_LENGTH else f"{first[:_MAX_DETAILS_LENGTH]}…"


def pages(
    fetch: Callable[[str | None], tuple[T, str | None]], cursor: str | None = None
) -> Iterator[tuple[T, str | None]]:
    """Yield page after page, each with the token of the next one. A token that repeats ends the list."""
    while True:
        page, following = fetch(cursor)
        yield page, following
        if following is None or following == cursor:
            return
        cursor = following
