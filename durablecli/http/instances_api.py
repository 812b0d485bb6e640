"""The management API of Durable Functions: instances and entities by HTTP.

Where the original is careless this one is not: a filter that doesn't parse is refused, a bulk purge touches nothing
that still runs, a running instance isn't started a second time (409), what can't be restarted isn't there (404), and
suspending twice is no error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from durablecli.client import Client, DurableOrchestrationStatus, Page
from durablecli.client import Query as Rows
from durablecli.errors import Conflict, DurableError, InstanceSetAside, NotFound, WrongState
from durablecli.http.api_keys import ApiKeys, KeyLevel
from durablecli.http.engine_bridge import EngineBridge
from durablecli.http.middleware import SAFE_METHODS
from durablecli.http.openapi import build_document
from durablecli.http.origins import cross_site_error, is_cross_site
from durablecli.http.requests import CONTINUATION_HEADER, QueryParams, is_json, parse_body, path_matches, split_path
from durablecli.http.responses import ApiError, Shutdown, empty_response, error_response, json_response, to_api_error
from durablecli.limits import MAX_RESPONSE_BYTES
from durablecli.management_links import BASE_PATH, ManagementEndpoint
from durablecli.model.entity_id import EntityId
from durablecli.model.ids import check_instance_id
from durablecli.model.status import ENDED_STATUSES
from durablecli.registry import Registry

_RETRY_AFTER = {"retry-after": "10"}
_EXTENSION_FIELDS = ("waitingFor", "holds", "blocked", "daemon", "unreadEvents", "setAside")
_BASE_DEPTH = len(BASE_PATH.strip("/").split("/"))
_MIN_POLL_INTERVAL = 0.1
_MAX_POLL_INTERVAL = 1.0  # so that a server that stops is heard of in time


class ApiRequest(NamedTuple):
    """A request to the API: the parts of its path in the places of a route's `{…}`, and its query."""

    raw: Request
    path_values: tuple[str, ...]
    query: QueryParams


Handler = Callable[[ApiRequest], Awaitable[Response]]


