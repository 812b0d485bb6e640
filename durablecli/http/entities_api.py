"""The entities of the management API: list, read, signal and delete them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec
from msgspec import Raw
from starlette.responses import Response

from durablecli.client import Client, EntityStatus, Query
from durablecli.errors import NotFound, WrongState
from durablecli.http.paging import JsonPage, get_cursor, read_json_page
from durablecli.http.requests import ApiRequest, ApiRoute, is_json, parse_body
from durablecli.http.responses import ApiError, empty_response, json_response
from durablecli.model.entity_id import EntityId
from durablecli.model.time_range import TimeRange
from durablecli.serving.engine_bridge import EngineBridge


class EntitiesApi:
    """The handlers of the paths below `entities`."""

    def __init__(self, bridge: EngineBridge) -> None:
        self._bridge = bridge

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("GET", "entities", self.list_entities),
            ApiRoute("GET", "entities/{entityName}", self.list_entities),
            ApiRoute("GET", "entities/{entityName}/{entityKey}", self.get_state),
            ApiRoute("POST", "entities/{entityName}/{entityKey}", self.signal),
            ApiRoute("DELETE", "entities/{entityName}/{entityKey}", self.delete),
        ]

    async def get_state(self, request: ApiRequest) -> Response:
        """Respond with the state of an entity, and nothing else."""
        entity = _parse_entity_id(request)
        found = await self._bridge.read(lambda client: client.entity(entity))
        if not found.exists:
            raise _entity_not_found(entity)
        return json_response(found.shown_state)

    async def list_entities(self, request: ApiRequest) -> Response:
        """Respond with a page of the entities that have a state. Durablecli's own are shown by their name only."""
        params = request.query
        times = TimeRange(params.time("lastOperationTimeFrom"), params.time("lastOperationTimeTo"))
        with_state = params.flag("fetchState", False)
        name = request.path_values[0] if request.path_values else None
        query = Query(
            name, ("Exists",), limit=params.page_size(), sort="id", cursor=get_cursor(request), hides_internal=True
        )

        def read_page(client: Client) -> JsonPage:
            def bodies(ids: Iterable[str]) -> Iterator[dict[str, Any] | None]:
                for each in map(client.entity, ids):
                    wanted = each.exists and times.contains(each.last_operation_time)
                    yield _make_entity_body(each, with_state) if wanted else None

            return read_json_page(client.list_entities, query, bodies)

        return (await self._bridge.read(read_page)).to_response()

    async def signal(self, request: ApiRequest) -> Response:
        """Send a one-way operation."""
        entity, operation = _parse_entity_id(request), request.query.text_or_empty("op")
        if operation is None:
            raise ApiError(400, "Please provide value for 'op' parameter.")
        parse = partial(_parse_operation_input, json=is_json(request.raw))
        data = await self._bridge.parse(await request.raw.body(), parse)
        try:
            await self._bridge.call(lambda client: client.signal_entity(entity, operation, data))
        except NotFound as error:
            raise ApiError(400, str(error)) from None
        return empty_response(202)

    async def delete(self, request: ApiRequest) -> Response:
        """Delete the state of an entity; it is no error if the state is deleted already."""
        entity = _parse_entity_id(request)
        try:
            await self._bridge.call(lambda client: client.delete_entity(entity))
        except NotFound:
            raise _entity_not_found(entity) from None
        except WrongState:
            pass
        return empty_response(202)


def _parse_entity_id(request: ApiRequest) -> EntityId:
    try:
        return EntityId(*request.path_values)
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def _parse_operation_input(body: bytes, json: bool) -> Raw:
    if json:
        return parse_body(body, "Could not parse JSON content")
    try:
        return Raw(msgspec.json.encode(body.decode("utf-8-sig"))) if body else Raw(b"null")
    except UnicodeDecodeError:
        raise ApiError(400, "The body is not valid UTF-8") from None


def _make_entity_body(status: EntityStatus, with_state: bool) -> dict[str, Any]:
    payload = status.payload()
    body = {
        "entityId": {"name": payload["name"], "key": payload["key"]},
        "lastOperationTime": payload["lastOperationTime"],
    }
    return body | {"state": status.shown_state} if with_state else body


def _entity_not_found(entity: EntityId) -> ApiError:
    return ApiError(404, f"No entity '{entity}' found.", kind="NotFound")
