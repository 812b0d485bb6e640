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

from durablecli.app import Registry
from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.errors import ConfigError, DurableError
from durablecli.http import function_routes
from durablecli.http.api_keys import LARGEST_HEAD, LONGEST_URL, Keys
from durablecli.http.engine_bridge import Desk
from durablecli.http.instances_api import Management, nothing_here
from durablecli.http.middleware import Guard, Hosts
from durablecli.http.origins import Origins
from durablecli.http.protocol import Connection
from durablecli.http.responses import Closing, Refused, defect, refusal_answer
from durablecli.management_links import BASE, Place

T = TypeVar("T", Mount, Route)
_log = logging.getLogger("durablecli.http")
_MOST_CONNECTIONS = 4096
_AT_ONCE = 128  # so many connections are taken before the first one is looked at
_NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_COMPLAIN_EVERY = 60.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  what isn't to be shown
_ALONE = "127.0.0.1:7071"


def make_app(
    client: Client,
    *,
    registry: Registry | None = None,
    keys: Keys | None = None,
    settings: HttpConfig | None = None,
    closing: Closing | None = None,
) -> Starlette:
    """Everything that a hub answers by HTTP. `client` posts to the engine of this process, or to the inbox.

    Once `closing` is said, requests that wait for an instance to end are answered as it stands.
    """
    keys, settings, closing = keys or Keys(), settings or HttpConfig(), closing or Closing()
    desk = Desk(client)
    management = Management(desk, keys, registry, closing)

    async def start(request: Request) -> Response:
        return await management.answer(request, ["orchestrators", request.path_params["name"]])

    origins = Origins(settings.allowed_origins, credentials=settings.allow_credentials)
    listen = str(settings.listen or _ALONE)
    address, port = parse_listen(listen)
    prefix = settings.route_prefix.strip("/")
    routes: list[BaseRoute] = [_without_case(Mount(BASE, management))]
    if registry is not None:
        place = Place(_url(address, port), keys.code)
        routes += function_routes.routes(registry, client, keys, prefix, place=place, origins=origins)
    for place_of_starts in dict.fromkeys((f"/{prefix}".rstrip("/"), "/api")):  # the second is what everybody writes
        path = f"{place_of_starts}/orchestrators/{{name}}"
        routes.append(_without_case(Route(path, start, methods=["POST"])))

    guard = Middleware(
        Guard,
        hosts=Hosts(address, settings.allowed_hosts),
        body_limit=settings.body_limit,
        body_timeout=settings.body_timeout.total_seconds(),
        closing=closing,
        origins=origins,
    )
    handlers = {HTTPException: _http_error, Refused: _refused, 500: _defect}
    app = Starlette(routes=routes, middleware=[guard, *origins.middleware()], exception_handlers=handlers)
    app.router.redirect_slashes = False  # no path but those of the API is an answer
    return app


def _without_case(route: T) -> T:
    """The same route, which doesn't care for capitals, as those of Azure don't."""
    route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
    return route


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code in (404, 405):
        return refusal_answer(nothing_here(request))
    return refusal_answer(Refused(error.status_code, error.detail), error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return refusal_answer(error)


async def _defect(request: Request, error: Exception) -> Response:
    return refusal_answer(defect())


def bind(listen: str) -> socket.socket:
    """Take the port, before anything else is begun; raises ConfigError if that can't be had."""
    host, port = parse_listen(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except OSError as error:
        taken.close()
        raise ConfigError(f"http.listen: can't listen on {listen}: {error.strerror or error}") from None
    return taken


def parse_listen(listen: str) -> tuple[str, int]:
    """`7071`, `0.0.0.0:7071`, `[::1]:7071`; raises ConfigError."""
    host, _, port = listen.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ConfigError(f"http.listen: {listen!r} is no address: write 7071, 127.0.0.1:7071 or [::1]:7071")
    return host.strip("[]") or "127.0.0.1", int(port)


def _url(host: str, port: int) -> str:
    """Where a server is reached that listens there; what listens everywhere is reached on this machine at least."""
    return f"http://{_bracketed(_ANYWHERE.get(host, host))}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


class HttpServer:
    """The server in its thread. It answers from `start` on; `leave` takes no new requests, and lets those end
    that run."""

    def __init__(
        self,
        taken: socket.socket,
        client: Client,
        registry: Registry,
        keys: Keys,
        settings: HttpConfig,
        drain: timedelta,
        left: Callable[[], None],
    ) -> None:
        self._socket = taken
        self._closing = Closing()
        address, port = taken.getsockname()[:2]
        self._name = address if settings.listen is None else parse_listen(str(settings.listen))[0]
        at = msgspec.structs.replace(
            settings,
            listen=f"{_bracketed(address)}:{port}",
            allowed_hosts=(*settings.allowed_hosts, self._name),
        )
        app = make_app(client, registry=registry, keys=keys, settings=at, closing=self._closing)
        self.place = Place(self.url, keys.code)
        self.served = function_routes.listing(app.routes)
        self._left = left
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self._over = False
        self._server = _Server(_uvicorn_config(app, settings, drain.total_seconds() / 2), self._ready)
        self._thread = threading.Thread(target=self._serve, name="durable-http", daemon=True)

    @property
    def url(self) -> str:
        """Where it is reached: under the name that was given for it."""
        return _url(self._name, self._socket.getsockname()[1])

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def broken(self) -> bool:
        """Whether it has ended though nobody told it to."""
        return self._over and not self._closing.said

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

    def leave(self) -> None:
        """Take no new requests; the thread ends with the last that runs."""
        self._closing.said = True
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
            if not self._closing.said and not self._server.force_exit:
                self._error = RuntimeError("it ended by itself")
        except BaseException as error:  # noqa: BLE001 - whoever waits for it to start is told
            self._error = error
        finally:
            self._over = True
            self._ready.set()
            self._left()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: threading.Event) -> None:
        super().__init__(config)
        logging.getLogger("uvicorn").setLevel(logging.WARNING)  # our own lines say when it answers, and when it stops
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_Complaints())
        await super().startup(sockets)
        self._ready.set()


def _connection(settings: HttpConfig) -> type[Connection]:
    own = {
        "head_timeout": settings.header_timeout.total_seconds(),
        "body_timeout": settings.body_timeout.total_seconds(),
        "most": _most_connections(),
    }
    return type("Connection", (Connection,), own)


def _most_connections() -> int:
    """Half of the files that the process may have open: the rest is the engine's."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_CONNECTIONS if soft < 0 else min(_MOST_CONNECTIONS, max(1, soft // 2))


class _Complaints:
    """What the loop complains of, but for one thing now and then only: that there are no more handles, which it says
    for every connection that it can't take."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_HANDLES):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + _COMPLAIN_EVERY
            _log.warning("connections have to wait: %s", error.strerror)


def _uvicorn_config(app: Starlette, settings: HttpConfig, drain: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=_connection(settings),
        ws="none",
        backlog=max(1, min(_AT_ONCE, _most_connections() // 4)),
        h11_max_incomplete_event_size=LARGEST_HEAD + LONGEST_URL,
        timeout_keep_alive=max(1, int(settings.keep_alive.total_seconds())),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=cast("int", drain),  # it takes fractions too
    )
