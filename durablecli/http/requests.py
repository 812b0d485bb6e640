"""Reading requests: the path in decoded segments, the query by type, the body as JSON. Invalid values are errors, never
ignored."""

from __future__ import annotations

import codecs
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from math import isfinite
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from durablecli.errors import UsageError
from durablecli.http.responses import ApiError
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model import payloads
from durablecli.model.events import NULL
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.parsing import parse_tags, parse_time
from durablecli.telemetry.interface import ROUTE

CONTINUATION_HEADER = "x-ms-continuation-token"
DEFAULT_PAGE_SIZE = 100
MAX_WAIT_SECONDS = 86_400
MAX_RECORD_NUMBER = 999_999_999
_MAX_QUERY_PARAMETERS = 100
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_STATUSES = {status.value.lower(): status.value for status in OrchestrationRuntimeStatus}
# Durable Functions numbers the statuses in this order.
_STATUSES_BY_NUMBER = (
    "Running",
    "Completed",
    "ContinuedAsNew",
    "Failed",
    "Canceled",
    "Terminated",
    "Pending",
    "Suspended",
)


def split_path(request: Request, prefix: str) -> list[str]:
    """The segments of the path after the prefix, each decoded on its own: an escaped slash separates nothing."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    rest = raw.partition(b"?")[0][len(prefix) :].strip(b"/")
    try:
        return [unquote_to_bytes(part).decode() for part in rest.split(b"/")] if rest else []
    except UnicodeDecodeError:
        raise ApiError(400, "The path is not valid UTF-8") from None


def set_route(scope: Scope, path: str) -> None:
    """Note the template of the path that a request is served by, if requests are traced: only those with one are."""
    route = scope.get(ROUTE)
    if route is not None:
        route[0] = path


def get_request_origin(request: Request) -> str:
    """The origin that the client used; its host has been checked by then."""
    return f"{request.scope['scheme']}://{request.headers.get('host') or request.url.netloc}"


def get_request_url(request: Request) -> str:
    """The URL that the client used, escaped as it was sent."""
    raw: bytes = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    query: bytes = request.scope["query_string"]
    path = raw.partition(b"?")[0] + (b"?" + query if query else b"")
    return get_request_origin(request) + path.decode("latin-1")


class QueryParams:
    """The query of a request. Names are compared without case, and an empty value counts as absent."""

    def __init__(self, request: Request) -> None:
        self._values: dict[str, list[str]] = {}
        try:
            text = request.scope["query_string"].decode("ascii")
            pairs = parse_qsl(text, True, errors="strict", max_num_fields=_MAX_QUERY_PARAMETERS) if text else []
        except ValueError:
            raise ApiError(400, "The query can't be parsed") from None
        self._names = {name.lower() for name, _ in pairs}
        for name, value in pairs:
            if value:
                self._values.setdefault(name.lower(), []).append(value)

    def text(self, name: str) -> str | None:
        """The last value given."""
        return self._values.get(name.lower(), [None])[-1]

    def text_or_empty(self, name: str) -> str | None:
        """The last value given, where an empty one counts."""
        found = self.text(name)
        return "" if found is None and name.lower() in self._names else found

    def flag(self, name: str, default: bool) -> bool:
        """`true` or `false`."""
        text = self.text(name)
        if text is None:
            return default
        if text.lower() not in _BOOLEANS:
            raise _invalid_value(name, text, "true or false")
        return _BOOLEANS[text.lower()]

    def time(self, name: str) -> datetime | None:
        """An ISO 8601 time; without a zone it is UTC."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return parse_time(text.replace(" ", "+") if "T" in text else text)  # the space is an unescaped plus sign
        except UsageError:
            raise _invalid_value(name, text, "a time such as 2026-12-01T09:00:00Z") from None

    def seconds(self, name: str) -> float | None:
        """A number of seconds, possibly with a fraction."""
        text = self.text(name)
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            raise _invalid_value(name, text, "a number of seconds") from None
        if not (isfinite(number) and 0 <= number <= MAX_WAIT_SECONDS):
            raise _invalid_value(name, text, f"between 0 and {MAX_WAIT_SECONDS} seconds")
        return number

    def record_number(self, name: str) -> int | None:
        """The number of a record that is not the first of its history."""
        text = self.text(name)
        if text is None:
            return None
        if not (_is_short_number(text) and int(text) >= 2):
            raise _invalid_value(name, text, f"the number of a record: 2 to {MAX_RECORD_NUMBER}")
        return int(text)

    def page_size(self, name: str = "top") -> int:
        """The number of rows asked for, up to the largest page."""
        text = self.text(name)
        if text is None:
            return DEFAULT_PAGE_SIZE
        if not (_is_short_number(text) and int(text) > 0):
            raise _invalid_value(name, text, "a number of 1 or more")
        return min(int(text), MAX_PAGE_SIZE)

    def statuses(self) -> tuple[str, ...]:
        """The runtime statuses, separated by commas or given several times."""
        words = [word.strip() for text in self._values.get("runtimestatus", []) for word in text.split(",")]
        return tuple(dict.fromkeys(_parse_status(word) for word in words if word))

    def tags(self) -> dict[str, str]:
        """The tags, each given as `tag=KEY=VALUE`."""
        try:
            return parse_tags(self._values.get("tag", ()))
        except UsageError as error:
            raise ApiError(400, "Invalid value of 'tag'", str(error)) from None


class ApiRequest(NamedTuple):
    """A request to the management API: the values of the `{…}` segments of its route, in order, and its query."""

    raw: Request
    path_values: tuple[str, ...]
    query: QueryParams


class ApiRoute:
    """A method and path of the management API, and the handler of requests for it."""

    def __init__(self, method: str, path: str, handler: Callable[[ApiRequest], Awaitable[Response]]) -> None:
        self.method = method
        self.path = path
        self.handler = handler
        self._pattern = path.split("/") if path else []

    def match(self, segments: Sequence[str]) -> tuple[str, ...] | None:
        """The values of the `{…}` segments, which can't be empty; None if the path doesn't match. Case is ignored."""
        if len(segments) != len(self._pattern):
            return None
        values = []
        for segment, part in zip(segments, self._pattern, strict=True):
            if part[0] == "{":
                values.append(segment)
            elif segment.lower() != part:
                return None
        return tuple(values) if all(values) else None


def _is_short_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _parse_status(word: str) -> str:
    found = _STATUSES.get(word.lower())
    if word in ("0", "1", "2", "3", "4", "5", "6", "7"):
        found = _STATUSES_BY_NUMBER[int(word)]
    if found is None:
        raise _invalid_value("runtimeStatus", word, f"one of {', '.join(_STATUSES.values())}")
    return found


def _invalid_value(name: str, text: str, expected: str) -> ApiError:
    return ApiError(400, f"Invalid value of '{name}'", f"{name}={text[:100]!r} is not {expected}")


def is_json(request: Request) -> bool:
    """Whether the content type of the body is JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def parse_body(body: bytes, message: str = "Invalid JSON content") -> Raw:
    """Parse a body as JSON. An empty body is null, and a byte order mark is skipped."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body:
        return NULL
    try:
        return payloads.encode(payloads.decode(body))
    except (UsageError, ValueError) as error:
        raise ApiError(400, message, str(error), "JsonReaderException") from None
