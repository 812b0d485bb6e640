"""The list of entities, and the page of one: its state, its queue, who holds its lock, and what failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Raw
from starlette.responses import Response

from durablecli.client import Client, EntityStatus, Page, Query, QueuedEntityRequest
from durablecli.errors import UsageError
from durablecli.http.dashboard.payload_view import show_payload
from durablecli.http.dashboard.site import PAGE_HEADERS, DashboardSite
from durablecli.http.dashboard.template_filters import query_url
from durablecli.http.dashboard.verb_buttons import entity_buttons, verb_url
from durablecli.http.requests import ApiRequest, ApiRoute, QueryParams
from durablecli.http.responses import ApiError
from durablecli.model.entity_id import EntityId, to_entity_id

STATUSES = ("Exists", "Empty")
SORTS = ("updated", "created", "id")
_PAGE_SIZE = 50
_MAX_LISTED = 50


class EntityFilters(NamedTuple):
    """The filters of the list, as the URL has them; `search` is the beginning of an id, with or without its first @."""

    search: str = ""
    status: str = ""
    locked: bool = False
    sort: str = "updated"
    reverse: bool = False
    cursor: str = ""

    @property
    def is_filtered(self) -> bool:
        return bool(self.search or self.status or self.locked)

    def url(self, **changes: object) -> str:
        """The URL of the list with these filters, on its first page unless a cursor is among the changes."""
        values = {**self._asdict(), "cursor": "", **changes}
        return query_url({**values, "sort": "" if values["sort"] == "updated" else values["sort"]}, "/ui/entities")

    def to_query(self) -> Query:
        """The query of the client."""
        return Query(
            status=(self.status,) if self.status else (),
            prefix=normalize_search(self.search),
            sort=self.sort,
            reverse=self.reverse,
            limit=_PAGE_SIZE,
            cursor=self.cursor or None,
            locked=self.locked,
            hides_internal=True,
        )


def read_entity_filters(params: QueryParams) -> EntityFilters:
    """Read the filters from a URL; raise ApiError for values that no page offers."""
    status, sort = params.text("status") or "", params.text("sort") or "updated"
    if status and status not in STATUSES:
        raise ApiError(400, "Invalid status", f"status={status[:100]!r} is not one of {', '.join(STATUSES)}")
    if sort not in SORTS:
        raise ApiError(400, "Invalid order", f"sort={sort[:100]!r} is not one of {', '.join(SORTS)}")
    search = (params.text("search") or "").strip()
    locked, reverse = params.flag("locked", False), params.flag("reverse", False)
    return EntityFilters(search, status, locked, sort, reverse, params.text("cursor") or "")


def normalize_search(text: str) -> str:
    """Return the beginning of an id for what was typed: the name in lower case, after an @."""
    if not text:
        return ""
    name, sign, key = text.removeprefix("@").partition("@")
    return f"@{name.lower()}{sign}{key}"


class EntityPages:
    """Shows the list and the pages of entities."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "ui/entities", self.show_list),
            ApiRoute("GET", "ui/entities/{id}", self.show),
            ApiRoute("GET", "ui/entities/{id}/state", self.get_state),
        ]

    async def show_list(self, request: ApiRequest) -> Response:
        """Show a page of the entities that match."""
        filters = read_entity_filters(request.query)
        query = filters.to_query()

        def read(client: Client) -> tuple[Page, int, list[str]]:
            published = client.published()
            names = [] if published is None else sorted(published.names("entity"), key=str.casefold)
            return client.list_entities(query), client.count_entities(query), names

        page, count, names = await self._site.bridge.read(read)
        return self._site.render(
            request,
            "entities.html",
            filters=filters,
            page=page,
            count=count,
            names=names,
            statuses=STATUSES,
            signal_url=_make_signal_url(filters.search) if not page.rows else "",
        )

    async def show(self, request: ApiRequest) -> Response:
        """Show one entity."""
        status = await self._read(request)
        queued, running = split_queue(status)
        return self._site.render(
            request,
            "entity.html",
            entity=status.entity_id,
            id=str(status.entity_id),
            found=status,
            buttons=entity_buttons(status),
            state=show_payload("state", status.shown_state) if status.exists else None,
            running=running,
            queued=queued,
            max_listed=_MAX_LISTED,
        )

    async def get_state(self, request: ApiRequest) -> Response:
        """Send the whole state, as JSON."""
        status = await self._read(request)
        headers = {**PAGE_HEADERS, "content-disposition": "inline"}
        return Response(bytes(status.shown_state if status.exists else Raw(b"null")), 200, headers, "application/json")

    async def _read(self, request: ApiRequest) -> EntityStatus:
        entity = _parse_entity_id(request.path_values[0])
        status = await self._site.bridge.read(lambda client: client.entity(entity))
        if not status:
            raise ApiError(404, "Not found", f"Nothing was ever sent to the entity {entity}.")
        return status


def _make_signal_url(search: str) -> str:
    """The URL of the form that sends the first operation to an entity; empty if the text isn't a whole id."""
    try:
        return verb_url("signal", str(to_entity_id(normalize_search(search))))
    except UsageError:
        return ""


def split_queue(status: EntityStatus) -> tuple[Sequence[QueuedEntityRequest], Sequence[QueuedEntityRequest]]:
    """Return the requests that wait, and the operations that run; those are the first in the queue of a status."""
    count = 0 if status.running is None else status.running.operations
    return status.queued[count:], status.queued[:count]


def _parse_entity_id(text: str) -> EntityId:
    try:
        return to_entity_id(text)
    except UsageError as error:
        raise ApiError(404, "Not found", str(error)) from None
