"""Routes calls to their handlers: access, messages that can't be read, errors and the shutdown are handled here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from durablecli.grpc.call_access import CallAccess
from durablecli.grpc.call_errors import CallError, internal_error, stopping_error, to_call_error
from durablecli.protocol.generated import pb

_log = logging.getLogger("durablecli.grpc")
logging.getLogger("grpc").setLevel(logging.CRITICAL)  # it logs each client that goes away, with a traceback
_SERVICE = pb.DESCRIPTOR.services_by_name["TaskHubSidecarService"]
_INTERRUPTED = (asyncio.CancelledError, KeyboardInterrupt, SystemExit)

UnaryCall = Callable[[Any, Any], Awaitable[Any]]
"""Answers a message; the second argument is the context that grpc gives."""
StreamCall = Callable[[Any, Any], AsyncGenerator[Any, None]]


class Calls(NamedTuple):
    """The handlers of a part of the service, by the names of its methods.

    Those in `always` are answered also while the server shuts down: workers finish their work.
    """

    unary: Mapping[str, UnaryCall]
    streams: Mapping[str, StreamCall] = {}
    always: frozenset[str] = frozenset()


class RpcRouter(grpc.GenericRpcHandler):
    """Finds the handler of a call. Any other method is UNIMPLEMENTED."""

    def __init__(self, access: CallAccess, parts: list[Calls]) -> None:
        self._access = access
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self.stopping = False
        for part in parts:
            for name, call in part.unary.items():
                self._handlers[_path(name)] = self._make_unary(name, call, is_always=name in part.always)
            for name, stream in part.streams.items():
                self._handlers[_path(name)] = self._make_stream(name, stream)
        self._unknown = grpc.unary_unary_rpc_method_handler(self._refuse_unknown)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Return the handler of a call."""
        return self._handlers.get(details.method, self._unknown)

    def _make_unary(self, name: str, call: UnaryCall, *, is_always: bool) -> grpc.RpcMethodHandler:
        parse = _make_parser(name)

        async def handle(data: bytes, context: Any) -> bytes:
            try:
                self._admit(context, is_always=is_always)
                answer = await call(parse(data), context)
                return answer.SerializeToString()
            except _INTERRUPTED:
                raise
            except Exception as error:  # noqa: BLE001 - every error becomes a status code
                failed = _describe(name, error)
            await context.abort(failed.code, failed.message)
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(handle)

    def _make_stream(self, name: str, call: StreamCall) -> grpc.RpcMethodHandler:
        parse = _make_parser(name)

        async def handle(data: bytes, context: Any) -> None:
            try:
                self._admit(context, is_always=False)
                async with aclosing(call(parse(data), context)) as messages:
                    async for message in messages:
                        await _write(context, message.SerializeToString())
                return
            except _INTERRUPTED:
                raise
            except _ClientGone:
                return
            except Exception as error:  # noqa: BLE001 - every error becomes a status code
                failed = _describe(name, error)
            await context.abort(failed.code, failed.message)

        return grpc.unary_stream_rpc_method_handler(handle)

    def _admit(self, context: Any, *, is_always: bool) -> None:
        self._access.check(context.invocation_metadata() or ())
        if self.stopping and not is_always:
            raise stopping_error()

    async def _refuse_unknown(self, data: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "durablecli doesn't serve this method")
        raise AssertionError("abort raises")


class _ClientGone(Exception):
    """A message of a stream couldn't be sent."""


async def _write(context: Any, data: bytes) -> None:
    try:
        await context.write(data)
    except _INTERRUPTED:
        raise
    except Exception as error:  # grpc has classes of its own for it
        raise _ClientGone from error


def _path(name: str) -> str:
    return f"/{_SERVICE.full_name}/{name}"


def _make_parser(name: str) -> Callable[[bytes], Any]:
    message_class = GetMessageClass(_SERVICE.methods_by_name[name].input_type)

    def parse(data: bytes) -> Any:
        try:
            return message_class.FromString(data)
        except DecodeError:
            raise CallError(grpc.StatusCode.INVALID_ARGUMENT, f"the message of {name} can't be read") from None

    return parse


def _describe(name: str, error: Exception) -> CallError:
    found = to_call_error(error)
    if found is None or found.code in (grpc.StatusCode.DATA_LOSS, grpc.StatusCode.INTERNAL):
        _log.error("%s failed", name, exc_info=error)
    return found or internal_error()