class ManagementApi:
    """The API below /runtime/webhooks/durabletask, as an ASGI app."""

    def __init__(
        self, bridge: EngineBridge, keys: ApiKeys, registry: Registry | None, shutdown: Shutdown | None = None
    ) -> None:
        self._bridge = bridge
        self._keys = keys
        self._registry = registry
        self._shutdown = shutdown or Shutdown()
        self._routes: list[tuple[str, list[str], Handler]] = [
            (method, path.split("/"), handler)
            for method, path, handler in (
                ("POST", "orchestrators/{functionName}", self.start),
                ("POST", "orchestrators/{functionName}/{instanceId}", self.start),
                ("GET", "instances/{instanceId}", self.get_status),
                ("GET", "instances", self.list_instances),
                ("DELETE", "instances/{instanceId}", self.purge),
                ("DELETE", "instances", self.purge_many),
                ("POST", "instances/{instanceId}/raiseevent/{eventName}", self.raise_event),
                ("POST", "instances/{instanceId}/terminate", self.terminate),
                ("POST", "instances/{instanceId}/suspend", self.suspend),
                ("POST", "instances/{instanceId}/resume", self.resume),
                ("POST", "instances/{instanceId}/rewind", self.rewind),
                ("POST", "instances/{instanceId}/restart", self.restart),
                ("GET", "openapi.json", self.get_openapi),
                ("GET", "entities", self.list_entities),
                ("GET", "entities/{entityName}", self.list_entities),
                ("GET", "entities/{entityName}/{entityKey}", self.get_entity),
                ("POST", "entities/{entityName}/{entityKey}", self.signal_entity),
                ("DELETE", "entities/{entityName}/{entityKey}", self.delete_entity),
            )
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self.handle(request, split_path(request, "")[_BASE_DEPTH:])
        await response(scope, receive, send)

    async def handle(self, request: Request, path: list[str]) -> Response:
        """The answer to a request for such a path below the base."""
        try:
            if request.method not in SAFE_METHODS and is_cross_site(
                request.scope
            ):  # an allowed origin may call functions only
                raise cross_site_error()
            self._keys.check(request, KeyLevel.SYSTEM)
            asked_for = "GET" if request.method == "HEAD" else request.method  # its body isn't sent
            for method, pattern, handler in self._routes:
                if method == asked_for and path_matches(path, pattern):
                    path_values = tuple(part for part, wanted in zip(path, pattern, strict=True) if wanted[0] == "{")
                    return await handler(ApiRequest(request, path_values, QueryParams(request)))
        except DurableError as error:
            return error_response(to_api_error(error))
        except ApiError as refused:
            return error_response(refused)
        return error_response(route_not_found(request))

    async def get_openapi(self, request: ApiRequest) -> Response:
        """The OpenAPI document."""
        return json_response(build_document())

    # ── start ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, request: ApiRequest) -> Response:
        """Start an orchestration, under a new id or the one in the path."""
        name, *chosen = request.path_values
        wait = _parse_wait(request.query)
        self._check_orchestrator(name)
        version = request.query.text("version")
        data = await self._bridge.parse(await request.raw.body(), parse_body)
        try:
            if chosen:
                id = check_instance_id(chosen[0])
                instance = await self._bridge.call(lambda client: client.start_new(name, id, data, version))
            else:
                instance = await self._bridge.start(name, data, version)
        except NotFound as error:
            raise ApiError(400, str(error)) from None
        except Conflict as error:
            raise await self._make_conflict_error(chosen[0], error) from None
        return await self._make_start_response(request, instance, wait)

    async def _make_conflict_error(self, instance: str, error: Conflict) -> ApiError:
        current = await self._bridge.read(lambda client: client.get_status(instance))
        word = current.runtime_status.value if current.runtime_status else "Pending"
        text = f"An Orchestration instance with the status {word} already exists."
        return ApiError(409, text, str(error), "OrchestrationAlreadyExistsException")

    def _check_orchestrator(self, name: str) -> None:
        """Whether such an orchestrator is loaded. Without a registry the list that the engine published decides."""
        if self._registry is None:
            return
        function = self._registry.find_function(name)  # which knows none of the built-in ones: they aren't for starting
        if function is not None and function.kind == "orchestrator":
            return
        known = ", ".join(f"'{each.name}'" for each in self._registry if each.kind == "orchestrator")
        raise ApiError(
            400,
            f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function. "
            f"Additional info: The following are the known orchestrator functions: {known or 'none'}.",
        )

    async def _make_start_response(
        self, request: ApiRequest, instance: str, wait: tuple[float, float] | None
    ) -> Response:
        """The links of what was started; in wait mode, how it ended, if it does so in time."""
        if wait is not None:
            current = await self._wait_until_ended(request.raw, instance, *wait)
            if current.ended:
                completed = current.runtime_status is not None and current.runtime_status.value == "Completed"
                return json_response(current.shown_output if completed else _make_status_body(current, extended=False))
        body = dict(ManagementEndpoint(get_request_origin(request.raw), self._keys.code).make_payload(instance))
        del body["rewindPostUri"]  # as in the original, where only the client of an app gives it out
        return json_response(body, 202, {"location": body["statusQueryGetUri"], **_RETRY_AFTER})

    async def _wait_until_ended(
        self, request: Request, instance: str, seconds: float, interval: float
    ) -> DurableOrchestrationStatus:
        """The status once the instance has ended, or when the time is over, or nobody waits for it any more, or the
        server is to stop."""
        until = monotonic() + seconds
        while True:
            current = await self._bridge.read(lambda client: client.get_status(instance))
            left = until - monotonic()
            if current.ended or left <= 0 or self._shutdown.requested or await request.is_disconnected():
                return current
            await asyncio.sleep(min(max(interval, _MIN_POLL_INTERVAL), _MAX_POLL_INTERVAL, left))

    # ── ask ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_status(self, request: ApiRequest) -> Response:
        """How an instance stands."""
        (instance,), query = request.path_values, request.query
        history, output = query.flag("showHistory", False), query.flag("showHistoryOutput", False)
        show_input, extended = query.flag("showInput", True), query.flag("showWaiting", False)
        fails = query.flag("returnInternalServerErrorOnFailure", False)
        current = await self._bridge.read(
            lambda client: client.get_status(instance, history, history and output, show_input)
        )
        if not current:
            raise _instance_not_found(instance)
        if current.set_aside is not None and not current.ended and not extended:
            # Nothing moves it, so who polls until it has ended must hear of that.
            raise InstanceSetAside(f"{instance} is set aside: {current.set_aside.reason}")
        body = _make_status_body(current, extended=extended)
        if not current.ended:
            return json_response(body, 202, {"location": self._get_request_url(request), "retry-after": "5"})
        failed = current.runtime_status is not None and current.runtime_status.value == "Failed"
        return json_response(body, 500 if failed and fails else 200)

    async def list_instances(self, request: ApiRequest) -> Response:
        """One page of instances, the oldest first."""
        query = request.query
        show_input, extended = query.flag("showInput", True), query.flag("showWaiting", False)
        rows = Rows(
            status=query.statuses(),
            prefix=query.text("instanceIdPrefix") or "",
            created_after=query.time("createdTimeFrom"),
            created_before=query.time("createdTimeTo"),
            limit=query.page_size(),
            reverse=True,
            cursor=_get_cursor(request),
        )

        def read_page(client: Client) -> JsonPage:
            def bodies(ids: Iterable[str]) -> Iterator[dict[str, Any] | None]:
                for each in client.statuses(ids):
                    yield _make_status_body(each, extended=extended, show_input=show_input) if each else None

            return _read_json_page(client.page, rows, bodies)

        return _page_response(await self._bridge.read(read_page))

    # ── end, hold and take away ────────────────────────────────────────────────────────────────────────────────

    async def purge(self, request: ApiRequest) -> Response:
        """Take an ended instance away."""
        (instance,) = request.path_values
        async with self._bridge.instance_lock(instance):  # of several who ask at once, one takes it away
            result = await self._call_on_instance(
                instance, lambda client: client.purge_instance_history(instance), "purge"
            )
        if not result.instances_deleted:
            raise _instance_not_found(instance)
        return json_response({"instancesDeleted": result.instances_deleted})

    async def purge_many(self, request: ApiRequest) -> Response:
        """Take the ended instances away that were created in some time."""
        query = request.query
        since, to, statuses = query.time("createdTimeFrom"), query.time("createdTimeTo"), query.statuses()
        if since is None and to is None and not statuses:
            raise ApiError(400, "Give a filter: 'createdTimeFrom', 'createdTimeTo' or 'runtimeStatus'.")
        wanted = tuple(word for word in statuses or sorted(ENDED_STATUSES) if word in ENDED_STATUSES)
        until = to or datetime.now(UTC)
        deleted = 0
        if wanted:
            result = await self._bridge.call(lambda client: client.purge_instance_history_by(since, until, wanted))
            deleted = result.instances_deleted
        if not deleted:
            raise ApiError(404, "No ended instance fits")
        return json_response({"instancesDeleted": deleted})

    async def raise_event(self, request: ApiRequest) -> Response:
        """Send an external event."""
        instance, event = request.path_values
        current = await self._get_existing(instance)
        if current.ended:
            raise _instance_gone(instance)
        if not is_json(request.raw):
            raise ApiError(400, "Only application/json request content is supported")
        data = await self._bridge.parse(await request.raw.body(), parse_body)
        await self._call_on_instance(instance, lambda client: client.raise_event(instance, event, data))
        return empty_response(202)

    async def terminate(self, request: ApiRequest) -> Response:
        """End an instance and its children."""
        return await self._lifecycle_call(request, Client.terminate)

    async def suspend(self, request: ApiRequest) -> Response:
        """Hold an instance."""
        return await self._lifecycle_call(request, Client.suspend)

    async def resume(self, request: ApiRequest) -> Response:
        """Let a suspended instance go on."""
        return await self._lifecycle_call(request, Client.resume)

    async def rewind(self, request: ApiRequest) -> Response:
        """Send again what made an instance fail."""
        return await self._lifecycle_call(request, Client.rewind)

    async def _lifecycle_call(self, request: ApiRequest, verb: Callable[[Client, str, str], None]) -> Response:
        (instance,), reason = request.path_values, request.query.text("reason") or ""
        await self._call_on_instance(instance, lambda client: verb(client, instance, reason), verb.__name__)
        return empty_response(202)

    async def restart(self, request: ApiRequest) -> Response:
        """Start an instance once more, under a new id or its own."""
        (instance,), wait = request.path_values, _parse_wait(request.query)
        with_new_id = request.query.flag("restartWithNewInstanceId", True)
        started = await self._call_on_instance(
            instance, lambda client: client.restart(instance, with_new_id), "restart"
        )
        return await self._make_start_response(request, started, wait)

    async def _call_on_instance(self, instance: str, operation: Callable[[Client], Any], verb: str = "") -> Any:
        """Do it; what an instance refuses because it has ended is 410, what it refuses for all else is 409."""
        try:
            return await self._bridge.call(operation)
        except NotFound:
            raise _instance_not_found(instance) from None
        except WrongState as error:
            current = await self._get_existing(instance)
            failed = current.runtime_status is not None and current.runtime_status.value == "Failed"
            if current.ended and not (verb == "rewind" and failed):
                raise _instance_gone(instance, verb) from None
            raise ApiError(409, str(error), kind="InvalidOperationException") from None

    async def _get_existing(self, instance: str) -> DurableOrchestrationStatus:
        current = await self._bridge.read(lambda client: client.get_status(instance))
        if not current:
            raise _instance_not_found(instance)
        return current

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    async def get_entity(self, request: ApiRequest) -> Response:
        """The state of an entity, and nothing else."""
        entity = _parse_entity_id(request)
        found = await self._bridge.read(lambda client: client.entity(entity))
        if not found.exists:
            raise _entity_not_found(entity)
        return json_response(found.raw_state)

    async def list_entities(self, request: ApiRequest) -> Response:
        """One page of the entities that have a state."""
        query = request.query
        since, to = query.time("lastOperationTimeFrom"), query.time("lastOperationTimeTo")
        state = query.flag("fetchState", False)
        name = request.path_values[0] if request.path_values else None
        rows = Rows(name, ("Exists",), limit=query.page_size(), sort="id", cursor=_get_cursor(request))

        def read_page(client: Client) -> JsonPage:
            def bodies(ids: Iterable[str]) -> Iterator[dict[str, Any] | None]:
                for each in map(client.entity, ids):
                    wanted = each.exists and _is_between(since, each.last_operation_time, to)
                    yield _make_entity_body(each, state) if wanted else None

            return _read_json_page(client.list_entities, rows, bodies)

        return _page_response(await self._bridge.read(read_page))

    async def signal_entity(self, request: ApiRequest) -> Response:
        """Send an operation that nobody waits for."""
        entity, operation = _parse_entity_id(request), request.query.text_or_empty("op")
        if operation is None:
            raise ApiError(400, "Please provide value for 'op' parameter.")
        read = partial(_parse_operation_input, json=is_json(request.raw))
        data = await self._bridge.parse(await request.raw.body(), read)
        try:
            await self._bridge.call(lambda client: client.signal_entity(entity, operation, data))
        except NotFound as error:
            raise ApiError(400, str(error)) from None
        return empty_response(202)

    async def delete_entity(self, request: ApiRequest) -> Response:
        """Take the state of an entity away; it is no error if there is none any more."""
        entity = _parse_entity_id(request)
        try:
            await self._bridge.call(lambda client: client.delete_entity(entity))
        except NotFound:
            raise _entity_not_found(entity) from None
        except WrongState:
            pass
        return empty_response(202)

    # ── links ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _get_request_url(self, request: ApiRequest) -> str:
        """The URL of the request itself, escaped as it came."""
        scope = request.raw.scope
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        query: bytes = scope["query_string"]
        return get_request_origin(request.raw) + (path + (b"?" if query else b"") + query).decode("latin-1")


def get_request_origin(request: Request) -> str:
    """Where the client reached us, as it says itself; the name was looked at before."""
    return f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc}"


