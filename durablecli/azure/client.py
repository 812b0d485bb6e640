"""The durable client that functions receive: the methods of Azure's SDKs, by their older and newer names.

The methods of the async client are those of the sync client, to be awaited. Parameters that name a task hub or a
connection are accepted and ignored. Errors have Azure's texts where apps check them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from durablecli.azure.client_binding import ClientBinding, HttpManagementMixin, RequestLike, parse_binding
from durablecli.azure.client_results import (
    make_clean_result,
    make_entity,
    make_page,
    make_purge_result,
    make_start,
    make_state,
    read_history,
    terminate_with_output,
    to_status_names,
)
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
from durablecli.azure.sdk_style import uses_sdk
from durablecli.azure.status_poller import CompletionPoller, StatusPoller, has_ended, has_started, wait_async, wait_sync
from durablecli.client import (
    Client,
    DurableOrchestrationClient,
    DurableOrchestrationStatus,
    EntityStateResponse,
    PurgeHistoryResult,
    Query,
)
from durablecli.client.async_client import as_coroutine
from durablecli.errors import NotFound, WrongState
from durablecli.management_links import ManagementEndpoint
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus
from durablecli.model.time_range import TimeRange


class SyncDurableFunctionsClient(Client, HttpManagementMixin):
    """The client of a function that isn't a coroutine: the client of the hub, with Azure's methods and responses.

    It is made from the value of a client binding, from its JSON, or from another client.
    """

    def __init__(
        self,
        context: str | Client | DurableFunctionsClient,
        function_invocation_id: str | None = None,
        *,
        endpoint: ManagementEndpoint | None = None,
    ) -> None:
        client, own_endpoint = _resolve_client(context)
        vars(self).update(vars(client))  # shares the state of that client, so nothing is opened or cached twice
        self.endpoint = endpoint or own_endpoint

    # ── v1 ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def raise_event(
        self,
        instance_id: str,
        event_name: str,
        event_data: Any = None,
        task_hub_name: str | None = None,
        connection_name: str | None = None,
    ) -> None:
        """Send an external event. Raises NotFound, and WrongState for an ended instance."""
        with _translate_errors(
            missing=f"No instance with ID {instance_id} found.",
            ended=f"Instance with ID {instance_id} is gone: either completed or failed",
        ):
            super().raise_event(instance_id, event_name, event_data)

    def terminate(self, instance_id: str, reason: str = "", *, recursive: bool = True) -> None:
        """Terminate an instance; has no effect on an ended one. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found.", ended=None):
            super().terminate(instance_id, reason, recursive=recursive)

    def suspend(self, instance_id: str, reason: str = "") -> None:
        """Pause an instance; has no effect on an ended one. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found.", ended=None):
            super().suspend(instance_id, reason)

    def resume(self, instance_id: str, reason: str = "") -> None:
        """Resume a suspended instance; has no effect on an ended one. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found.", ended=None):
            super().resume(instance_id, reason)

    def rewind(
        self,
        instance_id: str,
        reason: str = "",
        task_hub_name: str | None = None,
        connection_name: str | None = None,
        **scope: Any,
    ) -> None:
        """Retry the failed work of a failed instance. Raises NotFound, and WrongState unless it has failed."""
        ended = "The rewind operation is only supported on failed orchestration instances."
        with _translate_errors(missing=f"No instance with ID {instance_id} found.", ended=ended):
            super().rewind(instance_id, reason, **scope)

    def restart(self, instance_id: str, restart_with_new_instance_id: bool = True, **options: Any) -> str:
        """Start an instance again with its input, and return its instance id. Raises NotFound."""
        with _translate_errors(missing=f"No instance with ID '{instance_id}' found."):
            return super().restart(instance_id, restart_with_new_instance_id, **options)

    def purge_instance_history_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
    ) -> PurgeHistoryResult:
        """Purge the ended instances that match."""
        return super().purge_instance_history_by(created_time_from, created_time_to, runtime_status)

    def read_entity_state(
        self,
        entityId: EntityId | str,  # noqa: N803  Azure's name
        task_hub_name: str | None = None,
        connection_name: str | None = None,
    ) -> EntityStateResponse:
        """Read the state of an entity, if it has one."""
        return super().read_entity_state(entityId)

    def signal_entity(
        self,
        entityId: EntityId | str | None = None,  # noqa: N803  Azure's name
        operation_name: str = "",
        operation_input: Any = None,
        task_hub_name: str | datetime | None = None,
        connection_name: str | None = None,
        *,
        entity_instance_id: EntityId | str | None = None,
        input: Any = None,
        at: datetime | timedelta | None = None,
        signal_time: datetime | timedelta | None = None,
    ) -> None:
        """Send a one-way operation, which runs no earlier than `signal_time`.

        `input` equals `operation_input`, and `entity_instance_id` `entityId`. A time as fourth argument is the
        `signal_time`, as in the newer SDK.
        """
        entity = entity_instance_id if entityId is None else entityId
        if entity is None:
            raise TypeError("signal_entity needs the id of an entity")
        value = input if operation_input is None else operation_input
        time = task_hub_name if isinstance(task_hub_name, datetime) else signal_time
        super().signal_entity(to_entity_id(entity), operation_name, value, at=at, signal_time=time)

    def wait_for_completion_or_create_check_status_response(
        self,
        request: RequestLike | None,
        instance_id: str,
        timeout_in_milliseconds: int = 10000,
        retry_interval_in_milliseconds: int = 1000,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpResponse:
        """Respond with the output of the instance once it has completed, or its status if it ended otherwise.

        After the timeout the response is that of `create_check_status_response`.
        """
        poller = CompletionPoller(
            self,
            self,
            request,
            instance_id,
            timeout_in_milliseconds,
            retry_interval_in_milliseconds,
            return_internal_server_error_on_failure,
        )
        return wait_sync(poller).make_response()

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
        """Start an orchestration, no earlier than `start_at`, and return its instance id."""
        if reuse_id_policy is None:
            return self.start_new(orchestrator, instance_id, input, version, start_at=start_at, tags=tags)
        name = self._resolve_function_name(orchestrator)
        start = make_start(reuse_id_policy, name, instance_id, input, version, start_at, tags)
        return self.post_start(start)

    def get_orchestration_state(self, instance_id: str, *, fetch_payloads: bool = True) -> OrchestrationState | None:
        """The state of an instance; None if it doesn't exist."""
        return make_state(self, self.get_status(instance_id), fetch_payloads)

    def get_orchestration_history(
        self, instance_id: str, *, execution_id: str | None = None, for_work_item_processing: bool = False
    ) -> list[dict[str, Any]]:
        """The history of the last execution in the form of the management API; raises NotFound."""
        return read_history(self, instance_id)

    def list_instance_ids(
        self,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        completed_time_from: datetime | None = None,
        completed_time_to: datetime | None = None,
        page_size: int | None = None,
        continuation_token: str | None = None,
    ) -> Page[str]:
        """A page of ids of ended instances. Their completion is the time of their last update."""
        statuses = to_status_names(runtime_status) or tuple(sorted(ENDED_STATUSES))
        query = Query(status=statuses, sort="updated", limit=page_size or 100, cursor=continuation_token)
        page = self.page(query)
        completed = TimeRange.checked(completed_time_from, completed_time_to)
        return make_page([row.id for row in page.rows if completed.contains(row.updated)], page.cursor)

    def get_all_orchestration_states(
        self, orchestration_query: OrchestrationQuery | None = None
    ) -> list[OrchestrationState]:
        """The states of all instances that match."""
        wanted = orchestration_query or OrchestrationQuery()
        statuses = self.get_status_by(
            wanted.created_time_from,
            wanted.created_time_to,
            to_status_names(wanted.runtime_status) or None,
            wanted.instance_id_prefix,
        )
        states = (make_state(self, status, wanted.fetch_inputs_and_outputs) for status in statuses)
        return [state for state in states if state is not None][: wanted.max_instance_count]

    def wait_for_orchestration_start(
        self, instance_id: str, *, fetch_payloads: bool = False, timeout: float = 60
    ) -> OrchestrationState | None:
        """Wait until the instance is no longer Pending; None if it doesn't exist. Raises TimeoutError."""
        return wait_sync(StatusPoller(self, instance_id, has_started, timeout)).state(fetch_payloads)

    def wait_for_orchestration_completion(
        self, instance_id: str, *, fetch_payloads: bool = True, timeout: float = 60
    ) -> OrchestrationState | None:
        """Wait until the instance has ended; None if it doesn't exist. Raises TimeoutError."""
        return wait_sync(StatusPoller(self, instance_id, has_ended, timeout)).state(fetch_payloads)

    def raise_orchestration_event(self, instance_id: str, event_name: str, *, data: Any = None) -> None:
        """Send an external event."""
        self.raise_event(instance_id, event_name, data)

    def terminate_orchestration(self, instance_id: str, *, output: Any = None, recursive: bool = True) -> None:
        """Terminate an instance with this output."""
        if uses_sdk():
            terminate_with_output(self, instance_id, output, recursive)
            return
        reason = output if isinstance(output, str) else "" if output is None else json.dumps(output)
        self.terminate(instance_id, reason, recursive=recursive)

    def suspend_orchestration(self, instance_id: str, *, reason: str | None = "") -> None:
        """Pause an instance."""
        self.suspend(instance_id, reason or "")

    def resume_orchestration(self, instance_id: str, *, reason: str | None = "") -> None:
        """Resume a suspended instance."""
        self.resume(instance_id, reason or "")

    def rewind_orchestration(self, instance_id: str, *, reason: str | None = "") -> None:
        """Retry the failed work of a failed instance."""
        self.rewind(instance_id, reason or "")

    def restart_orchestration(self, instance_id: str, *, restart_with_new_instance_id: bool = False) -> str:
        """Start an instance again with its input, by default under its own id."""
        return self.restart(instance_id, restart_with_new_instance_id)

    def purge_orchestration(self, instance_id: str, recursive: bool = True) -> PurgeInstancesResult:
        """Purge an ended instance and its ended children."""
        return make_purge_result(self.purge_instance_history(instance_id).instances_deleted)

    def purge_orchestrations_by(
        self,
        created_time_from: datetime | None = None,
        created_time_to: datetime | None = None,
        runtime_status: Iterable[OrchestrationRuntimeStatus | str] | None = None,
        recursive: bool = False,
        timeout: timedelta | None = None,
    ) -> PurgeInstancesResult:
        """Purge the ended instances that match."""
        statuses = to_status_names(runtime_status) or None
        count = super().purge_instance_history_by(created_time_from, created_time_to, statuses).instances_deleted
        return make_purge_result(count)

    def get_entity(self, entity_instance_id: EntityId | str, include_state: bool = True) -> EntityMetadata | None:
        """The state of an entity; None if it has never received an operation."""
        return make_entity(self.entity(to_entity_id(entity_instance_id)), include_state)

    def get_all_entities(self, entity_query: EntityQuery | None = None) -> list[EntityMetadata]:
        """The states of all entities that match."""
        wanted = entity_query or EntityQuery()
        statuses = () if wanted.include_transient else ("Exists",)
        query = Query(prefix=wanted.instance_id_starts_with or "", status=statuses, hides_internal=True)
        ids = self.iter_entity_ids(query)
        entities = (make_entity(self.entity(id), wanted.include_state) for id in ids)
        modified = TimeRange.checked(wanted.last_modified_from, wanted.last_modified_to)
        return [entity for entity in entities if entity is not None and modified.contains(entity.last_modified)]

    def clean_entity_storage(
        self, remove_empty_entities: bool = True, release_orphaned_locks: bool = True
    ) -> CleanEntityStorageResult:
        """Delete the logs of entities that have no state and that nothing needs."""
        count = self.purge_entities().instances_deleted if remove_empty_entities else 0
        return make_clean_result(count)


# The async client.


_Sync = SyncDurableFunctionsClient


class DurableFunctionsClient(DurableOrchestrationClient, HttpManagementMixin):
    """The client of a coroutine: the methods of the sync client, to be awaited, except those that only make links."""

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
    restart = as_coroutine(_Sync.restart)
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

    async def _wait_for_status(
        self,
        instance_id: str,
        timeout: timedelta | float | None = None,  # noqa: ASYNC109 - the sync client's name
    ) -> DurableOrchestrationStatus:
        """The status once the instance has ended; raises NotFound, and TimedOut after `timeout` (in seconds)."""
        poller = await wait_async(StatusPoller(self.client, instance_id, has_ended, timeout))
        if poller.satisfied:
            return poller.status
        return await asyncio.to_thread(self.client.wait, instance_id, 0)  # raises the error

    async def wait_for_orchestration_start(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = False,
        timeout: float = 60,  # noqa: ASYNC109 - the SDK's name
    ) -> OrchestrationState | None:
        """Wait until the instance is no longer Pending; None if it doesn't exist. Raises TimeoutError."""
        poller = await wait_async(StatusPoller(self.client, instance_id, has_started, timeout))
        return poller.state(fetch_payloads)

    async def wait_for_orchestration_completion(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = True,
        timeout: float = 60,  # noqa: ASYNC109 - the SDK's name
    ) -> OrchestrationState | None:
        """Wait until the instance has ended; None if it doesn't exist. Raises TimeoutError."""
        poller = await wait_async(StatusPoller(self.client, instance_id, has_ended, timeout))
        return poller.state(fetch_payloads)

    async def wait_for_completion_or_create_check_status_response(
        self,
        request: RequestLike | None,
        instance_id: str,
        timeout_in_milliseconds: int = 10000,
        retry_interval_in_milliseconds: int = 1000,
        return_internal_server_error_on_failure: bool = False,
    ) -> HttpResponse:
        """Respond with the output of the instance once it has completed, or its status if it ended otherwise.

        After the timeout the response is that of `create_check_status_response`.
        """
        poller = CompletionPoller(
            self.client,
            self,
            request,
            instance_id,
            timeout_in_milliseconds,
            retry_interval_in_milliseconds,
            return_internal_server_error_on_failure,
        )
        return (await wait_async(poller)).make_response()


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
    """Raise errors with Azure's texts. None for `ended` suppresses the error; an empty text keeps durablecli's."""
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
