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

from durablecli.app import Function, Registry
from durablecli.azure import output_bindings
from durablecli.azure.http_types import HttpRequest
from durablecli.azure.invocation import Clients, arguments, response
from durablecli.blueprints import HttpTrigger
from durablecli.client import Client
from durablecli.errors import BindingUnavailable
from durablecli.http.api_keys import Keys, Level
from durablecli.http.function_runner import Stage
from durablecli.http.origins import Origins
from durablecli.http.requests import parts
from durablecli.http.responses import defect, refusal_answer, refusal_of
from durablecli.http.route_templates import Template
from durablecli.management_links import Place

_log = logging.getLogger("durablecli.function")
_ANY = ("any",)
_WITHOUT_BODY = frozenset({204, 304})
_is_header = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*").fullmatch
_is_token = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+").fullmatch
_OURS = frozenset({"content-length", "transfer-encoding", "connection"})


class Answer(Protocol):
    """What a function returns: our HttpResponse, or one of Azure's own."""

    @property
    def status_code(self) -> int: ...
    @property
    def mimetype(self) -> str: ...
    @property
    def charset(self) -> str: ...
    def get_body(self) -> bytes: ...


class Served(NamedTuple):
    """An HTTP function at its place: what `listing` tells. One for every method has the method `any`."""

    name: str
    methods: tuple[str, ...]
    path: str


def routes(
    registry: Registry,
    client: Client,
    keys: Keys,
    prefix: str = "api",
    *,
    place: Place | None = None,
    origins: Origins | None = None,
) -> list[BaseRoute]:
    """A route for each HTTP function, the most specific first. What makes no sense is logged and left out.

    Pages of other sites than those of `origins` are refused: a function may start something at any method."""
    clients, stage = Clients(client, place), Stage()
    origins = origins or Origins()
    found: list[FunctionRoute] = []
    for function in registry.functions_of_kind("http"):
        try:
            found.append(FunctionRoute(function, clients, keys, prefix.strip("/"), stage, origins))
        except ValueError as error:
            _log.error("not served: %s: %s", function.name, error)
    found.sort(key=lambda route: route.template.rank)
    return [*found]


def listing(found: Sequence[BaseRoute]) -> list[Served]:
    """What is served, by name."""
    return sorted(route.served for route in found if isinstance(route, FunctionRoute))


class FunctionRoute(BaseRoute):
    """One function, at the requests that its trigger asks for."""

    def __init__(
        self, function: Function, clients: Clients, keys: Keys, prefix: str, stage: Stage, origins: Origins
    ) -> None:
        assert isinstance(function.trigger, HttpTrigger)
        self._function = function
        self._trigger = function.trigger
        self._clients = clients
        self._keys = keys
        self._prefix = prefix.lower().split("/") if prefix else []
        self._stage = stage
        self._origins = origins
        self.template = Template(function.name if function.trigger.route is None else function.trigger.route)

    @property
    def served(self) -> Served:
        path = self._trigger.path(self._function.name, "/".join(self._prefix))
        return Served(self._function.name, self._trigger.methods or _ANY, path)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        methods = self._trigger.methods
        if scope["type"] == "http" and (methods is None or scope["method"] in methods):
            values = self._read(scope)
            if values is not None:
                return Match.FULL, {"path_params": values}
        return Match.NONE, {}

    def _read(self, scope: Scope) -> dict[str, str] | None:
        given = parts(Request(scope), "")
        before, behind = given[: len(self._prefix)], given[len(self._prefix) :]
        if [part.lower() for part in before] != self._prefix:
            return None
        return self.template.read(behind)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self._origins.check(scope)
        self._keys.check(request, Level[self._trigger.auth_level])
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        asked = await _read_request(request)
        try:
            given = arguments(self._function, {self._trigger.argument: asked}, self._clients)
        except BindingUnavailable as unavailable:
            _log.error("%s", unavailable)
            return refusal_answer(refusal_of(unavailable))
        result, error = await self._stage.run(self._function, given)
        if error is None:
            try:
                answer = to_response(response(self._function, given, result))
            except Exception as wrong:  # noqa: BLE001 - what was returned may be anything
                error = wrong
            else:
                self._log_outputs(given, result)
                return answer
        _log.error("HTTP function '%s' failed", self._function.name, exc_info=error)
        return refusal_answer(defect())

    def _log_outputs(self, given: Mapping[str, Any], result: Any) -> None:
        """Log what the function set on outputs that lead to the cloud: no history has it."""
        if found := output_bindings.recorded(self._function, given, result):
            _log.info(
                "HTTP function '%s': %s: %s",
                self._function.name,
                output_bindings.NOT_SENT,
                output_bindings.described(found),
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
        _url(request),
        headers=headers,
        params=params,
        route_params=request.path_params,
        body=await request.body(),
    )


def _url(request: Request) -> str:
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
    return _from_answer(result, list(_pairs(result.headers)))


def _from_answer(answer: Answer, headers: list[tuple[str, str]]) -> Response:
    status = int(answer.status_code)
    if not 200 <= status <= 599:
        raise ValueError(f"{status} is no status of an answer")
    response = Response(b"" if status in _WITHOUT_BODY else answer.get_body(), status)
    own = [(name, value) for name, value in headers if name.lower() not in _OURS]
    if not any(name.lower() == "content-type" for name, _ in own) and status not in _WITHOUT_BODY:
        own.append(("content-type", _content_type(answer)))
    response.raw_headers += [(_encoded_name(name), _encoded(name, value)) for name, value in own]
    return response


def _pairs(headers: Any) -> list[tuple[str, str]]:
    """All headers, also those that share a name."""
    if callable(pairs := getattr(headers, "pairs", None)):
        return list(pairs())
    return [(name, value) for name, value in headers.items()]


def _content_type(answer: Answer) -> str:
    kind = answer.mimetype
    return f"{kind}; charset={answer.charset}" if kind.startswith("text/") and "charset" not in kind else kind


def _encoded_name(name: str) -> bytes:
    if not _is_token(name):
        raise ValueError(f"{name!r} is no name of a header")
    return name.lower().encode("ascii")


def _encoded(name: str, value: object) -> bytes:
    text = str(value).strip()
    if not _is_header(text):
        raise ValueError(f"the header {name} holds a control character")
    return text.encode("latin-1")
