"""The HTTP server: uvicorn, in a thread beside the engine."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import msgspec
import uvicorn
from starlette.types import ASGIApp

from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.engine.engine import Engine
from durablecli.errors import ConfigError, DurableError
from durablecli.http import function_routes
from durablecli.http.asgi_app import make_app, replace_functions
from durablecli.http.middleware import MAX_HEAD_BYTES, MAX_URL_BYTES
from durablecli.http.protocol import HttpProtocol
from durablecli.http.responses import Shutdown
from durablecli.management_links import ManagementEndpoint
from durablecli.registry import Registry
from durablecli.serving.addresses import format_address, format_url, parse_listen
from durablecli.serving.api_keys import ApiKeys

_log = logging.getLogger("durablecli.http")
_MAX_CONNECTIONS = 4096
_MAX_BACKLOG = 128
_NO_HANDLE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_WARNING_INTERVAL = 60.0
_CLOSE_TIMEOUT = 5.0


def bind_socket(listen: str) -> socket.socket:
    """Bind the listening socket, before anything else is started; raises ConfigError."""
    host, port = parse_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # only then no other server can take the port
    except OSError as error:
        listener.close()
        hint = "; name another port: durable dev --listen PORT, durable run-daemon --http PORT"
        reason = f"{error.strerror or error}{hint if error.errno == errno.EADDRINUSE else ''}"
        raise ConfigError(f"http.listen: can't listen on {listen}: {reason}") from None
    return listener


class HttpServer:
    """The server and its thread."""

    def __init__(
        self,
        listener: socket.socket,
        client: Client,
        registry: Registry,
        keys: ApiKeys,
        settings: HttpConfig,
        drain_timeout: timedelta,
        on_stopped: Callable[[], None],
    ) -> None:
        self._socket = listener
        self._shutdown = Shutdown()
        address, port = listener.getsockname()[:2]
        self._host = address if settings.listen is None else parse_listen(str(settings.listen))[0]
        resolved = msgspec.structs.replace(
            settings,
            listen=format_address(address, port),
            allowed_hosts=(*settings.allowed_hosts, self._host),
        )
        self._app = app = make_app(client, registry=registry, keys=keys, settings=resolved, shutdown=self._shutdown)
        self.endpoint = ManagementEndpoint(self.url, keys.code)
        self._on_stopped = on_stopped
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._stopped = False
        engine = client.mailbox
        tracing = engine.options.tracing if isinstance(engine, Engine) else None
        traced_app: ASGIApp = app if tracing is None else tracing.wrap_server(app)
        self._server = _Server(
            _make_uvicorn_config(traced_app, settings, drain_timeout.total_seconds() / 2), self._ready
        )
        self._thread = threading.Thread(target=self._serve, name="durable-http", daemon=True)

    @property
    def url(self) -> str:
        """Its URL, with the host name that was configured."""
        return format_url(self._host, self._socket.getsockname()[1])

    @property
    def routes(self) -> list[function_routes.RouteInfo]:
        """The HTTP functions that are served."""
        return function_routes.list_routes(self._app.routes)

    def replace_functions(self) -> None:
        """Serve the HTTP functions that the registry has now; any thread may call this."""
        replace_functions(self._app)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether it ended without being asked to."""
        return self._stopped and not self._shutdown.requested

    def check(self) -> None:
        """Raise DurableError if it ended without being asked to."""
        if self._error is not None:
            raise DurableError(f"the HTTP server failed: {type(self._error).__name__}: {self._error}") from self._error

    def start(self) -> None:
        """Start the thread; returns when the server accepts connections."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop_accepting(self) -> None:
        """Accept no more requests; the thread ends after the last running one."""
        self._shutdown.requested = True
        self._server.should_exit = True

    def close(self) -> None:
        """Stop the server, even if requests are still running."""
        self._server.should_exit = self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join(_CLOSE_TIMEOUT)
        self._socket.close()

    def _serve(self) -> None:
        try:
            asyncio.run(self._server.serve([self._socket]))
            if not self._shutdown.requested and not self._server.force_exit:
                self._error = RuntimeError("it stopped by itself")
        except BaseException as error:  # noqa: BLE001 - start and check raise it
            self._error = error
        finally:
            self._stopped = True
            self._ready.set()
            self._on_stopped()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # durablecli itself reports start and stop
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_LoopErrorHandler())
        await super().startup(sockets)
        self._ready.set()


def _make_protocol_class(settings: HttpConfig) -> type[HttpProtocol]:
    own = {
        "head_timeout": settings.header_timeout.total_seconds(),
        "body_timeout": settings.body_timeout.total_seconds(),
        "max_connections": _get_connection_limit(),
    }
    return type("HttpProtocol", (HttpProtocol,), own)


def _get_connection_limit() -> int:
    """Half of the open files that the process may have; the engine needs the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if soft < 0 else min(_MAX_CONNECTIONS, max(1, soft // 2))


class _LoopErrorHandler:
    """Handles errors of the event loop. The error that there are no file handles left, which the loop reports for every
    connection, is logged once a minute."""

    def __init__(self) -> None:
        self._next_warning_at = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_HANDLE_ERRNOS):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next_warning_at:
            self._next_warning_at = loop.time() + _WARNING_INTERVAL
            _log.warning(
                "can't accept more connections (%s): they wait; raise the limit on open files (ulimit -n)",
                error.strerror,
            )


def _make_uvicorn_config(app: ASGIApp, settings: HttpConfig, drain_timeout: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_make_protocol_class(settings),
        ws="none",
        backlog=max(1, min(_MAX_BACKLOG, _get_connection_limit() // 4)),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES + MAX_URL_BYTES,
        timeout_keep_alive=max(1, int(settings.keep_alive.total_seconds())),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=cast("int", drain_timeout),  # fractions work too
    )
