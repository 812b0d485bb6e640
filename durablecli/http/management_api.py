"""The management API of Durable Functions: authorizes each request and routes it to its handler.

It is stricter than the original: an invalid filter is an error, a bulk purge leaves running instances alone, a running
instance isn't started a second time (409), restarting an unknown instance is 404, and suspending twice is no error.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from durablecli.errors import DurableError
from durablecli.http.entities_api import EntitiesApi
from durablecli.http.input_rules import list_input_schemas
from durablecli.http.instances_api import InstancesApi
from durablecli.http.key_check import check_key
from durablecli.http.logs_api import LogsApi
from durablecli.http.openapi import build_document
from durablecli.http.openapi_inputs import add_inputs
from durablecli.http.origins import SAFE_METHODS, cross_site_error, is_cross_site
from durablecli.http.requests import ApiRequest, ApiRoute, QueryParams, set_route, split_path
from durablecli.http.responses import ApiError, Shutdown, error_response, json_response, route_not_found, to_api_error
from durablecli.http.schedules_api import SchedulesApi
from durablecli.management_links import BASE_PATH
from durablecli.registry import Registry
from durablecli.serving.api_keys import ApiKeys, KeyLevel
from durablecli.serving.engine_bridge import EngineBridge

_BASE_DEPTH = len(BASE_PATH.strip("/").split("/"))


class ManagementApi:
    """The API below /runtime/webhooks/durabletask, as an ASGI app."""

    def __init__(
        self, bridge: EngineBridge, keys: ApiKeys, registry: Registry | None, shutdown: Shutdown | None = None
    ) -> None:
        self._keys = keys
        self._bridge = bridge
        self._registry = registry
        self._routes = [
            *InstancesApi(bridge, keys.code, registry, shutdown or Shutdown()).routes,
            *EntitiesApi(bridge).routes,
            *LogsApi(bridge).routes,
            *SchedulesApi(bridge).routes,
            ApiRoute("GET", "openapi.json", self.get_openapi),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self.handle(request, split_path(request, "")[_BASE_DEPTH:])
        await response(scope, receive, send)

    async def handle(self, request: Request, path: list[str]) -> Response:
        """Respond to a request for a path below the base path."""
        try:
            # Even a page of an allowed origin may change something only by calling functions.
            if request.method not in SAFE_METHODS and is_cross_site(request.scope):
                raise cross_site_error()
            check_key(self._keys, request, KeyLevel.SYSTEM)
            method = "GET" if request.method == "HEAD" else request.method  # the body is left out when it is sent
            for route in self._routes:
                if route.method == method and (values := route.match(path)) is not None:
                    if method not in SAFE_METHODS:
                        set_route(request.scope, f"{BASE_PATH}/{route.path}")
                    return await route.handler(ApiRequest(request, values, QueryParams(request)))
        except DurableError as error:
            return error_response(to_api_error(error))
        except ApiError as error:
            return error_response(error)
        return error_response(route_not_found(request))

    async def get_openapi(self, request: ApiRequest) -> Response:
        """Respond with the OpenAPI document."""
        schemas = await list_input_schemas(self._registry, self._bridge)
        return json_response(add_inputs(build_document(), schemas))
