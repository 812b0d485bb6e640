"""The loaded functions: where each is defined, how much of it runs, and what could not be loaded."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from starlette.responses import Response

from durablecli.apps.load_warnings import relative_location
from durablecli.client import Client, FunctionInfo, PublishedFunctions, Query, RemoteFunction
from durablecli.http.dashboard.site import DashboardSite
from durablecli.http.dashboard.template_filters import query_url
from durablecli.http.requests import ApiRequest, ApiRoute

KINDS = {
    "orchestrator": "Orchestrators",
    "activity": "Activities",
    "entity": "Entities",
    "http": "HTTP functions",
    "timer": "Timers",
    "other": "Not run here",
}
_COUNTED_STATUSES = ("Pending", "Running", "Suspended", "Failed")
_MAX_REPORTED = 1_000
"""An engine reports at most this many running and as many queued calls."""


class FunctionRow(NamedTuple):
    """A function: `running` and `queued` count its calls, or the instances that are running and pending."""

    info: FunctionInfo
    running: str
    queued: str
    failed: int
    start_url: str
    list_url: str

    @property
    def signature(self) -> str:
        """The signature without the name and the modules; of a class entity, the operations."""
        text = self.info.signature.removeprefix(self.info.name).removeprefix("{").removesuffix("}")
        text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", text)  # annotations of modules that postpone them are texts
        return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", text)

    @property
    def place(self) -> str:
        """Where it is defined, as `file:line`; relative to the current folder if it is below it."""
        return relative_location(self.info.place)


class FunctionsPage:
    """Shows the functions by kind."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "ui/functions", self.show)]

    async def show(self, request: ApiRequest) -> Response:
        """Show what is loaded."""

        def read(client: Client) -> tuple[PublishedFunctions | None, dict[str, list[FunctionRow]], bool]:
            published = client.published()
            workers = client.workers()
            remote = [] if workers is None else map(_describe_remote, workers.functions())
            rows = make_rows(client, [*(published.functions if published is not None else ()), *remote])
            return published, rows, client.engine().alive

        published, groups, has_engine = await self._site.bridge.read(read)
        return self._site.render(
            request,
            "functions.html",
            published=published,
            groups=groups,
            kinds=KINDS,
            has_engine=has_engine,
        )


def _describe_remote(one: RemoteFunction) -> FunctionInfo:
    versions = f"version {', '.join(each or '(none)' for each in one.versions)}" if one.versions else ""
    return FunctionInfo(one.name, one.kind, f"remote, worker {', '.join(one.workers)}", versions)


def make_rows(client: Client, functions: Iterable[FunctionInfo]) -> dict[str, list[FunctionRow]]:
    """Return the rows of the functions, by kind, sorted by name."""
    # Those that completed are nearly all there are, and counting them would take the longest.
    instances = Counter[tuple[str, str]]()
    for (name, status), count in client.count_by_name(Query(status=_COUNTED_STATUSES)).items():
        instances[name.casefold(), status] += count
    report = client.work_report()
    running = Counter(each.name.casefold() for each in report.running) if report is not None else Counter[str]()
    queued = Counter(each.name.casefold() for each in report.queued) if report is not None else Counter[str]()
    more = "+" if report is not None and len(report.queued) >= _MAX_REPORTED else ""
    found: dict[str, list[FunctionRow]] = {}
    for each in sorted(functions, key=lambda each: each.name.casefold()):
        key = each.name.casefold()
        if each.kind == "orchestrator":
            row = _make_orchestrator_row(each, {status: instances[key, status] for status in _COUNTED_STATUSES})
        else:
            url = query_url({"search": f"@{each.name.lower()}@"}, "/ui/entities") if each.kind == "entity" else ""
            row = FunctionRow(each, _format(running[key]), _format(queued[key], more), 0, "", url)
        found.setdefault(each.kind if each.kind in KINDS else "other", []).append(row)
    return {kind: found[kind] for kind in KINDS if kind in found}


def _make_orchestrator_row(function: FunctionInfo, counts: Mapping[str, int]) -> FunctionRow:
    name = function.name
    return FunctionRow(
        function,
        _format(counts["Running"] + counts["Suspended"]),
        _format(counts["Pending"]),
        counts["Failed"],
        query_url({"name": name}, "/ui/start"),
        query_url({"name": name}),
    )


def _format(count: int, more: str = "") -> str:
    return f"{count:,}{more}" if count else ""
