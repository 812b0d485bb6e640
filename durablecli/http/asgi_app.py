"""The ASGI app of a hub: its management API, its dashboard, and the HTTP functions of its app.

A function of the app wins over the dashboard everywhere but below `/ui/`.
"""

from __future__ import annotations

import re
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Scope

from durablecli.client import Client
from durablecli.config import HttpConfig
from durablecli.http import function_routes
from durablecli.http.dashboard.dashboard import PATH as DASHBOARD_PATH
from durablecli.http.dashboard.dashboard import Dashboard
from durablecli.http.management_api import ManagementApi
from durablecli.http.middleware import RequestGuard
from durablecli.http.monitoring import Monitoring
from durablecli.http.origins import AllowedOrigins
from durablecli.http.responses import ApiError, Shutdown, error_response, internal_error, route_not_found
from durablecli.management_links import BASE_PATH, ManagementEndpoint
from durablecli.registry import Registry
from durablecli.serving.addresses import DEFAULT_LISTEN, AllowedHosts, format_url, parse_listen
from durablecli.serving.api_keys import ApiKeys
from durablecli.serving.engine_bridge import EngineBridge

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
    origins = AllowedOrigins(settings.allowed_origins, credentials=settings.allow_credentials)
    address, _ = parse_listen(str(settings.listen or DEFAULT_LISTEN))
    routes = AppRoutes(client, registry, keys, settings, shutdown, origins)
    guard = Middleware(
        RequestGuard,
        hosts=AllowedHosts(address, settings.allowed_hosts),
        body_limit=settings.body_limit,
        body_timeout=settings.body_timeout.total_seconds(),
        shutdown=shutdown,
        origins=origins,
    )
    handlers = {HTTPException: _handle_http_error, ApiError: _handle_api_error, 500: _handle_unexpected_error}
    app = Starlette(routes=routes.make(), middleware=[guard, *origins.cors_middleware()], exception_handlers=handlers)
    app.router.redirect_slashes = False  # a path with a slash too many is an error
    app.state.routes = routes
    return app


def replace_functions(app: Starlette) -> None:
    """Serve the HTTP functions that the registry has now. Requests that have begun continue with the old ones."""
    app.router.routes = app.state.routes.make()


class AppRoutes:
    """The routes of the app, in their order."""

    def __init__(
        self,
        client: Client,
        registry: Registry | None,
        keys: ApiKeys,
        settings: HttpConfig,
        shutdown: Shutdown,
        origins: AllowedOrigins,
    ) -> None:
        self._client = client
        self._registry = registry
        self._keys = keys
        self._origins = origins
        self._prefix = settings.route_prefix.strip("/")
        address, port = parse_listen(str(settings.listen or DEFAULT_LISTEN))
        self._endpoint = ManagementEndpoint(format_url(address, port), keys.code)
        self._management = ManagementApi(EngineBridge(client), keys, registry, shutdown)
        self._pages = DashboardRoutes(Dashboard(client, keys, registry, shutdown, port), settings.dashboard)
        self._monitoring = Monitoring(client, keys, shutdown)

    def make(self) -> list[BaseRoute]:
        """Make the routes, with those of the HTTP functions that the registry has now."""
        functions: list[BaseRoute] = []
        if self._registry is not None:
            functions = function_routes.build_routes(
                self._registry, self._client, self._keys, self._prefix, endpoint=self._endpoint, origins=self._origins
            )
        function_paths = [each.path for each in function_routes.list_routes(functions)]
        management: list[BaseRoute] = [_make_case_insensitive(Mount(BASE_PATH, self._management))]
        routes = management + self._pages.before_functions
        routes += [*self._monitoring.make_routes(function_paths), *functions]
        for start_prefix in dict.fromkeys((f"/{self._prefix}".rstrip("/"), "/api")):  # the second is the usual one
            path = f"{start_prefix}/orchestrators/{{name}}"
            routes.append(_make_case_insensitive(Route(path, self._start, methods=["POST"])))
        return routes + self._pages.after_functions

    async def _start(self, request: Request) -> Response:
        return await self._management.handle(request, ["orchestrators", request.path_params["name"]])


class DashboardRoutes:
    """The routes of the dashboard, none if it is off: what is below `/ui/`, and what no function of the app answers."""

    def __init__(self, dashboard: Dashboard, is_on: bool) -> None:
        self.before_functions: list[BaseRoute] = [Mount(DASHBOARD_PATH, dashboard)] if is_on else []
        self.after_functions: list[BaseRoute] = [_BrowserRoute("/{path:path}", dashboard)] if is_on else []


class _BrowserRoute(Route):
    """`/` for every client that takes HTML, and for browsers all other paths too, so that errors are pages."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found = super().matches(scope)
        if found[0] is Match.NONE or scope["method"] not in ("GET", "HEAD"):
            return Match.NONE, {}
        accepted = Request(scope).headers.get("accept", "*/*").lower()
        takes_html = "text/html" in accepted or (scope["path"] == "/" and "json" not in accepted)
        return found if takes_html else (Match.NONE, {})


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
