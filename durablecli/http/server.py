"""The server: one Starlette app on uvicorn, in a thread beside the engine."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import resource
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar, cast

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.errors import ConfigError, DurableError
from durablecli.http import function_routes
from durablecli.http.api_keys import MAX_HEAD_BYTES, MAX_URL_BYTES, ApiKeys
from durablecli.http.engine_bridge import EngineBridge
from durablecli.http.instances_api import ManagementApi, route_not_found
from durablecli.http.middleware import AllowedHosts, RequestGuard
from durablecli.http.origins import AllowedOrigins
from durablecli.http.protocol import HttpProtocol
from durablecli.http.responses import ApiError, Shutdown, error_response, internal_error
from durablecli.management_links import BASE_PATH, ManagementEndpoint
from durablecli.registry import Registry

T = TypeVar("T", Mount, Route)
_log = logging.getLogger("durablecli.http")
_MAX_CONNECTIONS = 4096
_MAX_BACKLOG = 128  # so many connections are taken before the first one is looked at
_NO_HANDLE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_WARNING_INTERVAL = 60.0
_WILDCARD_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what isn't to be shown
DEFAULT_LISTEN = "127.0.0.1:7071"


def make_app(
    client: Client,
    *,
    registry: Registry | None = None,
    keys: ApiKeys | None = None,
    settings: HttpConfig | None = None,
    shutdown: Shutdown | None = None,
) -> Starlette:
    """Everything that a hub answers by HTTP. `client` posts to the engine of this process, or to the inbox.

    Once `closing` is said, requests that wait for an instance to end are answered as it stands.
    """
    keys, settings, shutdown = keys or ApiKeys(), settings or HttpConfig(), shutdown or Shutdown()
    bridge = EngineBridge(client)
    management = ManagementApi(bridge, keys, registry, shutdown)

    async def start(request: Request) -> Response:
        return await management.handle(request, ["orchestrators", request.path_params["name"]])

    origins = AllowedOrigins(settings.allowed_origins, credentials=settings.allow_credentials)
    listen = str(settings.listen or DEFAULT_LISTEN)
    address, port = parse_listen(listen)
    prefix = settings.route_prefix.strip("/")
    routes: list[BaseRoute] = [_make_case_insensitive(Mount(BASE_PATH, management))]
    if registry is not None:
        endpoint = ManagementEndpoint(_format_url(address, port), keys.code)
        routes += function_routes.build_routes(registry, client, keys, prefix, endpoint=endpoint, origins=origins)
    for start_prefix in dict.fromkeys((f"/{prefix}".rstrip("/"), "/api")):  # the second is what everybody writes
        path = f"{start_prefix}/orchestrators/{{name}}"
        routes.append(_make_case_insensitive(Route(path, start, methods=["POST"])))

    guard = Middleware(
        RequestGuard,
        hosts=AllowedHosts(address, settings.allowed_hosts),
        body_limit=settings.body_limit,
        body_timeout=settings.body_timeout.total_seconds(),
        shutdown=shutdown,
        origins=origins,
    )
    handlers = {HTTPException: _handle_http_error, ApiError: _handle_api_error, 500: _handle_unexpected_error}
    app = Starlette(routes=routes, middleware=[guard, *origins.cors_middleware()], exception_handlers=handlers)
    app.router.redirect_slashes = False  # no path but those of the API is an answer
    return app


def _make_case_insensitive(route: T) -> T:
    """The same route, which doesn't care for capitals, as those of Azure don't."""
    route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    return route


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return error_response(route_not_found(request))
    return error_response(ApiError(error.status_code, error.detail), error.headers)


async def _handle_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


async def _handle_unexpected_error(request: Request, error: Exception) -> Response:
    return error_response(internal_error())


def bind_socket(listen: str) -> socket.socket:
    """Take the port, before anything else is begun; raises ConfigError if that can't be had."""
    host, port = parse_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(f"http.listen: can't listen on {listen}: {error.strerror or error}") from None
    return listener


def parse_listen(listen: str) -> tuple[str, int]:
    """`7071`, `0.0.0.0:7071`, `[::1]:7071`; raises ConfigError."""
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(f"http.listen: {listen!r} is no address: write 7071, 127.0.0.1:7071 or [::1]:7071")
    return host.strip("[]") or "127.0.0.1", int(port)


def _format_url(host: str, port: int) -> str:
    """Where a server is reached that listens there; what listens everywhere is reached on this machine at least."""
    return f"http://{_bracket_ipv6(_WILDCARD_HOSTS.get(host, host))}:{port}"


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class HttpServer:
    """The server in its thread. It answers from `start` on; `leave` takes no new requests, and lets those end
    that run."""

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
            listen=f"{_bracket_ipv6(address)}:{port}",
            allowed_hosts=(*settings.allowed_hosts, self._host),
        )
        app = make_app(client, registry=registry, keys=keys, settings=resolved, shutdown=self._shutdown)
        self.endpoint = ManagementEndpoint(self.url, keys.code)
        self.routes = function_routes.list_routes(app.routes)
        self._on_stopped = on_stopped
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._stopped = False
        self._server = _Server(_make_uvicorn_config(app, settings, drain_timeout.total_seconds() / 2), self._ready)
        self._thread = threading.Thread(target=self._serve, name="durable-http", daemon=True)

    @property
    def url(self) -> str:
        """Where it is reached: under the name that was given for it."""
        return _format_url(self._host, self._socket.getsockname()[1])

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether it has ended though nobody told it to."""
        return self._stopped and not self._shutdown.requested

    def check(self) -> None:
        """Raises what it ended with, if it wasn't told to end when it did."""
        if self._error is not None:
            raise DurableError(f"the HTTP server broke: {type(self._error).__name__}: {self._error}") from self._error

    def start(self) -> None:
        """Returns when it answers."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def stop_accepting(self) -> None:
        """Take no new requests; the thread ends with the last that runs."""
        self._shutdown.requested = True
        self._server.should_exit = True

    def close(self) -> None:
        """End, whatever still runs."""
        self._server.should_exit = self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join(5.0)
        self._socket.close()

    def _serve(self) -> None:
        try:
            asyncio.run(self._server.serve([self._socket]))
            if not self._shutdown.requested and not self._server.force_exit:
                self._error = RuntimeError("it ended by itself")
        except BaseException as error:  # noqa: BLE001 - whoever waits for it to start is told
            self._error = error
        finally:
            self._stopped = True
            self._ready.set()
            self._on_stopped()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # our own lines say when it answers, and when it stops
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
    """Half of the files that the process may have open: the rest is the engine's."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_CONNECTIONS if soft < 0 else min(_MAX_CONNECTIONS, max(1, soft // 2))


class _LoopErrorHandler:
    """What the loop complains of, but for one thing now and then only: that there are no more handles, which it says
    for every connection that it can't take."""

    def __init__(self) -> None:
        self._next_warning_at = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_HANDLE_ERRNOS):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next_warning_at:
            self._next_warning_at = loop.time() + _WARNING_INTERVAL
            _log.warning("connections have to wait: %s", error.strerror)


def _make_uvicorn_config(app: Starlette, settings: HttpConfig, drain_timeout: float) -> uvicorn.Config:
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
        timeout_graceful_shutdown=cast("int", drain_timeout),  # it takes fractions too
    )
