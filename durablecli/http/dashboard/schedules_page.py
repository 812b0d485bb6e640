"""The schedules of the hub: when each is due, its latest runs, and the buttons that pause, resume and trigger it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote

from starlette.responses import Response

from durablecli.builtin.schedule_catalog import ScheduleCatalog, ScheduleView
from durablecli.client import Client
from durablecli.errors import DurableError
from durablecli.http.dashboard.site import DashboardSite
from durablecli.http.dashboard.template_filters import instance_url
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.model.status import InstanceSummary

_PATH = "/ui/schedules"
_DUE_TIMES = 5
_RUNS = 20


class ScheduleRow(NamedTuple):
    """A schedule with its latest run, and its next due time in its zone."""

    view: ScheduleView
    due: datetime | None
    latest: InstanceSummary | None

    @property
    def url(self) -> str:
        return f"{_PATH}/{quote(self.view.name, safe='')}"


class SchedulesPage:
    """Shows the list and the pages of schedules, and carries out what their buttons ask for."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "ui/schedules", self.show_list),
            ApiRoute("GET", "ui/schedules/{name}", self.show),
            ApiRoute("POST", "ui/schedules/{name}/{verb}", self.perform),
        ]

    async def show_list(self, request: ApiRequest) -> Response:
        """Show all schedules."""

        def read(client: Client) -> tuple[list[ScheduleRow], bool]:
            catalog = ScheduleCatalog(client)
            return [_make_row(catalog, view) for view in catalog.list_all()], client.engine().alive

        rows, has_engine = await self._site.bridge.read(read)
        return self._site.render(request, "schedules.html", rows=rows, has_engine=has_engine)

    async def show(self, request: ApiRequest) -> Response:
        """Show one schedule."""
        (name,) = request.path_values

        def read(client: Client) -> tuple[ScheduleRow, list[InstanceSummary], bool]:
            catalog = ScheduleCatalog(client)
            row = _make_row(catalog, catalog.get(name))
            return row, catalog.runs(row.view.name, _RUNS), client.engine().alive

        row, runs, has_engine = await self._site.bridge.read(read)
        times = row.view.list_due_times(datetime.now(UTC), _DUE_TIMES) if row.due is not None else []
        return self._site.render(request, "schedule.html", row=row, runs=runs, times=times, has_engine=has_engine)

    async def perform(self, request: ApiRequest) -> Response:
        """Pause, resume or trigger a schedule."""
        name, verb = request.path_values
        page = f"{_PATH}/{quote(name, safe='')}"
        try:
            if verb == "trigger":
                id = await self._site.bridge.call(lambda client: ScheduleCatalog(client).trigger(name))
                return self._site.redirect(instance_url(id), f"Started {id}.")
            change, done = _CHANGES[verb]
            await self._site.bridge.call(lambda client: change(ScheduleCatalog(client), name))
            return self._site.redirect(page, f"{name} {done}.")
        except KeyError:
            return self._site.redirect(page, f"A schedule can't be made to {verb[:40]}.", kind="error")
        except DurableError as error:
            return self._site.redirect(_PATH, f"{error}.", kind="error")


_CHANGES = {
    "pause": (ScheduleCatalog.pause, "is paused: no more runs start"),
    "resume": (ScheduleCatalog.resume, "is resumed: runs start again"),
}


def _make_row(catalog: ScheduleCatalog, view: ScheduleView) -> ScheduleRow:
    due, spec = view.next_due(datetime.now(UTC)), view.spec
    shown = None if due is None or spec is None else due.astimezone(spec.zone)
    return ScheduleRow(view, shown, next(iter(catalog.runs(view.name, 1)), None))
