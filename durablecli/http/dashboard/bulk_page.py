"""Verbs for many instances: a page that says what will be done to how many, and the form that does it.

The instances are those that the user has ticked, or all that match the filters. Of the latter, no more are acted on
than the page has said: if more match by then, it asks again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import msgspec
from starlette.responses import Response

from durablecli.client import Client, MessageItem, Query
from durablecli.errors import DurableError, NotFound
from durablecli.http.dashboard.bulk_verbs import VERBS, BulkVerb
from durablecli.http.dashboard.forms import FormValues, read_form
from durablecli.http.dashboard.list_filters import ListFilters, read_filters
from durablecli.http.dashboard.site import DashboardSite
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.http.responses import ApiError
from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model.ids import check_instance_id
from durablecli.model.validation import check_reason
from durablecli.plurals import format_count

MAX_INSTANCES = 10_000
"""That one form acts on; the oldest come first, and the same form does the next ones."""
_MAX_SHOWN = 20
_MAX_TICKED = 500
_MAX_ERRORS_SHOWN = 3


class ChosenInstance(NamedTuple):
    """An instance that a verb applies to."""

    id: str
    name: str
    status: str
    created: datetime | None


class BulkSelection(NamedTuple):
    """The first instances that a verb applies to, and the number of all; `left_out` more are chosen, but it doesn't
    apply to them."""

    rows: list[ChosenInstance]
    total: int
    left_out: int


class BulkPage:
    """Shows what a verb would do, and does it."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("POST", "ui/bulk/preview", self.preview),
            ApiRoute("POST", "ui/bulk", self.act),
        ]

    async def preview(self, request: ApiRequest) -> Response:
        """Show what would be done. It changes nothing, but the ids of many instances don't fit into a URL."""
        return await self._show_preview(request, await read_form(request.raw))

    async def act(self, request: ApiRequest) -> Response:
        """Do it, and go back to the list."""
        form = await read_form(request.raw)
        verb, filters, ids = _read_selection(form)
        expected, reason = _read_number(form.text("expected")), check_reason(form.text("reason"))
        query = _matching_query(filters, verb)

        def choose(client: Client) -> list[str]:
            chosen = iter(ids) if ids else client.iter_ids(query)
            return list(islice(chosen, MAX_INSTANCES + 1))

        chosen = await self._site.bridge.read(choose)
        if not ids and min(len(chosen), MAX_INSTANCES) > expected:
            return await self._show_preview(request, form, warning="More instances match now. Please look again.")
        errors: dict[str, DurableError] = {}
        chosen = chosen[:MAX_INSTANCES]
        for at in range(0, len(chosen), MAX_ITEMS_PER_MESSAGE):
            items = [verb.make_item(id, reason) for id in chosen[at : at + MAX_ITEMS_PER_MESSAGE]]
            outcomes = await self._site.bridge.call(_make_call(verb.kind, items))
            # A purge of a parent has deleted its children.
            errors |= {
                id: error
                for id, error in outcomes.items()
                if error is not None and not (verb.kind == "purge" and isinstance(error, NotFound))
            }
        text, kind = _describe_outcome(verb, len(chosen) - len(errors), errors)
        return self._site.redirect(filters.url(), text, kind=kind)

    async def _show_preview(self, request: ApiRequest, form: FormValues, warning: str = "") -> Response:
        verb, filters, ids = _read_selection(form)
        selection = await self._site.bridge.read(lambda client: _select(client, verb, filters, ids))
        return self._site.render(
            request,
            "bulk.html",
            verb=verb,
            filters=filters,
            ids=[row.id for row in selection.rows] if ids else [],
            selection=selection,
            shown=selection.rows[:_MAX_SHOWN],
            expected=min(selection.total, MAX_INSTANCES),
            reason=form.text("reason"),
            warning=warning,
        )


def _read_selection(form: FormValues) -> tuple[BulkVerb, ListFilters, list[str]]:
    verb = VERBS.get(form.text("verb"))
    if verb is None:
        raise ApiError(400, f"Choose what to do: {', '.join(VERBS)}")
    ids = [check_instance_id(id) for id in dict.fromkeys(form.texts("id"))]
    if len(ids) > _MAX_TICKED:
        raise ApiError(400, f"Tick at most {_MAX_TICKED} instances, or filter them")
    return verb, read_filters(lambda name: form.text(name) or None), ids


def _read_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _matching_query(filters: ListFilters, verb: BulkVerb) -> Query:
    """The instances that match the filters and are in a status for the verb, the oldest first."""
    query = msgspec.structs.replace(filters, cursor="", sort="created", reverse=True).to_query(datetime.now(UTC))
    statuses = tuple(each for each in query.status or verb.statuses if each in verb.statuses)
    return msgspec.structs.replace(query, status=statuses or ("none",))


def _select(client: Client, verb: BulkVerb, filters: ListFilters, ids: list[str]) -> BulkSelection:
    if ids:
        statuses = (client.get_status(id, show_input=False, explain_waits=False) for id in ids)
        rows = [
            ChosenInstance(each.instance_id, each.name or "", each.status_name, each.created_time)
            for each in statuses
            if each and each.status_name in verb.statuses
        ]
        return BulkSelection(rows, len(rows), len(ids) - len(rows))
    query = _matching_query(filters, verb)
    everything = msgspec.structs.replace(filters, cursor="").to_query(datetime.now(UTC))
    count = client.count(query)
    page = client.page(msgspec.structs.replace(query, limit=_MAX_SHOWN))
    shown = [ChosenInstance(row.id, row.name, row.status, row.created) for row in page.rows]
    return BulkSelection(shown, count, max(client.count(everything) - count, 0))


def _make_call(kind: str, items: list[MessageItem]) -> Callable[[Client], dict[str, DurableError | None]]:
    return lambda client: client.control(kind, items)


def _describe_outcome(verb: BulkVerb, count: int, errors: dict[str, DurableError]) -> tuple[str, str]:
    text = f"{verb.label}: requested for {format_count(count, 'instance')}."
    if not errors:
        return text, "ok"
    reasons = [str(error) for error in islice(errors.values(), _MAX_ERRORS_SHOWN)]
    more = len(errors) - len(reasons)
    lines = [text, f"Refused for {format_count(len(errors), 'instance')}:", *reasons]
    return "\n".join([*lines, f"and {more} more"] if more else lines), "error"
