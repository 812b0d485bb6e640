"""Pages of lists: as many rows as are asked for and as fit into a response, with a token for the next page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from durablecli.client import Page, Query
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model.status import InstanceSummary

_MAX_BYTES = 3 * 1024 * 1024
"""Of the messages of a page. By default clients accept 4 MiB."""


class ListPage(NamedTuple):
    """The messages of a page, and the token for the next one; None at the end."""

    messages: list[Any]
    token: str | None


def read_list_page(
    read_page: Callable[[Query], Page],
    query: Query,
    size: int,
    make_messages: Callable[[list[InstanceSummary]], Iterable[tuple[InstanceSummary, Any]]],
) -> ListPage:
    """Read rows until there are `size` messages, or as many as fit. `make_messages` yields those of the rows that have
    one, in their order."""
    found: list[Any] = []
    total = 0
    while True:
        page = read_page(msgspec.structs.replace(query, limit=min(size - len(found), MAX_PAGE_SIZE)))
        last = query.cursor
        for row, message in make_messages(page.rows):
            total += message.ByteSize()
            if found and total > _MAX_BYTES:
                return ListPage(found, last)
            found.append(message)
            last = query.make_cursor(row)
        if page.cursor is None or len(found) >= size:
            return ListPage(found, page.cursor)
        query = msgspec.structs.replace(query, cursor=page.cursor)


def pair_with_rows(
    rows: list[InstanceSummary], values: Iterable[Any], get_id: Callable[[Any], str]
) -> Iterator[tuple[InstanceSummary, Any]]:
    """Yield each value with its row; some rows may have none."""
    by_id = {row.id: row for row in rows}
    return ((by_id[get_id(value)], value) for value in values)