def route_not_found(request: Request) -> ApiError:
    """The answer to an unknown route, or to the wrong verb for one."""
    return ApiError(404, "No route of this server fits", f"there is no {request.method} of this path", "NotFound")


def _instance_not_found(instance: str) -> ApiError:
    return ApiError(404, f"No instance with ID '{instance}' found.", kind="NotFound")


def _entity_not_found(entity: EntityId) -> ApiError:
    return ApiError(404, f"No entity '{entity}' found.", kind="NotFound")


def _instance_gone(instance: str, verb: str = "") -> ApiError:
    if verb == "rewind":
        return ApiError(410, "The rewind operation is only supported on failed orchestration instances.", kind="Gone")
    return ApiError(410, f"Instance with ID '{instance}' is gone: either completed or failed", kind="Gone")


def _parse_wait(query: QueryParams) -> tuple[float, float] | None:
    """Time-out and interval of the wait mode, if both are given."""
    timeout, interval = query.seconds("timeout"), query.seconds("pollingInterval")
    return None if timeout is None or interval is None else (timeout, interval)


def _make_status_body(
    current: DurableOrchestrationStatus, *, extended: bool, show_input: bool = True
) -> dict[str, Any]:
    """The status payload of Durable Functions; what only we know is added when asked for."""
    body = current.payload()
    if not show_input:
        body["input"] = None
    return body if extended else {key: value for key, value in body.items() if key not in _EXTENSION_FIELDS}


