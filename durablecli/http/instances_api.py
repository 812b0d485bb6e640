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

from durablecli.app import Registry
from durablecli.client import Client, DurableOrchestrationStatus, Page
from durablecli.client import Query as Rows
from durablecli.config import MIB
from durablecli.errors import Conflict, DurableError, InstanceSetAside, NotFound, WrongState
from durablecli.http.api_keys import Keys, Level
from durablecli.http.engine_bridge import Desk
from durablecli.http.middleware import SAFE
from durablecli.http.openapi import document
from durablecli.http.origins import is_foreign, refusal
from durablecli.http.requests import CONTINUATION, Query, is_json, matches, parse_body, parts
from durablecli.http.responses import Closing, Refused, empty_answer, json_answer, refusal_answer, refusal_of
from durablecli.management_links import BASE, Place
from durablecli.model.entity_id import EntityId
from durablecli.model.ids import check_instance_id
from durablecli.model.status import ENDED_STATUSES

_RETRY_AFTER = {"retry-after": "10"}
_OURS = ("waitingFor", "holds", "blocked", "daemon", "unreadEvents", "setAside")
_ABOVE = len(BASE.strip("/").split("/"))
_LARGEST_ANSWER = 16 * MIB
_SHORTEST_POLL = 0.1
_LONGEST_POLL = 1.0  # so that a server that stops is heard of in time


class Asked(NamedTuple):
    """A request to the API: the parts of its path in the places of a route's `{…}`, and its query."""

    request: Request
    given: tuple[str, ...]
    query: Query


Handler = Callable[[Asked], Awaitable[Response]]


