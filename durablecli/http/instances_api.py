"""The instances of the management API: start, list, read, signal, end, repair and purge them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec import Raw
from starlette.requests import Request
from starlette.responses import Response

from durablecli.client import SAME_INPUT, Client, DurableOrchestrationStatus, Query
from durablecli.client.loop_event import LoopEvent
from durablecli.client.polling import Poller
from durablecli.errors import Conflict, InstanceSetAside, NotFound, WrongState
from durablecli.http.input_rules import find_input_rules
from durablecli.http.paging import JsonPage, get_cursor, read_json_page
from durablecli.http.requests import (
    ApiRequest,
    ApiRoute,
    QueryParams,
    get_request_origin,
    get_request_url,
    is_json,
    parse_body,
)
from durablecli.http.responses import ApiError, Shutdown, empty_response, json_response
from durablecli.management_links import REWIND_LINK, ManagementEndpoint
from durablecli.model.ids import check_instance_id
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus
from durablecli.registry import Registry
from durablecli.serving.engine_bridge import EngineBridge

_RETRY_AFTER = {"retry-after": "10"}
_EXTENSION_FIELDS = (
    "waitingFor", "taskCounts", "holds", "blocked", "daemon", "unreadEvents", "setAside", "progress", "failure",
    "taskFailures",
)  # fmt: skip
_MIN_POLL_INTERVAL = 0.1
_MAX_POLL_INTERVAL = 1.0  # a server that shuts down is noticed in time


class InstancesApi:
    """The handlers of the paths below `orchestrators` and `instances`.

    `code` is the key that links carry. Without a registry the functions that the engine published can be started.
    """

    def __init__(self, bridge: EngineBridge, code: str | None, registry: Registry | None, shutdown: Shutdown) -> None:
        self._bridge = bridge
        self._code = code
        self._registry = registry
        self._shutdown = shutdown

    @property
    def routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("POST", "orchestrators/{functionName}", self.start),
            ApiRoute("POST", "orchestrators/{functionName}/{instanceId}", self.start),
            ApiRoute("GET", "instances/{instanceId}", self.get_status),
            ApiRoute("GET", "instances", self.list_instances),
            ApiRoute("DELETE", "instances/{instanceId}", self.purge),
            ApiRoute("DELETE", "instances", self.purge_many),
            ApiRoute("POST", "instances/{instanceId}/raiseevent/{eventName}", self.raise_event),
            ApiRoute("POST", "instances/{instanceId}/terminate", self.terminate),
            ApiRoute("POST", "instances/{instanceId}/suspend", self.suspend),
            ApiRoute("POST", "instances/{instanceId}/resume", self.resume),
            ApiRoute("POST", "instances/{instanceId}/rewind", self.rewind),
            ApiRoute("POST", "instances/{instanceId}/restart", self.restart),
            ApiRoute("POST", "instances/{instanceId}/fork", self.fork),
        ]

    # ── starting ───────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, request: ApiRequest) -> Response:
        """Start an orchestration, under the id in the path or a new one."""
        name, *chosen = request.path_values
        wait = _parse_wait(request.query)
        await self._check_orchestrator(name)
        version, tags = request.query.text("version"), request.query.tags()
        body = await request.raw.body()
        data = await self._bridge.parse(body, parse_body)
        if (rules := await find_input_rules(self._registry, self._bridge, name)) is not None:
            data = await self._bridge.parse(
                bytes(data) if body else b"", lambda text: rules.complete(Raw(text) if text else None)
            )
        try:
            if chosen:
                id = check_instance_id(chosen[0])
                instance = await self._bridge.call(lambda client: client.start_new(name, id, data, version, tags=tags))
            else:
                instance = await self._bridge.start(name, data, version, tags)
        except NotFound as error:
            raise ApiError(400, str(error)) from None
        except Conflict as error:
            raise await self._make_conflict_error(chosen[0], error) from None
        return await self._make_start_response(request, instance, wait)

    async def restart(self, request: ApiRequest) -> Response:
        """Start an instance again, under a new id or its own. The body is another input; without one it is the same."""
        (instance,), wait = request.path_values, _parse_wait(request.query)
        with_new_id = request.query.flag("restartWithNewInstanceId", True)
        body = await request.raw.body()
        data = await self._parse_other_input(instance, body) if body else SAME_INPUT
        started = await self._call_on_instance(
            instance, lambda client: client.restart(instance, with_new_id, client_input=data), "restart"
        )
        return await self._make_start_response(request, started, wait)

    async def _parse_other_input(self, instance: str, body: bytes) -> Raw:
        """Parse another input for an instance, and check it as that of a start."""
        data = await self._bridge.parse(body, parse_body)
        name = (await self._read_existing(instance)).name
        if name is not None and (rules := await find_input_rules(self._registry, self._bridge, name)) is not None:
            await self._bridge.parse(bytes(data), lambda text: rules.check(Raw(text)))
        return data

    async def fork(self, request: ApiRequest) -> Response:
        """Start an instance with the records of another one before a record, or say what it would run again."""
        (instance,), params = request.path_values, request.query
        wait, before, new_id = _parse_wait(params), params.record_number("from"), params.text("newInstanceId")
        if before is None:
            raise ApiError(400, "The query parameter 'from' is missing", "from=N: the fork has the records before N")
        if params.flag("dryRun", False):
            again = await self._call_on_instance(instance, lambda client: client.fork_preview(instance, before), "fork")
            return json_response({"forkOf": instance, "sentAgain": again})
        forked = await self._call_on_instance(instance, lambda client: client.fork(instance, before, new_id), "fork")
        return await self._make_start_response(request, forked, wait)

    async def _check_orchestrator(self, name: str) -> None:
        """Refuse a name that isn't loaded, unless the engine leaves others to workers."""
        if self._registry is None:
            return
        function = self._registry.find_function(name)  # never a built-in one: those can't be started
        if function is not None and function.kind == "orchestrator":
            return
        if await self._bridge.read(lambda client: client.workers()) is not None:
            return
        known = ", ".join(f"'{each.name}'" for each in self._registry if each.kind == "orchestrator")
        raise ApiError(
            400,
            f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function. "
            f"Additional info: The following are the known orchestrator functions: {known or 'none'}.",
        )

    async def _make_conflict_error(self, instance: str, error: Conflict) -> ApiError:
        current = await self._read_status(instance)
        word = current.runtime_status.value if current.runtime_status else "Pending"
        text = f"An Orchestration instance with the status {word} already exists."
        return ApiError(409, text, str(error), "OrchestrationAlreadyExistsException")

    async def _make_start_response(
        self, request: ApiRequest, instance: str, wait: tuple[float, float] | None
    ) -> Response:
        """The output or status of an instance that ends while the request waits for it, else its links."""
        if wait is not None:
            current = await self._wait_until_ended(request.raw, instance, *wait)
            if current.ended:
                completed = current.runtime_status is OrchestrationRuntimeStatus.Completed
                return json_response(current.shown_output if completed else _make_status_body(current, extended=False))
        links = ManagementEndpoint(get_request_origin(request.raw), self._code).make_payload(instance)
        body = {name: link for name, link in links.items() if name != REWIND_LINK}
        return json_response(body, 202, {"location": links["statusQueryGetUri"], **_RETRY_AFTER})

    async def _wait_until_ended(
        self, request: Request, instance: str, seconds: float, interval: float
    ) -> DurableOrchestrationStatus:
        """The status once the instance has ended; or after `seconds`, when the client is gone, or at a shutdown."""
        interval = min(max(interval, _MIN_POLL_INTERVAL), _MAX_POLL_INTERVAL)
        poller = Poller(seconds, min_interval=interval, max_interval=interval)
        while True:
            signal = LoopEvent()
            with self._bridge.watch_end(instance, signal) as watched:
                current = await self._read_status(instance)
                pause = min(poller.watching_pause(), _MAX_POLL_INTERVAL) if watched else poller.next_pause()
                if current.ended or not pause or self._shutdown.requested or await request.is_disconnected():
                    return current
                await signal.wait(pause)

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────────

    async def get_status(self, request: ApiRequest) -> Response:
        """Respond with the status of an instance."""
        (instance,), params = request.path_values, request.query
        history, output = params.flag("showHistory", False), params.flag("showHistoryOutput", False)
        show_input, extended = params.flag("showInput", True), params.flag("showWaiting", False)
        error_on_failure = params.flag("returnInternalServerErrorOnFailure", False)
        current = await self._bridge.read(
            lambda client: client.get_status(instance, history, history and output, show_input, explain_waits=extended)
        )
        if not current:
            raise _instance_not_found(instance)
        if current.set_aside is not None and not current.ended and not extended:
            # It never ends by itself, so a client that polls until it has ended needs an error.
            raise InstanceSetAside(f"{instance} is quarantined: {current.set_aside.reason}")
        body = _make_status_body(current, extended=extended)
        if not current.ended:
            return json_response(body, 202, {"location": get_request_url(request.raw), "retry-after": "5"})
        return json_response(body, 500 if error_on_failure and _has_failed(current) else 200)

    async def list_instances(self, request: ApiRequest) -> Response:
        """Respond with a page of instances, oldest first."""
        params = request.query
        show_input, extended = params.flag("showInput", True), params.flag("showWaiting", False)
        query = Query(
            status=params.statuses(),
            prefix=params.text("instanceIdPrefix") or "",
            created_after=params.time("createdTimeFrom"),
            created_before=params.time("createdTimeTo"),
            limit=params.page_size(),
            reverse=True,
            cursor=get_cursor(request),
            tags=params.tags(),
        )

        def read_page(client: Client) -> JsonPage:
            def bodies(ids: Iterable[str]) -> Iterator[dict[str, Any] | None]:
                for each in client.statuses(ids):
                    yield _make_status_body(each, extended=extended, show_input=show_input) if each else None

            return read_json_page(client.page, query, bodies)

        return (await self._bridge.read(read_page)).to_response()

    async def _read_status(self, instance: str) -> DurableOrchestrationStatus:
        return await self._bridge.read(lambda client: client.get_status(instance))

    async def _read_existing(self, instance: str) -> DurableOrchestrationStatus:
        current = await self._read_status(instance)
        if not current:
            raise _instance_not_found(instance)
        return current

    # ── acting on an instance ──────────────────────────────────────────────────────────────────────────────────

    async def raise_event(self, request: ApiRequest) -> Response:
        """Check the request, and post the event through the client."""
        instance, event = request.path_values
        current = await self._read_existing(instance)
        if current.ended:
            raise _instance_gone(instance)
        if not is_json(request.raw):
            raise ApiError(400, "Only application/json request content is supported")
        data = await self._bridge.parse(await request.raw.body(), parse_body)
        await self._call_on_instance(instance, lambda client: client.raise_event(instance, event, data))
        return empty_response(202)

    async def terminate(self, request: ApiRequest) -> Response:
        """Terminate an instance and its children."""
        return await self._lifecycle_call(request, Client.terminate)

    async def suspend(self, request: ApiRequest) -> Response:
        """Pause an instance."""
        return await self._lifecycle_call(request, Client.suspend)

    async def resume(self, request: ApiRequest) -> Response:
        """Resume a suspended instance."""
        return await self._lifecycle_call(request, Client.resume)

    async def rewind(self, request: ApiRequest) -> Response:
        """Retry the failed work of a failed instance, or undo all from a record on; or say what would run again."""
        (instance,), params = request.path_values, request.query
        to, failed_activities = params.record_number("to") or 0, params.flag("failedActivities", False)
        if to and failed_activities:
            raise ApiError(400, "'to' and 'failedActivities' exclude each other: give only one of them")
        if params.flag("dryRun", False):
            again = await self._call_on_instance(
                instance,
                lambda client: client.rewind_preview(instance, to=to, failed_activities=failed_activities),
                "rewind",
            )
            return json_response({"instanceId": instance, "sentAgain": again})
        rewind = partial(Client.rewind, to=to, failed_activities=failed_activities)
        return await self._lifecycle_call(request, rewind, "rewind")

    async def _lifecycle_call(
        self, request: ApiRequest, call: Callable[[Client, str, str], None], verb: str = ""
    ) -> Response:
        (instance,), reason = request.path_values, request.query.text("reason") or ""
        await self._call_on_instance(instance, lambda client: call(client, instance, reason), verb)
        return empty_response(202)

    async def _call_on_instance(self, instance: str, operation: Callable[[Client], Any], verb: str = "") -> Any:
        """Run an operation; raises 410 if the instance has ended, 409 if its status forbids it for another reason."""
        try:
            return await self._bridge.call(operation)
        except NotFound:
            raise _instance_not_found(instance) from None
        except WrongState as error:
            current = await self._read_existing(instance)
            if current.ended and verb != "fork" and not (verb == "rewind" and _has_failed(current)):
                raise _instance_gone(instance, verb) from None
            raise ApiError(409, str(error), kind="InvalidOperationException") from None

    # ── purging ────────────────────────────────────────────────────────────────────────────────────────────────

    async def purge(self, request: ApiRequest) -> Response:
        """Purge an ended instance."""
        (instance,) = request.path_values
        async with self._bridge.instance_lock(instance):  # of several requests at once, only one reports a deletion
            result = await self._call_on_instance(
                instance, lambda client: client.purge_instance_history(instance), "purge"
            )
        if not result.instances_deleted:
            raise _instance_not_found(instance)
        return json_response({"instancesDeleted": result.instances_deleted})

    async def purge_many(self, request: ApiRequest) -> Response:
        """Purge the ended instances that match a filter."""
        params = request.query
        since, until, statuses = params.time("createdTimeFrom"), params.time("createdTimeTo"), params.statuses()
        if since is None and until is None and not statuses:
            raise ApiError(400, "A filter is required: 'createdTimeFrom', 'createdTimeTo' or 'runtimeStatus'.")
        ended = tuple(word for word in statuses or sorted(ENDED_STATUSES) if word in ENDED_STATUSES)
        until = until or datetime.now(UTC)
        deleted = 0
        if ended:
            result = await self._bridge.call(lambda client: client.purge_instance_history_by(since, until, ended))
            deleted = result.instances_deleted
        if not deleted:
            raise ApiError(404, "No ended instance matches the filter")
        return json_response({"instancesDeleted": deleted})


def _parse_wait(query: QueryParams) -> tuple[float, float] | None:
    """The timeout and polling interval in seconds, if both are given: then the response waits for the end."""
    timeout, interval = query.seconds("timeout"), query.seconds("pollingInterval")
    return None if timeout is None or interval is None else (timeout, interval)


def _make_status_body(
    current: DurableOrchestrationStatus, *, extended: bool, show_input: bool = True
) -> dict[str, Any]:
    """The status as Durable Functions returns it, with durablecli's own fields if `extended`."""
    body = current.payload()
    if not show_input:
        body["input"] = None
    return body if extended else {key: value for key, value in body.items() if key not in _EXTENSION_FIELDS}


def _has_failed(current: DurableOrchestrationStatus) -> bool:
    return current.runtime_status is OrchestrationRuntimeStatus.Failed


def _instance_not_found(instance: str) -> ApiError:
    return ApiError(404, f"No instance with ID '{instance}' found.", kind="NotFound")


def _instance_gone(instance: str, verb: str = "") -> ApiError:
    if verb == "rewind":
        return ApiError(410, "The rewind operation is only supported on failed orchestration instances.", kind="Gone")
    return ApiError(410, f"Instance with ID '{instance}' is gone: either completed or failed", kind="Gone")
