"""The HTTP functions of an app: their routes, and the conversion of requests to arguments and of results to responses.

An exception that a function raises is logged with its traceback; the response says only that there was an error.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from durablecli.azure import output_bindings
from durablecli.azure.http_types import HttpRequest
from durablecli.azure.invocation import ClientProvider, bind_arguments, select_response
from durablecli.bindings import HttpTrigger
from durablecli.client import Client
from durablecli.errors import BindingUnavailable
from durablecli.http.function_runner import FunctionRunner
from durablecli.http.key_check import check_key
from durablecli.http.origins import AllowedOrigins
from durablecli.http.requests import get_request_url, set_route, split_path
from durablecli.http.responses import error_response, internal_error, to_api_error
from durablecli.http.route_templates import RouteTemplate
from durablecli.management_links import ManagementEndpoint
from durablecli.registry import Function, Registry
from durablecli.serving.api_keys import ApiKeys, KeyLevel

_log = logging.getLogger("durablecli.function")
_ANY_METHOD = ("any",)
_BODILESS_STATUSES = frozenset({204, 304})
_is_header_value = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
_is_token = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_RESERVED_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})


class ResponseLike(Protocol):
    """A response that a function returns: durablecli's HttpResponse or Azure's own."""

    @property
    def status_code(self) -> int: ...
    @property
    def mimetype(self) -> str: ...
    @property
    def charset(self) -> str: ...
    def get_body(self) -> bytes: ...


class RouteInfo(NamedTuple):
    """The name, methods and path of an HTTP function; a function for every method has the method `any`."""

    name: str
    methods: tuple[str, ...]
    path: str


def build_routes(
    registry: Registry,
    client: Client,
    keys: ApiKeys,
    prefix: str = "api",
    *,
    endpoint: ManagementEndpoint | None = None,
    origins: AllowedOrigins | None = None,
) -> list[BaseRoute]:
    """Make a route for each HTTP function, the most specific first. An invalid route is logged and left out.

    Web pages of other origins than `origins` can't call a function by any method, since any may start something.
    """
    clients, runner = ClientProvider(client, endpoint), FunctionRunner()
    origins = origins or AllowedOrigins()
    routes: list[FunctionRoute] = []
    for function in registry.functions_of_kind("http"):
        try:
            routes.append(FunctionRoute(function, clients, keys, prefix.strip("/"), runner, origins))
        except ValueError as error:
            _log.error("HTTP function '%s' is not served: %s", function.name, error)
    routes.sort(key=lambda route: route.template.rank)
    return [*routes]


def list_routes(routes: Sequence[BaseRoute]) -> list[RouteInfo]:
    """The HTTP functions among the routes, sorted by name."""
    return sorted(route.info for route in routes if isinstance(route, FunctionRoute))


class FunctionRoute(BaseRoute):
    """The route of one HTTP function."""

    def __init__(
        self,
        function: Function,
        clients: ClientProvider,
        keys: ApiKeys,
        prefix: str,
        runner: FunctionRunner,
        origins: AllowedOrigins,
    ) -> None:
        assert isinstance(function.trigger, HttpTrigger)
        self._function = function
        self._trigger = function.trigger
        self._clients = clients
        self._keys = keys
        self._prefix = prefix.lower().split("/") if prefix else []
        self._runner = runner
        self._origins = origins
        self.template = RouteTemplate(function.name if function.trigger.route is None else function.trigger.route)

    @property
    def info(self) -> RouteInfo:
        path = self._trigger.path(self._function.name, "/".join(self._prefix))
        return RouteInfo(self._function.name, self._trigger.methods or _ANY_METHOD, path)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        methods = self._trigger.methods
        if scope["type"] == "http" and (methods is None or scope["method"] in methods):
            values = self._match_path(scope)
            if values is not None:
                return Match.FULL, {"path_params": values}
        return Match.NONE, {}

    def _match_path(self, scope: Scope) -> dict[str, str] | None:
        segments = split_path(Request(scope), "")
        prefix, rest = segments[: len(self._prefix)], segments[len(self._prefix) :]
        if [part.lower() for part in prefix] != self._prefix:
            return None
        return self.template.match(rest)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        set_route(scope, self.info.path)
        self._origins.check(scope)
        check_key(self._keys, request, KeyLevel[self._trigger.auth_level])
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        trigger_values = {self._trigger.argument: await _read_request(request)}
        try:
            arguments = bind_arguments(self._function, trigger_values, self._clients)
        except BindingUnavailable as unavailable:
            _log.error("%s", unavailable)
            return error_response(to_api_error(unavailable))
        result, error = await self._runner.run(self._function, arguments)
        if error is None:
            try:
                response = to_response(select_response(self._function, arguments, result))
            except Exception as conversion_error:  # noqa: BLE001 - the function may have returned anything
                error = conversion_error
            else:
                self._log_outputs(arguments, result)
                return response
        _log.error("HTTP function '%s' failed", self._function.name, exc_info=error)
        return error_response(internal_error())

    def _log_outputs(self, arguments: Mapping[str, Any], result: Any) -> None:
        if outputs := output_bindings.record_outputs(self._function, arguments, result):
            _log.info("HTTP function '%s': %s", self._function.name, output_bindings.format_unsent(outputs))


async def _read_request(request: Request) -> HttpRequest:
    params: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        params[name] = f"{params[name]},{value}" if name in params else value
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        joint = "; " if name == "cookie" else ","
        headers[name] = f"{headers[name]}{joint}{value}" if name in headers else value
    return HttpRequest(
        request.method,
        get_request_url(request),
        headers=headers,
        params=params,
        route_params=request.path_params,
        body=await request.body(),
    )


def to_response(result: Any) -> Response:
    """Convert the result of a function to a response; raises TypeError or ValueError if it is none."""
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        return Response(result, 200, media_type="text/plain")
    if isinstance(result, bytes | bytearray):
        return Response(bytes(result), 200, media_type="application/octet-stream")
    if not all(hasattr(result, name) for name in ("get_body", "status_code", "headers")):
        raise TypeError(
            f"an HTTP function must return an HttpResponse, a str, bytes or None, not {type(result).__name__}"
        )
    return _convert_response(result, list(_list_header_pairs(result.headers)))


def _convert_response(returned: ResponseLike, headers: list[tuple[str, str]]) -> Response:
    status = int(returned.status_code)
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is not a valid response status")
    response = Response(b"" if status in _BODILESS_STATUSES else returned.get_body(), status)
    kept = [(name, value) for name, value in headers if name.lower() not in _RESERVED_HEADERS]
    if not any(name.lower() == "content-type" for name, _ in kept) and status not in _BODILESS_STATUSES:
        kept.append(("content-type", _get_content_type(returned)))
    response.raw_headers += [(_encode_header_name(name), _encode_header_value(name, value)) for name, value in kept]
    return response


def _list_header_pairs(headers: Any) -> list[tuple[str, str]]:
    """All headers, including several of one name."""
    if callable(pairs := getattr(headers, "pairs", None)):
        return list(pairs())
    return [(name, value) for name, value in headers.items()]


def _get_content_type(returned: ResponseLike) -> str:
    kind = returned.mimetype
    return f"{kind}; charset={returned.charset}" if kind.startswith("text/") and "charset" not in kind else kind


def _encode_header_name(name: str) -> bytes:
    if not _is_token(name):
        raise ValueError(f"{name!r} is not a valid header name")
    return name.lower().encode("ascii")


def _encode_header_value(name: str, value: object) -> bytes:
    text = str(value).strip()
    if not _is_header_value(text):
        raise ValueError(f"the header {name} contains a control character")
    return text.encode("latin-1")
