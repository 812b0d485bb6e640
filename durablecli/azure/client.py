"""The client that an app's functions receive: every call of Azure's SDKs, in the older words and in the newer.

The sync client has the calls, the async one awaits them. Whatever names a task hub or a connection is accepted, and
means this hub. Errors carry Azure's texts where apps look at them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from durablecli.azure.client_binding import ClientBinding, HttpManagementMixin, RequestLike, parse_binding
from durablecli.azure.completion import CompletionPoller, StatusPoller, has_ended, has_started, wait_async, wait_sync
from durablecli.azure.durabletask_types import (
    CleanEntityStorageResult,
    EntityMetadata,
    EntityQuery,
    OrchestrationQuery,
    OrchestrationState,
    Page,
    PurgeInstancesResult,
)
from durablecli.azure.http_types import HttpResponse
from durablecli.client import (
    Client,
    DurableOrchestrationClient,
    DurableOrchestrationStatus,
    EntityStateResponse,
    PurgeHistoryResult,
    Query,
)
from durablecli.client.async_client import as_coroutine
from durablecli.errors import NotFound, UsageError, WrongState
from durablecli.management_links import ManagementEndpoint
from durablecli.model.entity_id import EntityId
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus

_log = logging.getLogger("durablecli.client")
_JSON = "application/json"


class SyncDurableFunctionsClient(Client, HttpManagementMixin):
    """The client of a function that isn't a coroutine. It is the hub's client, with Azure's words and answers.

    It is made from what a function receives: a `Binding`, its JSON, or another client.
    """

    def __init__(
        self,
        context: str | Client | DurableFunctionsClient,
        function_invocation_id: str | None = None,
        *,
        endpoint: ManagementEndpoint | None = None,
    ) -> None:
        found, own = _resolve_client(context)
        vars(self).update(vars(found))  # one and the same client: nothing is opened or remembered twice
        self.endpoint = endpoint or own

    # ── v1 ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def raise_event(
        self,
        instance_id: str,
        event_name: str,
        event_data: Any = None,
        task_hub_name: str | None = None,
        connection_name: str | None = None,
    ) -> None:
        """Send an external event. NotFound for an unknown instance, WrongState for an ended one."""
        with _translate_errors(
            missing=f"No instance with ID {instance_id} found.",
            ended=f"Instance with ID {instance_id} is gone: either completed or failed",
        ):
            super().raise_event(instance_id, event_name, event_data)

    def terminate(self, instance_id: str, reason: str = "", *, recursive: bool = True) -> None:
        """End an instance; one that has ended is left as it is. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found.", ended=None):
            super().terminate(instance_id, reason, recursive=recursive)

    def suspend(self, instance_id: str, reason: str = "") -> None:
        """Hold an instance; one that has ended is left as it is. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found.", ended=None):
            super().suspend(instance_id, reason)

    def resume(self, instance_id: str, reason: str = "") -> None:
        """Let a suspended instance go on; one that has ended is left as it is. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found.", ended=None):
            super().resume(instance_id, reason)

    def rewind(
        self,
        instance_id: str,
        reason: str = "",
        task_hub_name: str | None = None,
        connection_name: str | None = None,
    ) -> None:
        """Send again what made an instance fail. Raises NotFound, and WrongState unless it has failed."""
        with _translate_errors(
            missing=f"No instance with ID {instance_id} found.",
            ended="The rewind operation is only supported on failed orchestration instances.",
        ):
            super().rewind(instance_id, reason)

    def restart(self, instance_id: str, restart_with_new_instance_id: bool = True) -> str:
        """Start an instance once more with its input; returns the id it runs under. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found."):
            return super().restart(instance_id, restart_with_new_instance_id)

    def purge_instance_history_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
    ) -> PurgeHistoryResult:
        """Delete the ended instances that fit."""
        return super().purge_instance_history_by(created_time_from, created_time_to, runtime_status)

    def read_entity_state(
        self,
        entityId: EntityId | str,  # noqa: N803  Azure's name
        task_hub_name: str | None = None,
        connection_name: str | None = None,
    ) -> EntityStateResponse:
        """Whether an entity has a state, and which."""
        return super().read_entity_state(entityId)

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803  Azure's name
        operation_name: str,
        operation_input: Any = None,
        task_hub_name: str | None = None,
        connection_name: str | None = None,
        *,
        input: Any = None,
        at: datetime | timedelta | None = None,
        signal_time: datetime | timedelta | None = None,
    ) -> None:
        """Send an operation that nobody waits for, not run before `signal_time`. `input` is `operation_input`."""
        given = input if operation_input is None else operation_input
        super().signal_entity(entityId, operation_name, given, at=at, signal_time=signal_time)

    def wait_for_completion_or_create_check_status_response(
        self,
        request: RequestLike | None,
        instance_id: str,
        timeout_in_milliseconds: int = 10000,
        retry_interval_in_milliseconds: int = 1000,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpResponse:
        """The output of the instance once it has completed, or its status if it ended otherwise; after the time-out the
        links of `create_check_status_response`."""
        wait = CompletionPoller(
            self,
            self,
            request,
            instance_id,
            timeout_in_milliseconds,
            retry_interval_in_milliseconds,
            return_internal_server_error_on_failure,
        )
        wait_sync(wait)
        return wait.make_response()

    # ── v2 ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def schedule_new_orchestration(
        self,
        orchestrator: str | Callable[..., Any],
        *,
        input: Any = None,
        instance_id: str | None = None,
        start_at: datetime | None = None,
        reuse_id_policy: object = None,
        tags: dict[str, str] | None = None,
        version: str | None = None,
    ) -> str:
        """Start an orchestration, not before `start_at`, and return its instance id. Tags aren't kept."""
        if reuse_id_policy is not None:
            raise UsageError("reuse_id_policy isn't supported: start_new has if_exists")
        if tags:
            _log.warning("tags aren't kept: %s", ", ".join(tags))
        return self.start_new(orchestrator, instance_id, input, version, start_at=start_at)

    def get_orchestration_state(self, instance_id: str, *, fetch_payloads: bool = True) -> OrchestrationState | None:
        """How an instance stands; None if there is none."""
        return OrchestrationState.from_status(self.get_status(instance_id), fetch_payloads)

    def get_orchestration_history(self, instance_id: str) -> list[dict[str, Any]]:
        """The history as the management API shows it; raises NotFound."""
        return self.project_history(instance_id)

    def list_instance_ids(
        self,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        completed_time_from: datetime | None = None,
        completed_time_to: datetime | None = None,
        page_size: int | None = None,
        continuation_token: str | None = None,
    ) -> Page[str]:
        """The ids of ended instances that fit; a completion is the last thing that updates an instance."""
        statuses = _to_status_names(runtime_status) or tuple(sorted(ENDED_STATUSES))
        query = Query(status=statuses, sort="updated", limit=page_size or 100, cursor=continuation_token)
        page = self.page(query)
        first, last = _to_utc(completed_time_from), _to_utc(completed_time_to)
        fits = [
            row.id for row in page.rows if (not first or row.updated >= first) and (not last or row.updated <= last)
        ]
        return Page(fits, page.cursor)

    def get_all_orchestration_states(
        self, orchestration_query: OrchestrationQuery | None = None
    ) -> list[OrchestrationState]:
        """How all instances stand that fit."""
        asked = orchestration_query or OrchestrationQuery()
        found = self.get_status_by(asked.created_time_from, asked.created_time_to, asked.runtime_status)
        states = (OrchestrationState.from_status(status, asked.fetch_inputs_and_outputs) for status in found)
        return [state for state in states if state is not None][: asked.max_instance_count]

    def wait_for_orchestration_start(
        self, instance_id: str, *, fetch_payloads: bool = False, timeout: float = 60
    ) -> OrchestrationState | None:
        """The state once the instance is no longer Pending; None if there is none. Raises TimeoutError."""
        wait = StatusPoller(self, instance_id, has_started, timeout)
        wait_sync(wait)
        return wait.state(fetch_payloads)

    def wait_for_orchestration_completion(
        self, instance_id: str, *, fetch_payloads: bool = True, timeout: float = 60
    ) -> OrchestrationState | None:
        """The state once the instance has ended; None if there is none. Raises TimeoutError."""
        wait = StatusPoller(self, instance_id, has_ended, timeout)
        wait_sync(wait)
        return wait.state(fetch_payloads)

    def raise_orchestration_event(self, instance_id: str, event_name: str, *, data: Any = None) -> None:
        """Send an external event."""
        self.raise_event(instance_id, event_name, data)

    def terminate_orchestration(self, instance_id: str, *, output: Any = None, recursive: bool = True) -> None:
        """End an instance with this output."""
        reason = output if isinstance(output, str) else "" if output is None else json.dumps(output)
        self.terminate(instance_id, reason, recursive=recursive)

    def suspend_orchestration(self, instance_id: str, *, reason: str = "") -> None:
        """Hold an instance."""
        self.suspend(instance_id, reason)

    def resume_orchestration(self, instance_id: str, *, reason: str = "") -> None:
        """Let a suspended instance go on."""
        self.resume(instance_id, reason)

    def rewind_orchestration(self, instance_id: str, *, reason: str = "") -> None:
        """Send again what made an instance fail."""
        self.rewind(instance_id, reason)

    def restart_orchestration(self, instance_id: str, *, restart_with_new_instance_id: bool = False) -> str:
        """Start an instance once more, under its own id unless told otherwise."""
        return self.restart(instance_id, restart_with_new_instance_id)

    def purge_orchestration(self, instance_id: str, recursive: bool = True) -> PurgeInstancesResult:
        """Delete an ended instance and its ended children."""
        return PurgeInstancesResult(self.purge_instance_history(instance_id).instances_deleted)

    def purge_orchestrations_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        recursive: bool = False,
    ) -> PurgeInstancesResult:
        """Delete the ended instances that fit."""
        found = super().purge_instance_history_by(created_time_from, created_time_to, runtime_status)
        return PurgeInstancesResult(found.instances_deleted)

    def get_entity(self, entity_instance_id: EntityId | str, include_state: bool = True) -> EntityMetadata | None:
        """How an entity stands; None if nothing was ever sent to it."""
        return EntityMetadata.from_status(self.entity(entity_instance_id), include_state)

    def get_all_entities(self, entity_query: EntityQuery | None = None) -> list[EntityMetadata]:
        """How all entities stand that fit."""
        asked = entity_query or EntityQuery()
        query = Query(prefix=asked.instance_id_starts_with or "", status=() if asked.include_transient else ("Exists",))
        found = (
            EntityMetadata.from_status(self.entity(one), asked.include_state) for one in self.iter_entity_ids(query)
        )
        first, last = _to_utc(asked.last_modified_from), _to_utc(asked.last_modified_to)
        return [one for one in found if one is not None and _is_within(one.last_modified, first, last)]

    def clean_entity_storage(
        self, remove_empty_entities: bool = True, release_orphaned_locks: bool = True
    ) -> CleanEntityStorageResult:
        """Delete the logs of entities that have no state and are needed by nobody."""
        return CleanEntityStorageResult(self.purge_entities().instances_deleted if remove_empty_entities else 0)


