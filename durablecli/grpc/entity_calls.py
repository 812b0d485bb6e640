"""The calls of clients for entities, and for the hub as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import grpc

from durablecli.client import Client, EntityStatus, Query
from durablecli.grpc.call_errors import CallError
from durablecli.grpc.engine_calls import EngineCalls
from durablecli.grpc.list_pages import read_list_page
from durablecli.grpc.rpc_router import Calls
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model.entity_id import to_entity_id
from durablecli.model.status import InstanceSummary
from durablecli.model.validation import check_operation_name
from durablecli.protocol.generated import pb
from durablecli.protocol.values import field_payload, field_time, make_payload, make_text, make_time


class EntityCalls:
    """The handlers. An entity exists for clients as long as it has a state, a lock, or operations that wait."""

    def __init__(self, engine: EngineCalls) -> None:
        self._engine = engine

    @property
    def calls(self) -> Calls:
        return Calls(
            {
                "SignalEntity": self.signal,
                "GetEntity": self.get,
                "QueryEntities": self.query,
                "CleanEntityStorage": self.clean,
                "CreateTaskHub": self.create_taskhub,
                "DeleteTaskHub": self.delete_taskhub,
            }
        )

    async def signal(self, request: Any, context: Any) -> Any:
        """Send an operation without waiting for its result. The function needn't be known here."""
        entity, name = to_entity_id(request.instanceId), check_operation_name(request.name)
        data, at = field_payload(request, "input"), field_time(request, "scheduledTime")
        await self._engine.submit(lambda client: client.signal_entity(entity, name, data, at=at))
        return pb.SignalEntityResponse()

    async def get(self, request: Any, context: Any) -> Any:
        """Return an entity."""
        entity = to_entity_id(request.instanceId)
        found = await self._engine.read(lambda client: client.entity(entity))
        if not (found.exists or _is_transient(found)):
            return pb.GetEntityResponse(exists=False)
        return pb.GetEntityResponse(exists=True, entity=_make_metadata(found, with_state=request.includeState))

    async def query(self, request: Any, context: Any) -> Any:
        """Return a page of entities by their ids; those without a state only if transient ones are asked for."""
        given = request.query
        query = Query(
            prefix=_fold_prefix(given.instanceIdStartsWith.value),
            sort="id",
            cursor=given.continuationToken.value or None,
            hides_internal=True,
        )
        size = given.pageSize.value
        since, until = field_time(given, "lastModifiedFrom"), field_time(given, "lastModifiedTo")

        def read(client: Client) -> Any:
            def make(rows: list[InstanceSummary]) -> Iterable[tuple[InstanceSummary, Any]]:
                for row in rows:
                    found = client.entity(row.id)
                    at = _last_modified(found)
                    is_wanted = found.exists or given.includeTransient
                    if is_wanted and (since is None or at >= since) and (until is None or at < until):
                        yield row, _make_metadata(found, with_state=given.includeState)

            size_ = min(size, MAX_PAGE_SIZE) if size > 0 else MAX_PAGE_SIZE
            page = read_list_page(client.list_entities, query, size_, make)
            return pb.QueryEntitiesResponse(entities=page.messages, continuationToken=make_text(page.token))

        return await self._engine.read(read)

    async def clean(self, request: Any, context: Any) -> Any:
        """Delete entities without a state. There are no orphaned locks: the end of an orchestration
        releases those that it holds."""
        count = 0
        if request.removeEmptyEntities:
            result = await self._engine.submit(lambda client: client.purge_entities())
            count = result.instances_deleted
        return pb.CleanEntityStorageResponse(emptyEntitiesRemoved=count)

    async def create_taskhub(self, request: Any, context: Any) -> Any:
        """Do nothing, as the hub exists; refuse to create it again, which would delete it."""
        if request.recreateIfExists:
            raise _deletion_refused()
        return pb.CreateTaskHubResponse()

    async def delete_taskhub(self, request: Any, context: Any) -> Any:
        """Refuse to delete the hub."""
        raise _deletion_refused()


def _deletion_refused() -> CallError:
    return CallError(
        grpc.StatusCode.FAILED_PRECONDITION,
        "a client can't delete the hub of a running daemon: stop the daemon and remove its state directory, or purge",
    )


def _is_transient(found: EntityStatus) -> bool:
    return found.locked_by is not None or bool(found.queued)


def _last_modified(found: EntityStatus) -> datetime:
    return (
        found.last_operation_time or found.last_updated_time or found.created_time or datetime.min.replace(tzinfo=UTC)
    )


def _make_metadata(found: EntityStatus, *, with_state: bool) -> Any:
    return pb.EntityMetadata(
        instanceId=str(found.entity_id),
        lastModifiedTime=make_time(found.last_operation_time or found.last_updated_time or found.created_time),
        backlogQueueSize=len(found.queued),
        lockedBy=make_text(found.locked_by.instance if found.locked_by is not None else None),
        serializedState=make_payload(found.raw_state) if with_state and found.exists else None,
    )


def _fold_prefix(prefix: str) -> str:
    """Return the beginning of an id with its entity's name in lower case, as ids have it."""
    name, separator, key = prefix.removeprefix("@").partition("@")
    return f"@{name.lower()}{separator}{key}" if prefix.startswith("@") else prefix