class JsonPage(NamedTuple):
    """The rows of a page as JSON, and the cursor to what follows."""

    rows: list[Raw]
    cursor: str | None


def _read_json_page(
    read_page: Callable[[Rows], Page], rows: Rows, bodies: Callable[[Iterable[str]], Iterator[dict[str, Any] | None]]
) -> JsonPage:
    """A page that ends where it is full, or where it is large; `bodies` has None for a row that isn't wanted."""
    while True:
        page = read_page(rows)
        ids = [row.id for row in page.rows]
        found, count = _take_fitting(bodies(ids))
        if count == len(ids):
            return JsonPage(found, page.cursor)
        part = read_page(msgspec.structs.replace(rows, limit=count))
        if [row.id for row in part.rows] == ids[:count]:  # else something was taken away, and the cursor skips a row
            return JsonPage(found, part.cursor)


def _take_fitting(bodies: Iterator[dict[str, Any] | None]) -> tuple[list[Raw], int]:
    """As many as make an answer of some size, at least one; and how many were looked at."""
    found: list[Raw] = []
    size = count = 0
    for body in bodies:
        count += 1
        if body is not None:
            text = msgspec.json.encode(body)
            found.append(Raw(text))
            size += len(text)
        if size >= MAX_RESPONSE_BYTES:
            break
    return found, count


