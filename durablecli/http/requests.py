"""What a request asks for: its path in decoded parts, its query with types, its body as JSON. What doesn't parse is
refused, never passed over."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from urllib.parse import parse_qsl, unquote_to_bytes

from msgspec import Raw
from starlette.requests import Request

from durablecli.config import parse_time
from durablecli.errors import UsageError
from durablecli.http.responses import ApiError
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model import payloads
from durablecli.model.events import NULL
from durablecli.model.status import OrchestrationRuntimeStatus

CONTINUATION_HEADER = "x-ms-continuation-token"
_MAX_QUERY_PARAMETERS = 100
_MAX_WAIT_SECONDS = 86_400.0
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}
_STATUSES = {status.value.lower(): status.value for status in OrchestrationRuntimeStatus}
# The numbers of the original, in the order of its enumeration.
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
    """The parts of the path behind the prefix, each decoded by itself: an escaped slash doesn't part anything."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    rest = raw.partition(b"?")[0][len(prefix) :].strip(b"/")
    try:
        return [unquote_to_bytes(part).decode() for part in rest.split(b"/")] if rest else []
    except UnicodeDecodeError:
        raise ApiError(400, "The path isn't UTF-8") from None


class QueryParams:
    """The query of a request; names are taken without case, and an empty value counts as none."""

    def __init__(self, request: Request) -> None:
        self._values: dict[str, list[str]] = {}
        try:
            text = request.scope["query_string"].decode("ascii")
            pairs = parse_qsl(text, True, errors="strict", max_num_fields=_MAX_QUERY_PARAMETERS) if text else []
        except ValueError:
            raise ApiError(400, "The query can't be read") from None
        self._names = {name.lower() for name, _ in pairs}
        for name, value in pairs:
            if value:
                self._values.setdefault(name.lower(), []).append(value)

    def text(self, name: str) -> str | None:
        """The value given last."""
        return self._values.get(name.lower(), [None])[-1]

    def text_or_empty(self, name: str) -> str | None:
        """The same, where an empty value is one."""
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
            return parse_time(text.replace(" ", "+") if "T" in text else text)  # a plus sign that wasn't escaped
        except UsageError:
            raise _invalid_value(name, text, "a time as 2026-12-01T09:00:00Z") from None

    def seconds(self, name: str) -> float | None:
        """A number of seconds, with fractions."""
        text = self.text(name)
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            raise _invalid_value(name, text, "a number of seconds") from None
        if not (isfinite(number) and 0 <= number <= _MAX_WAIT_SECONDS):
            raise _invalid_value(name, text, f"between 0 and {_MAX_WAIT_SECONDS:.0f} seconds")
        return number

    def page_size(self) -> int:
        """How many rows are asked for, no more than there may be."""
        text = self.text("top")
        if text is None:
            return 100
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
            raise _invalid_value("top", text, "a number from 1 on")
        return min(int(text), MAX_PAGE_SIZE)

    def statuses(self) -> tuple[str, ...]:
        """The runtime statuses, with commas between or given several times."""
        words = [word.strip() for text in self._values.get("runtimestatus", []) for word in text.split(",")]
        return tuple(dict.fromkeys(_parse_status(word) for word in words if word))


def _parse_status(word: str) -> str:
    found = _STATUSES.get(word.lower())
    if word in ("0", "1", "2", "3", "4", "5", "6", "7"):
        found = _STATUSES_BY_NUMBER[int(word)]
    if found is None:
        raise _invalid_value("runtimeStatus", word, f"one of {', '.join(_STATUSES.values())}")
    return found


def _invalid_value(name: str, text: str, expected: str) -> ApiError:
    return ApiError(400, f"The value of '{name}' is wrong", f"{name}={text[:100]!r} is not {expected}")


def is_json(request: Request) -> bool:
    """Whether the body says that it is JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json"


def parse_body(body: bytes, message: str = "Invalid JSON content") -> Raw:
    """The JSON of a body; nothing at all is null. A byte order mark before it doesn't count."""
    body = body.removeprefix(codecs.BOM_UTF8)
    if not body:
        return NULL
    try:
        return payloads.encode(payloads.decode(body))
    except (UsageError, ValueError) as error:
        raise ApiError(400, message, str(error), "JsonReaderException") from None


def path_matches(segments: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits: words are compared without case, and `{…}` fits whatever isn't empty."""
    return len(segments) == len(pattern) and all(
        part if wanted[0] == "{" else part.lower() == wanted for part, wanted in zip(segments, pattern, strict=True)
    )
