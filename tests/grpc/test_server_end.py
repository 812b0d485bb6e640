"""The end of a server while clients leave."""

from __future__ import annotations

import asyncio
from threading import Thread
from time import sleep
from typing import Any
from unittest.mock import Mock

import grpc
import pytest

from durablecli.config import GrpcConfig
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.grpc import grpc_server
from durablecli.grpc.call_access import CallAccess
from durablecli.grpc.grpc_server import GrpcServer
from durablecli.serving.api_keys import ApiKeys

CALLS, GRACE = 60, 0.05
METHOD = "/tests/endless"


class EndlessCalls(grpc.GenericRpcHandler):  # type: ignore[misc]
    """A method whose calls end only when they are cancelled."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_stream_rpc_method_handler(self.run) if details.method == METHOD else None

    async def run(self, data: bytes, context: Any) -> None:
        await context.write(data)
        await asyncio.Event().wait()


def test_a_server_that_ends_while_clients_leave_prints_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grpc_server, "_CLOSE_GRACE", GRACE)
    for milliseconds in range(20, 80, 4):  # around the moment when the server cancels the calls
        server = GrpcServer(GrpcConfig("127.0.0.1:0"))
        server._server.add_generic_rpc_handlers((EndlessCalls(),))
        server.start(Mock(), RemoteWorkPool(), CallAccess(ApiKeys(), []), on_stopped=lambda: None)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            calls = [channel.unary_stream(METHOD)(b"begun") for _ in range(CALLS)]
            assert [next(call) for call in calls] == [b"begun"] * CALLS
            closing = Thread(target=server.close)
            closing.start()
            sleep(milliseconds / 1000)
            for call in calls:
                call.cancel()
            closing.join(10)
            assert not closing.is_alive()
    assert capfd.readouterr().err == ""