def _page_response(page: JsonPage) -> Response:
    return json_response(page.rows, headers={CONTINUATION_HEADER: page.cursor} if page.cursor else None)


def _get_cursor(request: ApiRequest) -> str | None:
    return request.raw.headers.get(CONTINUATION_HEADER) or None


def _is_between(since: datetime | None, time: datetime | None, to: datetime | None) -> bool:
    if time is None:
        return since is None and to is None
    return (since is None or since <= time) and (to is None or time <= to)


def _parse_entity_id(request: ApiRequest) -> EntityId:
    try:
        return EntityId(*request.path_values)
    except ValueError as error:
        raise ApiError(400, str(error)) from None


def _make_entity_body(found: Any, state: bool) -> dict[str, Any]:
    payload = found.payload()
    body = {
        "entityId": {"name": payload["name"], "key": payload["key"]},
        "lastOperationTime": payload["lastOperationTime"],
    }
    return body | {"state": found.raw_state} if state else body


def _parse_operation_input(body: bytes, json: bool) -> Raw:
    if json:
        return parse_body(body, "Could not parse JSON content")
    try:
        return Raw(msgspec.json.encode(body.decode("utf-8-sig"))) if body else Raw(b"null")
    except UnicodeDecodeError:
        raise ApiError(400, "The text isn't UTF-8") from None
