"""The page of one instance: its status, waits, timeline, history, messages, relatives and logs.

The page follows the instance while it runs. What is long is in parts that the browser asks for when they are opened:
the calls of one function, folded records, payloads, and children.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from starlette.responses import Response

from durablecli.client import Client, DurableOrchestrationStatus, Query
from durablecli.client.sequence import build_sequence
from durablecli.client.timeline import build_timeline
from durablecli.http.dashboard.shared_reads import SharedReads
from durablecli.http.dashboard.site import PAGE_HEADERS, DashboardSite, is_fragment
from durablecli.http.dashboard.verb_buttons import instance_buttons
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.http.responses import ApiError
from durablecli.model.boxed_text import unbox
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import NULL, Record
from durablecli.model.log_entry import parse_work
from durablecli.model.redaction import redact_records

VIEWS = {"overview": "Overview", "history": "History", "messages": "Messages", "family": "Relatives", "logs": "Logs"}
_MAX_ANCESTORS = 20
_MAX_LOG_ENTRIES = 500
_CHILDREN_SHOWN = 20


class AskedPart(NamedTuple):
    """Which part of a view is asked for: the first record of the history, one call of it, or the activity whose log is
    shown."""

    first: int
    activity: str
    call: int = 0


class InstancePage:
    """The page, and the parts of it that are loaded later."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site
        self._shared = SharedReads()

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "ui/instances/{id}", self.show),
            ApiRoute("GET", "ui/instances/{id}/calls", self.show_calls),
            ApiRoute("GET", "ui/instances/{id}/records", self.show_records),
            ApiRoute("GET", "ui/instances/{id}/records/{n}", self.show_record),
            ApiRoute("GET", "ui/instances/{id}/records/{n}/{payload}", self.download),
            ApiRoute("GET", "ui/instances/{id}/children", self.show_children),
        ]

    async def show(self, request: ApiRequest) -> Response:
        """The page, in one of its views."""
        (instance,) = request.path_values
        if is_entity_id(instance):
            return self._site.redirect(f"/ui/entities/{quote(instance, safe='')}")
        view = request.query.text("view") or "overview"
        view = view if view in VIEWS else "overview"
        first, activity = _number(request, "first", 1), request.query.text("activity") or ""
        asked = AskedPart(first, activity, _number(request, "call", 0))

        def read(client: Client) -> dict[str, Any]:
            status, records = client.get_status_with_records(instance)
            if not status:
                return {"current": status}
            return {"current": status, **_READERS[view](client, status, list(redact_records(records)), asked)}

        if is_fragment(request.raw):  # one of maybe many pages that follow this instance
            key = (instance, view, *asked)
            values = await self._shared.read(key, lambda: self._site.bridge.read(read))
        else:
            values = await self._site.bridge.read(read)
        if not values["current"]:
            return self._site.render(request, "instance_missing.html", status=404, instance=instance)
        return self._site.render(
            request,
            f"instance_{view}.html",
            instance=instance,
            url=f"/ui/instances/{quote(instance, safe='')}",
            view=view,
            views=VIEWS,
            buttons=instance_buttons(values["current"]),
            live=f"/ui/changes?id={quote(instance, safe='')}" if not values["current"].ended else "",
            asked=asked,
            **values,
        )

    async def show_calls(self, request: ApiRequest) -> Response:
        """The calls of one function, each as a row of the timeline."""
        from durablecli.http.dashboard.timeline_view import lay_out_group

        (instance,) = request.path_values
        group, offset = request.query.text("group") or "", _number(request, "offset", 0)
        records = await self._read_records(instance)
        timeline = build_timeline(records)
        rows, more = lay_out_group(timeline, datetime.now(UTC), group, offset) if timeline else ([], 0)
        return self._render_part(
            request, "instance_calls.html", instance, rows=rows, more=more, group=group, next=offset + len(rows)
        )

    async def show_records(self, request: ApiRequest) -> Response:
        """A page of the history, or the records of a folded row; with `live`, what was recorded since."""
        from durablecli.http.dashboard.history_view import make_history_page

        (instance,) = request.path_values
        first, last = _number(request, "first", 1), _number(request, "last", 0)
        status, records = await self._read(instance)
        page = make_history_page(records, first, last or None, fold=not last)
        is_live = bool(request.query.text("live")) and not status.ended
        return self._render_part(request, "instance_records.html", instance, page=page, last=last, is_live=is_live)

    async def show_record(self, request: ApiRequest) -> Response:
        """One record with its payloads, as far as they aren't too long for a page."""
        from durablecli.http.dashboard.history_view import report_failure, show_payloads

        instance, n = request.path_values
        record = _find_record(await self._read_records(instance), n)
        return self._render_part(
            request,
            "instance_record.html",
            instance,
            record=record,
            payloads=show_payloads(record.event),
            failure=report_failure(record.event),
        )

    async def download(self, request: ApiRequest) -> Response:
        """A whole payload as a file."""
        from durablecli.http.dashboard.history_view import payload_of

        instance, n, name = request.path_values
        payload = payload_of(_find_record(await self._read_records(instance), n).event, name)
        if payload is None:
            raise ApiError(404, f"Record {n} has no {name}", kind="NotFound")
        headers = {**PAGE_HEADERS, "content-disposition": f'attachment; filename="record-{int(n)}-{name}.json"'}
        return Response(bytes(unbox(payload)), 200, headers, "application/json")

    async def show_children(self, request: ApiRequest) -> Response:
        """A page of the children of an instance."""
        (instance,), cursor = request.path_values, request.query.text("cursor")
        page = await self._site.bridge.read(lambda client: client.page(_children_query(instance, cursor)))
        return self._render_part(request, "instance_children.html", instance, children=page.rows, cursor=page.cursor)

    async def _read(self, instance: str) -> tuple[DurableOrchestrationStatus, list[Record]]:
        def read(client: Client) -> tuple[DurableOrchestrationStatus, list[Record]]:
            status, records = client.get_status_with_records(instance)
            return status, list(redact_records(records))

        found = await self._site.bridge.read(read)
        if not found[0]:
            raise ApiError(404, f"No instance with ID '{instance}' found.", kind="NotFound")
        return found

    async def _read_records(self, instance: str) -> list[Record]:
        return (await self._read(instance))[1]

    def _render_part(self, request: ApiRequest, template: str, instance: str, **values: Any) -> Response:
        quoted = quote(instance, safe="")
        return self._site.render(
            request,
            template,
            instance=instance,
            url=f"/ui/instances/{quoted}",
            live=f"/ui/changes?id={quoted}",
            **values,
        )


