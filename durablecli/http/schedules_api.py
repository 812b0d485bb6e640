"""The schedules of the management API: list, read, pause, resume and trigger them. Azure has no counterpart."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response

from durablecli.builtin.schedule_catalog import ScheduleCatalog
from durablecli.client import Client
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.http.responses import empty_response, json_response
from durablecli.serving.engine_bridge import EngineBridge


class SchedulesApi:
    """The handlers of the paths below `schedules`."""

    def __init__(self, bridge: EngineBridge) -> None:
        self._bridge = bridge

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "schedules", self.list_schedules),
            ApiRoute("GET", "schedules/{scheduleName}", self.get_schedule),
            ApiRoute("POST", "schedules/{scheduleName}/pause", self.pause),
            ApiRoute("POST", "schedules/{scheduleName}/resume", self.resume),
            ApiRoute("POST", "schedules/{scheduleName}/trigger", self.trigger),
        ]

    async def list_schedules(self, request: ApiRequest) -> Response:
        """Respond with all schedules that the hub knows."""

        def read(client: Client) -> list[dict[str, Any]]:
            now = datetime.now(UTC)
            return [view.payload(now) for view in ScheduleCatalog(client).list_all()]

        return json_response(await self._bridge.read(read))

    async def get_schedule(self, request: ApiRequest) -> Response:
        """Respond with one schedule, and its latest runs."""
        (name,) = request.path_values

        def read(client: Client) -> dict[str, Any]:
            catalog = ScheduleCatalog(client)
            view = catalog.get(name)
            runs = [{"instanceId": row.id, "runtimeStatus": row.status} for row in catalog.runs(view.name)]
            return view.payload(datetime.now(UTC)) | {"runs": runs}

        return json_response(await self._bridge.read(read))

    async def pause(self, request: ApiRequest) -> Response:
        """Start no more runs."""
        return await self._change(request, ScheduleCatalog.pause)

    async def resume(self, request: ApiRequest) -> Response:
        """Start runs again."""
        return await self._change(request, ScheduleCatalog.resume)

    async def trigger(self, request: ApiRequest) -> Response:
        """Start a run now, and respond with its id."""
        (name,) = request.path_values
        id = await self._bridge.call(lambda client: ScheduleCatalog(client).trigger(name))
        return json_response({"id": id}, 202)

    async def _change(self, request: ApiRequest, change: Callable[[ScheduleCatalog, str], None]) -> Response:
        (name,) = request.path_values
        await self._bridge.call(lambda client: change(ScheduleCatalog(client), name))
        return empty_response(202)
