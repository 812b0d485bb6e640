"""Pages of a list: rows as JSON, in responses of limited size, with a cursor to the next page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw
from starlette.responses import Response

from durablecli.client import Page, Query
from durablecli.http.requests import CONTINUATION_HEADER, ApiRequest
from durablecli.http.responses import json_response
from durablecli.limits import MAX_RESPONSE_BYTES


class JsonPage(NamedTuple):
    """The rows of a page as JSON, and the cursor to the next page."""

    rows: list[Raw]
    cursor: str | None

    def to_response(self) -> Response:
        return json_response(self.rows, headers={CONTINUATION_HEADER: self.cursor} if self.cursor else None)


def get_cursor(request: ApiRequest) -> str | None:
    """The cursor that a request continues from; None for the first page."""
    return request.raw.headers.get(CONTINUATION_HEADER) or None


def read_json_page(
    read_page: Callable[[Query], Page],
    query: Query,
    bodies: Callable[[Iterable[str]], Iterator[dict[str, Any] | None]],
) -> JsonPage:
    """Read a page up to the size limit of a response. `bodies` yields one body for each id, None to leave it out."""
    while True:
        page = read_page(query)
        ids = [row.id for row in page.rows]
        found, count = _take_fitting(bodies(ids))
        if count == len(ids):
            return JsonPage(found, page.cursor)
        part = read_page(msgspec.structs.replace(query, limit=count))
        if [row.id for row in part.rows] == ids[:count]:  # else a row was purged, and the cursor would skip another one
            return JsonPage(found, part.cursor)


def _take_fitting(bodies: Iterator[dict[str, Any] | None]) -> tuple[list[Raw], int]:
    """Encode bodies up to the size limit, at least one; also returns how many were consumed."""
    found: list[Raw] = []
    size = count = 0
    for body in bodies:
        count += 1
        if body is not None:
            text = msgspec.json.encode(body)
            found.append(Raw(text))
            size += len(text)
        if size >= MAX_RESPONSE_BYTES:
            break
    return found, count
