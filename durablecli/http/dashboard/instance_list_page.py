"""The list of instances, at `/`: filtered, sorted and in pages, all of which its URL says."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic, thread_time
from typing import NamedTuple

from starlette.responses import Response

from durablecli.client import Client, PageAndCounts, Query
from durablecli.http.dashboard.bulk_verbs import VERBS
from durablecli.http.dashboard.list_filters import BLOCKED, STATUSES, ListFilters, read_filters
from durablecli.http.dashboard.shared_reads import SharedReads
from durablecli.http.dashboard.site import DashboardSite, is_fragment
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.model.schedule_options import SCHEDULED_TIME_TAG

_MAX_EXACT_SECONDS = 0.1
_EXACT_SHARE = 0.01


class StatusChip(NamedTuple):
    """A status to filter by, with the number of instances that have it; None if nobody has counted."""

    label: str
    url: str
    number: int | None
    is_current: bool


class InstanceListPage:
    """Shows the list, and the part of it that follows changes.

    On a busy hub an exact list costs much more than the index alone, and is then read at most a hundredth of the time.
    """

    def __init__(self, site: DashboardSite) -> None:
        self._site = site
        self._shared_reads = SharedReads()
        self._exact_again_at = 0.0

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "", self.show)]

    async def show(self, request: ApiRequest) -> Response:
        """Show a page of the instances that match."""
        filters = read_filters(request.query.text)
        query = filters.to_query(datetime.now(UTC))
        indexed_only = monotonic() < self._exact_again_at
        if is_fragment(request.raw):
            found = await self._shared_reads.read(filters, lambda: self._read(query, indexed_only=indexed_only))
            names: list[str] = []
        else:
            found = await self._read(query, indexed_only=indexed_only)
            published = await self._site.bridge.read(lambda client: client.published())
            names = sorted(published.names("orchestrator")) if published else []
        chips = _make_chips(filters, found.counts)
        return self._site.render(
            request,
            "instances.html",
            scheduled_time_tag=SCHEDULED_TIME_TAG,  # the id of the instance has it, too
            filters=filters,
            page=found.page,
            chips=chips,
            count=next(chip.number for chip in chips if chip.is_current),
            names=names,
            has_all=not indexed_only,
            verbs=VERBS,
        )

    async def _read(self, query: Query, *, indexed_only: bool = False) -> PageAndCounts:
        def read(client: Client) -> PageAndCounts:
            began = thread_time()
            found = client.page_and_counts(query, indexed_only=indexed_only)
            took = thread_time() - began
            if not indexed_only and took > _MAX_EXACT_SECONDS:
                self._exact_again_at = monotonic() + took / _EXACT_SHARE
            return found

        return await self._site.bridge.read(read)


def _make_chips(filters: ListFilters, counts: dict[str, int]) -> list[StatusChip]:
    known = [*STATUSES, *sorted(set(counts) - set(STATUSES))]
    chips = [StatusChip("All", filters.url(status=""), sum(counts.values()), not filters.status)]
    chips += (StatusChip(each, filters.url(status=each), counts.get(each, 0), filters.status == each) for each in known)
    return [*chips, StatusChip(BLOCKED, filters.url(status=BLOCKED), None, filters.status == BLOCKED)]