# The async client.


_Sync = SyncDurableFunctionsClient


class DurableFunctionsClient(DurableOrchestrationClient, HttpManagementMixin):
    """The client of a coroutine: the calls of the sync client, to be awaited. What only makes links isn't awaited."""

    client: SyncDurableFunctionsClient

    def __init__(
        self,
        context: str | Client | DurableFunctionsClient,
        function_invocation_id: str | None = None,
        *,
        endpoint: ManagementEndpoint | None = None,
    ) -> None:
        self.client = SyncDurableFunctionsClient(context, function_invocation_id, endpoint=endpoint)
        self.endpoint = self.client.endpoint

    raise_event = as_coroutine(_Sync.raise_event)
    rewind = as_coroutine(_Sync.rewind)
    purge_instance_history_by = as_coroutine(_Sync.purge_instance_history_by)
    read_entity_state = as_coroutine(_Sync.read_entity_state)
    signal_entity = as_coroutine(_Sync.signal_entity)
    schedule_new_orchestration = as_coroutine(_Sync.schedule_new_orchestration)
    get_orchestration_state = as_coroutine(_Sync.get_orchestration_state)
    get_orchestration_history = as_coroutine(_Sync.get_orchestration_history)
    list_instance_ids = as_coroutine(_Sync.list_instance_ids)
    get_all_orchestration_states = as_coroutine(_Sync.get_all_orchestration_states)
    raise_orchestration_event = as_coroutine(_Sync.raise_orchestration_event)
    terminate_orchestration = as_coroutine(_Sync.terminate_orchestration)
    suspend_orchestration = as_coroutine(_Sync.suspend_orchestration)
    resume_orchestration = as_coroutine(_Sync.resume_orchestration)
    rewind_orchestration = as_coroutine(_Sync.rewind_orchestration)
    restart_orchestration = as_coroutine(_Sync.restart_orchestration)
    purge_orchestration = as_coroutine(_Sync.purge_orchestration)
    purge_orchestrations_by = as_coroutine(_Sync.purge_orchestrations_by)
    get_entity = as_coroutine(_Sync.get_entity)
    get_all_entities = as_coroutine(_Sync.get_all_entities)
    clean_entity_storage = as_coroutine(_Sync.clean_entity_storage)

    async def wait(
        self,
        instance_id: str,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - the sync client's name
    ) -> DurableOrchestrationStatus:
        """The status once the instance has ended; raises NotFound, and TimedOut after `timeout` (seconds)."""
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else inf if timeout is None else timeout
        wait = StatusPoller(self.client, instance_id, has_ended, seconds)
        await wait_async(wait)
        if wait.satisfied:
            return wait.status
        return await asyncio.to_thread(self.client.wait, instance_id, 0)  # for what it has to say

    async def wait_for_orchestration_start(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = False,
        timeout: float = 60,  # noqa: ASYNC109 - the SDK's name
    ) -> OrchestrationState | None:
        """The state once the instance is no longer Pending; None if there is none. Raises TimeoutError."""
        wait = StatusPoller(self.client, instance_id, has_started, timeout)
        await wait_async(wait)
        return wait.state(fetch_payloads)

    async def wait_for_orchestration_completion(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = True,
        timeout: float = 60,  # noqa: ASYNC109 - the SDK's name
    ) -> OrchestrationState | None:
        """The state once the instance has ended; None if there is none. Raises TimeoutError."""
        wait = StatusPoller(self.client, instance_id, has_ended, timeout)
        await wait_async(wait)
        return wait.state(fetch_payloads)

    async def wait_for_completion_or_create_check_status_response(
        self,
        request: RequestLike | None,
        instance_id: str,
        timeout_in_milliseconds: int = 10000,
        retry_interval_in_milliseconds: int = 1000,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpResponse:
        """The output of the instance once it has completed, or its status if it ended otherwise; after the time-out the
        links of `create_check_status_response`."""
        wait = CompletionPoller(
            self.client,
            self,
            request,
            instance_id,
            timeout_in_milliseconds,
            retry_interval_in_milliseconds,
            return_internal_server_error_on_failure,
        )
        await wait_async(wait)
        return wait.make_response()


# Inside.


def _resolve_client(context: str | Client | DurableFunctionsClient) -> tuple[Client, ManagementEndpoint]:
    if isinstance(context, SyncDurableFunctionsClient | DurableFunctionsClient):
        return context.client if isinstance(context, DurableFunctionsClient) else context, context.endpoint
    if isinstance(context, Client):
        return context, ManagementEndpoint()
    if isinstance(context, ClientBinding):
        return context.client, context.endpoint
    return parse_binding(context)


@contextmanager
def _translate_errors(*, missing: str, ended: str | None = "") -> Iterator[None]:
    """Say it in Azure's words. None for `ended` means that nobody needs to know; an empty text keeps ours."""
    try:
        yield
    except NotFound:
        raise NotFound(missing) from None
    except WrongState:
        if ended is None:
            return
        if not ended:
            raise
        raise WrongState(ended) from None


def _to_status_names(statuses: Iterable[OrchestrationRuntimeStatus | str] | None) -> tuple[str, ...]:
    return tuple(one.value if isinstance(one, OrchestrationRuntimeStatus) else one for one in statuses or ())


def _is_within(time: datetime | None, first: datetime | None, last: datetime | None) -> bool:
    if time is None:
        return first is None and last is None
    return (first is None or time >= first) and (last is None or time <= last)


def _to_utc(time: datetime | None) -> datetime | None:
    if time is None:
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
