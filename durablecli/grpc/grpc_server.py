"""The gRPC server: grpc.aio on an event loop of its own, in a thread beside the engine."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import grpc
import grpc.aio

from durablecli.config import GrpcConfig
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.errors import ConfigError, DurableError
from durablecli.grpc.call_access import CallAccess
from durablecli.grpc.engine_calls import EngineCalls
from durablecli.grpc.entity_calls import EntityCalls
from durablecli.grpc.instance_calls import InstanceCalls
from durablecli.grpc.instance_queries import InstanceQueries
from durablecli.grpc.instance_waits import InstanceWaits
from durablecli.grpc.listening_port import PortProbe, load_credentials
from durablecli.grpc.process_sockets import find_server_sockets
from durablecli.grpc.rpc_router import RpcRouter
from durablecli.grpc.sent_activities import SentActivities
from durablecli.grpc.work_streams import WorkStreams
from durablecli.grpc.worker_calls import WorkerCalls
from durablecli.serving.addresses import format_address
from durablecli.serving.engine_bridge import EngineBridge

T = TypeVar("T")
_MIN_KEEP_ALIVE = 100
"""Milliseconds."""
_MAX_IDLE = 300_000
"""Milliseconds after which a connection without calls is closed; a client connects again when it needs to."""
_START_TIMEOUT = 30.0
_CLOSE_TIMEOUT = 5.0
_CLOSE_GRACE = 0.5


class GrpcServer:
    """The server and its thread. The port is bound when it is made, and calls are taken once it is started."""

    def __init__(self, settings: GrpcConfig) -> None:
        """Raises ConfigError if the address can't be bound or the certificate can't be used."""
        self._settings = settings
        probe = PortProbe(str(settings.listen))
        credentials = load_credentials(settings)
        self.secure = credentials is not None
        self.host = probe.host
        self._error: BaseException | None = None
        self._router: RpcRouter | None = None
        self._closing = False
        self._on_stopped: Callable[[], None] = lambda: None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="durable-grpc", daemon=True)
        self._thread.start()
        try:
            self._server: grpc.aio.Server = self._call(self._make_server())
            self.port = self._call(self._bind(probe, credentials))
        except BaseException:
            self._stop_loop()
            raise

    @property
    def address(self) -> str:
        """Host and port, with the host as it was configured."""
        return format_address(self.host, self.port)

    @property
    def failed(self) -> bool:
        """Whether it ended without being asked to."""
        return not self._closing and not self._thread.is_alive()

    def check(self) -> None:
        """Raise DurableError if it ended without being asked to."""
        if self.failed:
            raise DurableError(f"the gRPC server failed: {self._error or 'it stopped by itself'}") from self._error

    def start(
        self, bridge: EngineBridge, pool: RemoteWorkPool, access: CallAccess, on_stopped: Callable[[], None]
    ) -> None:
        """Take calls from now on. `on_stopped` is called, in its thread, when the thread ends."""
        self._on_stopped = on_stopped
        self._call(self._start(bridge, pool, access))

    def stop_accepting(self) -> None:
        """Refuse the calls of clients, and end those that wait. Workers may still answer."""
        if self._router is not None:
            self._router.stopping = True

    def close(self) -> None:
        """Stop the server, even if calls are still running."""
        self._closing = True
        self.stop_accepting()
        if self._thread.is_alive():
            with suppress(TimeoutError):
                self._call(self._end_calls())
            self._stop_loop()

    def close_inherited(self) -> None:
        """Close the sockets of the server in a forked child, which would keep the port bound and clients connected."""
        for descriptor in find_server_sockets(self.port):
            os.close(descriptor)

    # ── in the thread ──────────────────────────────────────────────────────────────────────────────────────────

    async def _make_server(self) -> grpc.aio.Server:
        settings = self._settings
        milliseconds = max(_MIN_KEEP_ALIVE, int(settings.keep_alive.total_seconds() * 1000))
        return grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", settings.message_limit),
                ("grpc.max_send_message_length", settings.message_limit),
                ("grpc.max_concurrent_streams", settings.calls),
                ("grpc.max_metadata_size", settings.metadata_limit),
                ("grpc.absolute_max_metadata_size", settings.metadata_limit),
                ("grpc.keepalive_time_ms", milliseconds),
                ("grpc.keepalive_timeout_ms", milliseconds),
                ("grpc.http2.ping_timeout_ms", milliseconds),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.max_connection_idle_ms", _MAX_IDLE),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.http2.max_ping_strikes", 0),  # clients may ping as often as they like
            ],
            maximum_concurrent_rpcs=settings.calls,
        )

    async def _bind(self, probe: PortProbe, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                return int(self._server.add_insecure_port(probe.address))
            return int(self._server.add_secure_port(probe.address, credentials))
        except RuntimeError:
            raise ConfigError(f"grpc.listen: can't listen on {self._settings.listen}") from None

    async def _start(self, bridge: EngineBridge, pool: RemoteWorkPool, access: CallAccess) -> None:
        engine, sent, limit = EngineCalls(bridge), SentActivities(), self._settings.message_limit
        ping_interval = self._settings.health_ping.total_seconds()
        streams = WorkStreams(pool, sent, self._is_stopping, ping_interval=ping_interval, message_limit=limit)
        parts = [
            InstanceCalls(engine).calls,
            InstanceWaits(engine, self._is_stopping).calls,
            InstanceQueries(engine).calls,
            EntityCalls(engine).calls,
            WorkerCalls(pool, sent).calls,
            streams.calls,
        ]
        router = self._router = RpcRouter(access, parts)
        self._server.add_generic_rpc_handlers((router,))
        await self._server.start()

    async def _end_calls(self) -> None:
        """Stop the server, and wait until the calls that it has cancelled have ended. Calls that only have to send what
        is on disk finish before."""
        await self._server.stop(grace=_CLOSE_GRACE)
        running = asyncio.all_tasks() - {asyncio.current_task()}
        if running:  # grpc prints a traceback when a task of its own is cancelled that would have ended by itself
            _, running = await asyncio.wait(running, timeout=_CLOSE_GRACE)
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running, timeout=_CLOSE_TIMEOUT)

    def _is_stopping(self) -> bool:
        return self._router is not None and self._router.stopping

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_TIMEOUT)

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - check raises it
            self._error = error
        finally:
            self._loop.close()
            self._on_stopped()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_TIMEOUT)