class Management:
    """The API below /runtime/webhooks/durabletask, as an ASGI app."""

    def __init__(self, desk: Desk, keys: Keys, registry: Registry | None, closing: Closing | None = None) -> None:
        self._desk = desk
        self._keys = keys
        self._registry = registry
        self._closing = closing or Closing()
        self._routes: list[tuple[str, list[str], Handler]] = [
            (method, path.split("/"), handler)
            for method, path, handler in (
                ("POST", "orchestrators/{functionName}", self.start),
                ("POST", "orchestrators/{functionName}/{instanceId}", self.start),
                ("GET", "instances/{instanceId}", self.status),
                ("GET", "instances", self.list),
                ("DELETE", "instances/{instanceId}", self.purge),
                ("DELETE", "instances", self.purge_many),
                ("POST", "instances/{instanceId}/raiseevent/{eventName}", self.raise_event),
                ("POST", "instances/{instanceId}/terminate", self.terminate),
                ("POST", "instances/{instanceId}/suspend", self.suspend),
                ("POST", "instances/{instanceId}/resume", self.resume),
                ("POST", "instances/{instanceId}/rewind", self.rewind),
                ("POST", "instances/{instanceId}/restart", self.restart),
                ("GET", "openapi.json", self.describe),
                ("GET", "entities", self.list_entities),
                ("GET", "entities/{entityName}", self.list_entities),
                ("GET", "entities/{entityName}/{entityKey}", self.entity),
                ("POST", "entities/{entityName}/{entityKey}", self.signal),
                ("DELETE", "entities/{entityName}/{entityKey}", self.delete),
            )
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self.answer(request, parts(request, "")[_ABOVE:])
        await response(scope, receive, send)

    async def answer(self, request: Request, path: list[str]) -> Response:
        """The answer to a request for such a path below the base."""
        try:
            if request.method not in SAFE and is_foreign(request.scope):  # an allowed origin may call functions only
                raise refusal()
            self._keys.check(request, Level.SYSTEM)
            asked_for = "GET" if request.method == "HEAD" else request.method  # its body isn't sent
            for method, pattern, handler in self._routes:
                if method == asked_for and matches(path, pattern):
                    given = tuple(part for part, wanted in zip(path, pattern, strict=True) if wanted[0] == "{")
                    return await handler(Asked(request, given, Query(request)))
        except DurableError as error:
            return refusal_answer(refusal_of(error))
        except Refused as refused:
            return refusal_answer(refused)
        return refusal_answer(nothing_here(request))

    async def describe(self, asked: Asked) -> Response:
        """The OpenAPI document."""
        return json_answer(document())

    # ── start ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, asked: Asked) -> Response:
        """Start an orchestration, under a new id or the one in the path."""
        name, *chosen = asked.given
        wait = _wait(asked.query)
        self._check_known(name)
        version = asked.query.text("version")
        data = await self._desk.parse(await asked.request.body(), parse_body)
        try:
            if chosen:
                id = check_instance_id(chosen[0])
                instance = await self._desk.call(lambda client: client.start_new(name, id, data, version))
            else:
                instance = await self._desk.start(name, data, version)
        except NotFound as error:
            raise Refused(400, str(error)) from None
        except Conflict as error:
            raise await self._taken(chosen[0], error) from None
        return await self._started(asked, instance, wait)

    async def _taken(self, instance: str, error: Conflict) -> Refused:
        current = await self._desk.read(lambda client: client.get_status(instance))
        word = current.runtime_status.value if current.runtime_status else "Pending"
        text = f"An Orchestration instance with the status {word} already exists."
        return Refused(409, text, str(error), "OrchestrationAlreadyExistsException")

    def _check_known(self, name: str) -> None:
        """Whether such an orchestrator is loaded. Without a registry the list that the engine published decides."""
        if self._registry is None:
            return
        function = self._registry.find_function(name)  # which knows none of the built-in ones: they aren't for starting
        if function is not None and function.kind == "orchestrator":
            return
        known = ", ".join(f"'{each.name}'" for each in self._registry if each.kind == "orchestrator")
        raise Refused(
            400,
            f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function. "
            f"Additional info: The following are the known orchestrator functions: {known or 'none'}.",
        )

    async def _started(self, asked: Asked, instance: str, wait: tuple[float, float] | None) -> Response:
        """The links of what was started; in wait mode, how it ended, if it does so in time."""
        if wait is not None:
            current = await self._ended(asked.request, instance, *wait)
            if current.ended:
                completed = current.runtime_status is not None and current.runtime_status.value == "Completed"
                return json_answer(current.redacted_output if completed else _body(current, ours=False))
        body = dict(Place(origin(asked.request), self._keys.code).management(instance))
        del body["rewindPostUri"]  # as in the original, where only the client of an app gives it out
        return json_answer(body, 202, {"location": body["statusQueryGetUri"], **_RETRY_AFTER})

    async def _ended(
        self, request: Request, instance: str, seconds: float, interval: float
    ) -> DurableOrchestrationStatus:
        """The status once the instance has ended, or when the time is over, or nobody waits for it any more, or the
        server is to stop."""
        until = monotonic() + seconds
        while True:
            current = await self._desk.read(lambda client: client.get_status(instance))
            left = until - monotonic()
            if current.ended or left <= 0 or self._closing.said or await request.is_disconnected():
                return current
            await asyncio.sleep(min(max(interval, _SHORTEST_POLL), _LONGEST_POLL, left))

    # ── ask ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def status(self, asked: Asked) -> Response:
        """How an instance stands."""
        (instance,), query = asked.given, asked.query
        history, output = query.flag("showHistory", False), query.flag("showHistoryOutput", False)
        show_input, ours = query.flag("showInput", True), query.flag("showWaiting", False)
        fails = query.flag("returnInternalServerErrorOnFailure", False)
        current = await self._desk.read(
            lambda client: client.get_status(instance, history, history and output, show_input)
        )
        if not current:
            raise _no_instance(instance)
        if current.quarantine is not None and not current.ended and not ours:
            # Nothing moves it, so who polls until it has ended must hear of that.
            raise InstanceSetAside(f"{instance} is set aside: {current.quarantine.reason}")
        body = _body(current, ours=ours)
        if not current.ended:
            return json_answer(body, 202, {"location": self._self(asked), "retry-after": "5"})
        failed = current.runtime_status is not None and current.runtime_status.value == "Failed"
        return json_answer(body, 500 if failed and fails else 200)

    async def list(self, asked: Asked) -> Response:
        """One page of instances, the oldest first."""
        query = asked.query
        show_input, ours = query.flag("showInput", True), query.flag("showWaiting", False)
        rows = Rows(
            status=query.statuses(),
            prefix=query.text("instanceIdPrefix") or "",
            created_after=query.time("createdTimeFrom"),
            created_before=query.time("createdTimeTo"),
            limit=query.page_size(),
            reverse=True,
            cursor=_cursor(asked),
        )

        def look(client: Client) -> Filled:
            def bodies(ids: Iterable[str]) -> Iterator[dict[str, Any] | None]:
                for each in client.statuses(ids):
                    yield _body(each, ours=ours, show_input=show_input) if each else None

            return _fill(client.page, rows, bodies)

        return _page(await self._desk.read(look))

    # ── end, hold and take away ────────────────────────────────────────────────────────────────────────────────

    async def purge(self, asked: Asked) -> Response:
        """Take an ended instance away."""
        (instance,) = asked.given
        async with self._desk.alone(instance):  # of several who ask at once, one takes it away
            result = await self._control(instance, lambda client: client.purge_instance_history(instance), "purge")
        if not result.instances_deleted:
            raise _no_instance(instance)
        return json_answer({"instancesDeleted": result.instances_deleted})

    async def purge_many(self, asked: Asked) -> Response:
        """Take the ended instances away that were created in some time."""
        query = asked.query
        since, to, statuses = query.time("createdTimeFrom"), query.time("createdTimeTo"), query.statuses()
        if since is None and to is None and not statuses:
            raise Refused(400, "Give a filter: 'createdTimeFrom', 'createdTimeTo' or 'runtimeStatus'.")
        wanted = tuple(word for word in statuses or sorted(ENDED_STATUSES) if word in ENDED_STATUSES)
        until = to or datetime.now(UTC)
        deleted = 0
        if wanted:
            result = await self._desk.call(lambda client: client.purge_instance_history_by(since, until, wanted))
            deleted = result.instances_deleted
        if not deleted:
            raise Refused(404, "No ended instance fits")
        return json_answer({"instancesDeleted": deleted})

    async def raise_event(self, asked: Asked) -> Response:
        """Send an external event."""
        instance, event = asked.given
        current = await self._existing(instance)
        if current.ended:
            raise _gone(instance)
        if not is_json(asked.request):
            raise Refused(400, "Only application/json request content is supported")
        data = await self._desk.parse(await asked.request.body(), parse_body)
        await self._control(instance, lambda client: client.raise_event(instance, event, data))
        return empty_answer(202)

    async def terminate(self, asked: Asked) -> Response:
        """End an instance and its children."""
        return await self._told(asked, Client.terminate)

    async def suspend(self, asked: Asked) -> Response:
        """Hold an instance."""
        return await self._told(asked, Client.suspend)

    async def resume(self, asked: Asked) -> Response:
        """Let a suspended instance go on."""
        return await self._told(asked, Client.resume)

    async def rewind(self, asked: Asked) -> Response:
        """Send again what made an instance fail."""
        return await self._told(asked, Client.rewind)

    async def _told(self, asked: Asked, verb: Callable[[Client, str, str], None]) -> Response:
        (instance,), reason = asked.given, asked.query.text("reason") or ""
        await self._control(instance, lambda client: verb(client, instance, reason), verb.__name__)
        return empty_answer(202)

    async def restart(self, asked: Asked) -> Response:
        """Start an instance once more, under a new id or its own."""
        (instance,), wait = asked.given, _wait(asked.query)
        anew = asked.query.flag("restartWithNewInstanceId", True)
        again = await self._control(instance, lambda client: client.restart(instance, anew), "restart")
        return await self._started(asked, again, wait)

    async def _control(self, instance: str, act: Callable[[Client], Any], verb: str = "") -> Any:
        """Do it; what an instance refuses because it has ended is 410, what it refuses for all else is 409."""
        try:
            return await self._desk.call(act)
        except NotFound:
            raise _no_instance(instance) from None
        except WrongState as error:
            current = await self._existing(instance)
            failed = current.runtime_status is not None and current.runtime_status.value == "Failed"
            if current.ended and not (verb == "rewind" and failed):
                raise _gone(instance, verb) from None
            raise Refused(409, str(error), kind="InvalidOperationException") from None

    async def _existing(self, instance: str) -> DurableOrchestrationStatus:
        current = await self._desk.read(lambda client: client.get_status(instance))
        if not current:
            raise _no_instance(instance)
        return current

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    async def entity(self, asked: Asked) -> Response:
        """The state of an entity, and nothing else."""
        entity = _entity(asked)
        found = await self._desk.read(lambda client: client.entity(entity))
        if not found.exists:
            raise _no_entity(entity)
        return json_answer(found.raw_state)

    async def list_entities(self, asked: Asked) -> Response:
        """One page of the entities that have a state."""
        query = asked.query
        since, to = query.time("lastOperationTimeFrom"), query.time("lastOperationTimeTo")
        state = query.flag("fetchState", False)
        name = asked.given[0] if asked.given else None
        rows = Rows(name, ("Exists",), limit=query.page_size(), sort="id", cursor=_cursor(asked))

        def look(client: Client) -> Filled:
            def bodies(ids: Iterable[str]) -> Iterator[dict[str, Any] | None]:
                for each in map(client.entity, ids):
                    wanted = each.exists and _between(since, each.last_operation_time, to)
                    yield _entity_body(each, state) if wanted else None

            return _fill(client.list_entities, rows, bodies)

        return _page(await self._desk.read(look))

    async def signal(self, asked: Asked) -> Response:
        """Send an operation that nobody waits for."""
        entity, operation = _entity(asked), asked.query.maybe_empty("op")
        if operation is None:
            raise Refused(400, "Please provide value for 'op' parameter.")
        read = partial(_operation_input, json=is_json(asked.request))
        data = await self._desk.parse(await asked.request.body(), read)
        try:
            await self._desk.call(lambda client: client.signal_entity(entity, operation, data))
        except NotFound as error:
            raise Refused(400, str(error)) from None
        return empty_answer(202)

    async def delete(self, asked: Asked) -> Response:
        """Take the state of an entity away; it is no error if there is none any more."""
        entity = _entity(asked)
        try:
            await self._desk.call(lambda client: client.delete_entity(entity))
        except NotFound:
            raise _no_entity(entity) from None
        except WrongState:
            pass
        return empty_answer(202)

    # ── links ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _self(self, asked: Asked) -> str:
        """The URL of the request itself, escaped as it came."""
        scope = asked.request.scope
        path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        query: bytes = scope["query_string"]
        return origin(asked.request) + (path + (b"?" if query else b"") + query).decode("latin-1")


def origin(request: Request) -> str:
    """Where the client reached us, as it says itself; the name was looked at before."""
    return f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc}"