def _number(request: ApiRequest, name: str, default: int) -> int:
    text = request.query.text(name) or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else default


def _find_record(records: Sequence[Record], n: str) -> Record:
    found = next((record for record in records if str(record.n) == n), None)
    if found is None:
        raise ApiError(404, f"The history has no record {n}", kind="NotFound")
    return found


def _children_query(instance: str, cursor: str | None = None) -> Query:
    return Query(parent=instance, sort="created", reverse=True, limit=_CHILDREN_SHOWN, cursor=cursor)


# ── what each view shows; it is read and laid out in a thread, beside the event loop ─────────────────────────────────


def _read_overview(
    client: Client, status: DurableOrchestrationStatus, records: Sequence[Record], asked: AskedPart
) -> dict[str, Any]:
    from durablecli.http.dashboard.payload_view import show_payload
    from durablecli.http.dashboard.timeline_view import lay_out_timeline
    from durablecli.http.dashboard.wait_view import count_waits, describe_waits

    now = datetime.now(UTC)
    timeline = build_timeline(records)
    shown = [
        ("Input", status.shown_input),
        ("Custom status", status.shown_custom_status),
        ("Output", status.shown_output if status.ended and status.status_name != "Failed" else NULL),
    ]
    return {
        "timeline": lay_out_timeline(timeline, now) if timeline is not None else None,
        "waits": (waits := describe_waits(status, now)),
        "more_waits": count_waits(status) - sum(wait.count for wait in waits),
        "payloads": [show_payload(name, value) for name, value in shown if bytes(memoryview(value)[:5]) != b"null"],
        "end_n": records[-1].n if records else 0,
    }


def _read_history(
    client: Client, status: DurableOrchestrationStatus, records: Sequence[Record], asked: AskedPart
) -> dict[str, Any]:
    from durablecli.http.dashboard.history_view import make_call_view, make_history_page

    if asked.call and (call := make_call_view(records, asked.call)) is not None:
        return {"call": call, **_read_logs(client, status, records, AskedPart(1, str(call.n)))}
    return {"page": make_history_page(records, asked.first), "is_live": not status.ended, "last": 0}


def _read_messages(
    client: Client, status: DurableOrchestrationStatus, records: Sequence[Record], asked: AskedPart
) -> dict[str, Any]:
    from durablecli.http.dashboard.sequence_view import lay_out_sequence

    return {"sequence": lay_out_sequence(build_sequence(records)) if records else None}


def _read_family(
    client: Client, status: DurableOrchestrationStatus, records: Sequence[Record], asked: AskedPart
) -> dict[str, Any]:
    ancestors: list[DurableOrchestrationStatus] = []
    parent = status.parent_instance_id
    while parent and len(ancestors) < _MAX_ANCESTORS:
        found = client.get_status(parent, explain_waits=False)
        ancestors.append(found)
        parent = found.parent_instance_id
    page = client.page(_children_query(status.instance_id))
    return {
        "ancestors": ancestors[::-1],
        "has_more_ancestors": bool(parent),
        "children": page.rows,
        "cursor": page.cursor,
    }


def _read_logs(
    client: Client, status: DurableOrchestrationStatus, records: Sequence[Record], asked: AskedPart
) -> dict[str, Any]:
    entries = client.get_logs(status.instance_id, activity=parse_work(asked.activity) or None)
    shown = entries[-_MAX_LOG_ENTRIES:]
    return {
        "entries": shown,
        "left_out": len(entries) - len(shown),
        "started": records[0].at if records else status.created_time,
    }


_READERS = {
    "overview": _read_overview,
    "history": _read_history,
    "messages": _read_messages,
    "family": _read_family,
    "logs": _read_logs,
}
