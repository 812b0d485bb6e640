"""The ASGI app of a hub: its management API and the HTTP functions of its app."""

from __future__ import annotations

import re
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.http import function_routes
from durablecli.http.addresses import DEFAULT_LISTEN, AllowedHosts, format_url, parse_listen
from durablecli.http.api_keys import ApiKeys
from durablecli.http.engine_bridge import EngineBridge
from durablecli.http.management_api import ManagementApi
from durablecli.http.middleware import RequestGuard
from durablecli.http.origins import AllowedOrigins
from durablecli.http.responses import ApiError, Shutdown, error_response, internal_error, route_not_found
from durablecli.management_links import BASE_PATH, ManagementEndpoint
from durablecli.registry import Registry

T = TypeVar("T", Mount, Route)


def make_app(
    client: Client,
    *,
    registry: Registry | None = None,
    keys: ApiKeys | None = None,
    settings: HttpConfig | None = None,
    shutdown: Shutdown | None = None,
) -> Starlette:
    """Make the ASGI app. `client` submits to the engine of this process, or posts to the inbox.

    Once `shutdown` is requested, requests that wait for an instance to end get its present status.
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
        endpoint = ManagementEndpoint(format_url(address, port), keys.code)
        routes += function_routes.build_routes(registry, client, keys, prefix, endpoint=endpoint, origins=origins)
    for start_prefix in dict.fromkeys((f"/{prefix}".rstrip("/"), "/api")):  # the second is the usual one
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
    app.router.redirect_slashes = False  # a path with a slash too many is an error
    return app


def _make_case_insensitive(route: T) -> T:
    """Have a route ignore case, as Azure does."""
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