def nothing_here(request: Request) -> Refused:
    """The answer to an unknown route, or to the wrong verb for one."""
    return Refused(404, "No route of this server fits", f"there is no {request.method} of this path", "NotFound")


def _no_instance(instance: str) -> Refused:
    return Refused(404, f"No instance with ID '{instance}' found.", kind="NotFound")


def _no_entity(entity: EntityId) -> Refused:
    return Refused(404, f"No entity '{entity}' found.", kind="NotFound")


def _gone(instance: str, verb: str = "") -> Refused:
    if verb == "rewind":
        return Refused(410, "The rewind operation is only supported on failed orchestration instances.", kind="Gone")
    return Refused(410, f"Instance with ID '{instance}' is gone: either completed or failed", kind="Gone")


def _wait(query: Query) -> tuple[float, float] | None:
    """Time-out and interval of the wait mode, if both are given."""
    timeout, interval = query.seconds("timeout"), query.seconds("pollingInterval")
    return None if timeout is None or interval is None else (timeout, interval)


def _body(current: DurableOrchestrationStatus, *, ours: bool, show_input: bool = True) -> dict[str, Any]:
    """The status payload of Durable Functions; what only we know is added when asked for."""
    body = current.payload()
    if not show_input:
        body["input"] = None
    return body if ours else {key: value for key, value in body.items() if key not in _OURS}


