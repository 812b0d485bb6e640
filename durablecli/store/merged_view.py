"""Lists of instances as of one moment: the rows of the index, merged with what the index doesn't have yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from durablecli.model.status import InstanceSummary
from durablecli.store.index import IndexReader
from durablecli.store.query import Page, Query, make_page, sort_rows

K = TypeVar("K", bound=Hashable)


class PageAndCounts(NamedTuple):
    """One page of rows, and the number of matches by their status."""

    page: Page
    counts: dict[str, int]


class MergedView(NamedTuple):
    """A table, the newer rows of instances for which it is outdated (None: purged), and the unconsumed starts.

    `used_numbers` are the numbers of the messages that changed some of these rows.
    """

    table: IndexReader
    newer_rows: dict[str, InstanceSummary | None]
    pending_rows: dict[str, InstanceSummary]
    used_numbers: set[int]

    def page(self, query: Query) -> Page:
        """Return the matching rows, in order."""
        return self._page(query, self._extra_rows())

    def _page(self, query: Query, extra: Iterable[InstanceSummary]) -> Page:
        # Enough rows remain, however many of them turn out to be newer than in the index.
        rows = self.table.rows(query, query.limit + 1 + len(self.newer_rows))
        rows = [row for row in rows if row.id not in self.newer_rows]
        rows += (row for row in extra if query.matches(row) and query.is_after_cursor(row))
        return make_page(query, sort_rows(query, rows))

    def count(self, query: Query) -> int:
        """Count the matching rows."""
        outdated = sum(1 for row in self._outdated_rows() if query.matches(row))
        return self.table.count(query) - outdated + sum(1 for row in self._extra_rows() if query.matches(row))

    def page_and_counts(self, query: Query) -> PageAndCounts:
        """Return a page, and the number of rows of each status that match regardless of their status."""
        any_status = msgspec.structs.replace(query, status=(), blocked=False)
        counts = self.count_groups(any_status, lambda index: index.count_by_status(any_status), lambda row: row.status)
        return PageAndCounts(self.page(query), counts)

    def count_groups(
        self, query: Query, count: Callable[[IndexReader], dict[K, int]], key: Callable[[InstanceSummary], K]
    ) -> dict[K, int]:
        """Count the matching rows of each group: `count` counts those of the table, `key` is the group of a row."""
        counts = Counter(count(self.table))
        counts.subtract(key(row) for row in self._outdated_rows() if query.matches(row))
        counts.update(key(row) for row in self._extra_rows() if query.matches(row))
        return {each: number for each, number in counts.items() if number > 0}

    def count_children(self, parents: Sequence[str]) -> dict[str, int]:
        """Count the sub-orchestrations of each of these instances."""
        counts: Counter[str | None] = Counter({parent: self.table.count(Query(parent=parent)) for parent in parents})
        counts.subtract(row.parent for row in self._outdated_rows() if row.parent in counts)
        counts.update(row.parent for row in self._extra_rows() if row.parent in counts)
        return {parent: counts[parent] for parent in parents}

    def children(self, parents: Sequence[str], limit: int) -> dict[str, list[InstanceSummary]]:
        """Return the sub-orchestrations of each of these instances, the oldest first, and of each at most `limit`."""
        extra = [row for row in self._extra_rows() if row.parent is not None]
        queries = (Query(parent=parent, reverse=True, limit=limit) for parent in parents)
        return {parent: self._page(query, extra).rows for parent, query in zip(parents, queries, strict=True)}

    def _outdated_rows(self) -> Iterator[InstanceSummary]:
        """Yield the rows of the table that aren't true any more."""
        old = (self.table.get(instance) for instance in self.newer_rows)
        return (row for row in old if row is not None)

    def _extra_rows(self) -> Iterator[InstanceSummary]:
        """Yield the rows that aren't in the table."""
        yield from (row for row in self.newer_rows.values() if row is not None)
        yield from self.pending_rows.values()
