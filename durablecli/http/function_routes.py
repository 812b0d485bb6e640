"""The HTTP functions of an app: their routes, and the way from a request to a function and back.

What a function raises is logged with its trace, and the caller is told nothing but that there was an error.
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
from durablecli.blueprints import HttpTrigger
from durablecli.client import Client
from durablecli.errors import BindingUnavailable
from durablecli.http.api_keys import ApiKeys, KeyLevel
from durablecli.http.function_runner import FunctionRunner
from durablecli.http.origins import AllowedOrigins
from durablecli.http.requests import split_path
from durablecli.http.responses import error_response, internal_error, to_api_error
from durablecli.http.route_templates import RouteTemplate
from durablecli.management_links import ManagementEndpoint
from durablecli.registry import Function, Registry

_log = logging.getLogger("durablecli.function")
_ANY_METHOD = ("any",)
_BODILESS_STATUSES = frozenset({204, 304})
_is_header_value = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
_is_token = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_RESERVED_HEADERS = frozenset({"content-length", "transfer-encoding", "connection"})


class ResponseLike(Protocol):
    """What a function returns: our HttpResponse, or one of Azure's own."""

    @property
    def status_code(self) -> int: ...
    @property
    def mimetype(self) -> str: ...
    @property
    def charset(self) -> str: ...
    def get_body(self) -> bytes: ...


class RouteInfo(NamedTuple):
    """An HTTP function at its place: what `listing` tells. One for every method has the method `any`."""

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
    """A route for each HTTP function, the most specific first. What makes no sense is logged and left out.

    Pages of other sites than those of `origins` are refused: a function may start something at any method."""
    clients, runner = ClientProvider(client, endpoint), FunctionRunner()
    origins = origins or AllowedOrigins()
    found: list[FunctionRoute] = []
    for function in registry.functions_of_kind("http"):
        try:
            found.append(FunctionRoute(function, clients, keys, prefix.strip("/"), runner, origins))
        except ValueError as error:
            _log.error("not served: %s: %s", function.name, error)
    found.sort(key=lambda route: route.template.rank)
    return [*found]


def list_routes(routes: Sequence[BaseRoute]) -> list[RouteInfo]:
    """What is served, by name."""
    return sorted(route.info for route in routes if isinstance(route, FunctionRoute))


class FunctionRoute(BaseRoute):
    """One function, at the requests that its trigger asks for."""

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
        given = split_path(Request(scope), "")
        before, behind = given[: len(self._prefix)], given[len(self._prefix) :]
        if [part.lower() for part in before] != self._prefix:
            return None
        return self.template.match(behind)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self._origins.check(scope)
        self._keys.check(request, KeyLevel[self._trigger.auth_level])
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        asked = await _read_request(request)
        try:
            given = bind_arguments(self._function, {self._trigger.argument: asked}, self._clients)
        except BindingUnavailable as unavailable:
            _log.error("%s", unavailable)
            return error_response(to_api_error(unavailable))
        result, error = await self._runner.run(self._function, given)
        if error is None:
            try:
                answer = to_response(select_response(self._function, given, result))
            except Exception as wrong:  # noqa: BLE001 - what was returned may be anything
                error = wrong
            else:
                self._log_outputs(given, result)
                return answer
        _log.error("HTTP function '%s' failed", self._function.name, exc_info=error)
        return error_response(internal_error())

    def _log_outputs(self, given: Mapping[str, Any], result: Any) -> None:
        """Log what the function set on outputs that lead to the cloud: no history has it."""
        if found := output_bindings.record_outputs(self._function, given, result):
            _log.info(
                "HTTP function '%s': %s: %s",
                self._function.name,
                output_bindings.NOT_SENT,
                output_bindings.format_outputs(found),
            )


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
        _get_raw_url(request),
        headers=headers,
        params=params,
        route_params=request.path_params,
        body=await request.body(),
    )


def _get_raw_url(request: Request) -> str:
    """The URL as it was sent: what was escaped still is."""
    raw: bytes | None = request.scope.get("raw_path")
    if raw is None:
        return str(request.url)
    query: bytes = request.scope["query_string"]
    path = raw.partition(b"?")[0] + (b"?" + query if query else b"")
    return f"{request.url.scheme}://{request.url.netloc}{path.decode('latin-1')}"


def to_response(result: Any) -> Response:
    """The answer to what a function returned; raises TypeError and ValueError for what is none."""
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        return Response(result, 200, media_type="text/plain")
    if isinstance(result, bytes | bytearray):
        return Response(bytes(result), 200, media_type="application/octet-stream")
    if not all(hasattr(result, name) for name in ("get_body", "status_code", "headers")):
        raise TypeError(f"an HTTP function returns an HttpResponse, a str or None, not {type(result).__name__}")
    return _convert_response(result, list(_list_header_pairs(result.headers)))


def _convert_response(returned: ResponseLike, headers: list[tuple[str, str]]) -> Response:
    status = int(returned.status_code)
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of an answer")
    response = Response(b"" if status in _BODILESS_STATUSES else returned.get_body(), status)
    own = [(name, value) for name, value in headers if name.lower() not in _RESERVED_HEADERS]
    if not any(name.lower() == "content-type" for name, _ in own) and status not in _BODILESS_STATUSES:
        own.append(("content-type", _get_content_type(returned)))
    response.raw_headers += [(_encode_header_name(name), _encode_header_value(name, value)) for name, value in own]
    return response


def _list_header_pairs(headers: Any) -> list[tuple[str, str]]:
    """All headers, also those that share a name."""
    if callable(pairs := getattr(headers, "pairs", None)):
        return list(pairs())
    return [(name, value) for name, value in headers.items()]


def _get_content_type(returned: ResponseLike) -> str:
    kind = returned.mimetype
    return f"{kind}; charset={returned.charset}" if kind.startswith("text/") and "charset" not in kind else kind


def _encode_header_name(name: str) -> bytes:
    if not _is_token(name):
        raise ValueError(f"{name!r} is no name of a header")
    return name.lower().encode("ascii")


def _encode_header_value(name: str, value: object) -> bytes:
    text = str(value).strip()
    if not _is_header_value(text):
        raise ValueError(f"the header {name} holds a control character")
    return text.encode("latin-1")