class Filled(NamedTuple):
    """The rows of a page as JSON, and the cursor to what follows."""

    rows: list[Raw]
    cursor: str | None


def _fill(
    look: Callable[[Rows], Page], rows: Rows, bodies: Callable[[Iterable[str]], Iterator[dict[str, Any] | None]]
) -> Filled:
    """A page that ends where it is full, or where it is large; `bodies` has None for a row that isn't wanted."""
    while True:
        page = look(rows)
        ids = [row.id for row in page.rows]
        found, count = _fitting(bodies(ids))
        if count == len(ids):
            return Filled(found, page.cursor)
        part = look(msgspec.structs.replace(rows, limit=count))
        if [row.id for row in part.rows] == ids[:count]:  # else something was taken away, and the cursor skips a row
            return Filled(found, part.cursor)


def _fitting(bodies: Iterator[dict[str, Any] | None]) -> tuple[list[Raw], int]:
    """As many as make an answer of some size, at least one; and how many were looked at."""
    found: list[Raw] = []
    size = count = 0
    for body in bodies:
        count += 1
        if body is not None:
            text = msgspec.json.encode(body)
            found.append(Raw(text))
            size += len(text)
        if size >= _LARGEST_ANSWER:
            break
    return found, count


def _page(filled: Filled) -> Response:
    return json_answer(filled.rows, headers={CONTINUATION: filled.cursor} if filled.cursor else None)


def _cursor(asked: Asked) -> str | None:
    return asked.request.headers.get(CONTINUATION) or None


def _between(since: datetime | None, time: datetime | None, to: datetime | None) -> bool:
    if time is None:
        return since is None and to is None
    return (since is None or since <= time) and (to is None or time <= to)


def _entity(asked: Asked) -> EntityId:
    try:
        return EntityId(*asked.given)
    except ValueError as error:
        raise Refused(400, str(error)) from None


def _entity_body(found: Any, state: bool) -> dict[str, Any]:
    payload = found.payload()
    body = {
        "entityId": {"name": payload["name"], "key": payload["key"]},
        "lastOperationTime": payload["lastOperationTime"],
    }
    return body | {"state": found.raw_state} if state else body


def _operation_input(body: bytes, json: bool) -> Raw:
    if json:
        return parse_body(body, "Could not parse JSON content")
    try:
        return Raw(msgspec.json.encode(body.decode("utf-8-sig"))) if body else Raw(b"null")
    except UnicodeDecodeError:
        raise Refused(400, "The text isn't UTF-8") from None
