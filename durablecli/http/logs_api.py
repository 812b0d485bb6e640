"""The logs of instances and entities in the management API."""

from __future__ import annotations

from starlette.responses import Response

from durablecli.errors import NotFound
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.http.responses import ApiError, json_response
from durablecli.model.entity_id import EntityId, is_entity_id
from durablecli.model.log_entry import parse_work
from durablecli.serving.engine_bridge import EngineBridge


class LogsApi:
    """The handlers of the paths that end in `logs`."""

    def __init__(self, bridge: EngineBridge) -> None:
        self._bridge = bridge

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "instances/{instanceId}/logs", self.get_logs),
            ApiRoute("GET", "entities/{entityName}/{entityKey}/logs", self.get_logs),
        ]

    async def get_logs(self, request: ApiRequest) -> Response:
        """Respond with the last entries of a log, oldest first."""
        id = _parse_id(request.path_values)
        text, tail = request.query.text("activity"), request.query.page_size("tail")
        activity = parse_work(text) if text is not None else None
        try:
            entries = await self._bridge.read(lambda client: client.get_logs(id, activity=activity, tail=tail))
        except NotFound:
            raise _log_not_found(id) from None
        return json_response(entries)


def _parse_id(path_values: tuple[str, ...]) -> str:
    if len(path_values) == 1:
        if is_entity_id(path_values[0]):
            raise _log_not_found(path_values[0])
        return path_values[0]
    try:
        return str(EntityId(*path_values))
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def _log_not_found(id: str) -> ApiError:
    return ApiError(404, f"No instance with ID '{id}' found.", kind="NotFound")
