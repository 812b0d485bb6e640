"""Pages of lists: how many rows they have, and where the next one begins."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from durablecli.client import Page, Query
from durablecli.grpc import list_pages
from durablecli.grpc.list_pages import read_list_page
from durablecli.model.status import InstanceSummary
from durablecli.store.query import make_page, sort_rows

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeMessage:
    def __init__(self, id: str, size: int) -> None:
        self.id = id
        self._size = size

    def ByteSize(self) -> int:  # noqa: N802  as protobuf has it
        return self._size


def make_row(number: int) -> InstanceSummary:
    at = START + timedelta(seconds=number)
    return InstanceSummary(
        id=f"i{number:02d}", name="f", status="Completed", execution="1", parent=None, version=None, created=at,
        updated=at, records=1, bytes=1, next_due=None, has_pending_work=False, waiting=(), blocked=None,
        blocked_at=None,
    )  # fmt: skip


ROWS = [make_row(number) for number in range(10)]


def read_page(query: Query) -> Page:
    found = [row for row in sort_rows(query, ROWS) if query.is_after_cursor(row)]
    return make_page(query, found[: query.limit + 1])


def read_all(size: int, sizes: Any = lambda id: 1, skipped: Any = lambda id: False) -> list[list[str]]:
    def make(rows: list[InstanceSummary]) -> Iterable[tuple[InstanceSummary, FakeMessage]]:
        return ((row, FakeMessage(row.id, sizes(row.id))) for row in rows if not skipped(row.id))

    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = read_list_page(read_page, Query(reverse=True, cursor=cursor), size, make)
        pages.append([message.id for message in page.messages])
        if (cursor := page.token) is None:
            return pages


@pytest.mark.parametrize("size", [1, 3, 5, 9, 10, 1000])
def test_pages_have_the_size_that_is_asked_for(size: int) -> None:
    pages = read_all(size)
    assert [id for page in pages for id in page] == [row.id for row in ROWS]
    assert all(len(page) == size for page in pages[:-1])


def test_rows_without_a_message_do_not_shorten_a_page() -> None:
    pages = read_all(2, skipped=lambda id: int(id[1:]) % 3 == 0)
    assert pages[0] == ["i01", "i02"]
    assert [id for page in pages for id in page] == ["i01", "i02", "i04", "i05", "i07", "i08"]


def test_a_page_ends_before_it_is_too_large_and_has_one_row_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_pages, "_MAX_BYTES", 100)
    pages = read_all(10, sizes=lambda id: 500 if id == "i04" else 40)
    assert pages == [["i00", "i01"], ["i02", "i03"], ["i04"], ["i05", "i06"], ["i07", "i08"], ["i09"]]
