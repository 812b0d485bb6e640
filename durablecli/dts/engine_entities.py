"""The entities of another engine: their states and lists, signals to them, and the removal of empty ones."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from durablecli.client import (
    EntityStateResponse,
    EntityStatus,
    MessageItem,
    Page,
    PurgeHistoryResult,
    Query,
    RunningEntityBatch,
)
from durablecli.dts.calls import pages
from durablecli.dts.engine_queries import EngineQueries, decode_cursor, encode_cursor
from durablecli.dts.statuses import to_entity_row, to_entity_status
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.payloads import encode
from durablecli.model.status import InstanceSummary
from durablecli.model.validation import check_due_time, check_operation_name
from durablecli.protocol.generated import pb
from durablecli.protocol.values import make_payload, make_text, make_time

_PAGE_SIZE = 500


class EngineEntities(EngineQueries):
    """Reads and signals the entities of one task hub. Each is named by its EntityId, or as `@name@key`."""

    def signal_entity(
        self,
        entityId: EntityId | str,  # noqa: N803  Azure's name
        operation_name: str,
        operation_input: object = None,
        *,
        at: datetime | timedelta | None = None,
    ) -> None:
        """Send an operation without waiting for its result. It doesn't run before `at`, a time or a delay."""
        request = pb.SignalEntityRequest(
            instanceId=str(to_entity_id(entityId)),
            name=check_operation_name(operation_name),
            input=make_payload(encode(operation_input)),
            requestId=str(uuid.uuid4()),
            scheduledTime=None if at is None else make_time(check_due_time(at, "at", datetime.now(UTC))),
            requestTime=make_time(datetime.now(UTC)),
        )
        self._calls.send("SignalEntity", request)

    def entity(self, entity_id: EntityId | str) -> EntityStatus:
        """Return the status of an entity; it is falsy if the engine knows none."""
        entity = to_entity_id(entity_id)
        answer = self._calls.read("GetEntity", pb.GetEntityRequest(instanceId=str(entity), includeState=True))
        return to_entity_status(answer.entity) if answer.exists else EntityStatus(entity_id=entity)

    def read_entity_state(self, entityId: EntityId | str) -> EntityStateResponse:  # noqa: N803  Azure's name
        """Return whether an entity has a state, and the state."""
        status = self.entity(entityId)
        return EntityStateResponse(status.exists, status.state)

    def list_entities(self, query: Query | None = None) -> Page:
        """Return one page of entities, in the order of the engine. With a filter it may have fewer rows."""
        query = query or Query()
        self._check_entity_query(query)
        fetched = pages(lambda token: self._query_entities(query, query.limit, token), decode_cursor(query.cursor))
        rows, following = next((page for page in fetched if page[0] or page[1] is None), ([], None))
        return Page(rows, encode_cursor(following))

    def count_entities(self, query: Query | None = None) -> int:
        """Count the entities that match, by listing them."""
        return sum(1 for _ in self.iter_entity_ids(query))

    def iter_entity_ids(self, query: Query | None = None) -> Iterator[str]:
        """Yield the ids of all entities that match, page after page."""
        query = query or Query()
        self._check_entity_query(query)
        fetched = pages(lambda token: self._query_entities(query, _PAGE_SIZE, token))
        return (row.id for rows, _ in fetched for row in rows)

    def running_batches(self) -> Mapping[str, RunningEntityBatch]:
        """Return nothing: the protocol doesn't tell which operations are running."""
        return {}

    def check_entity_allowed(self, kind: str, item: MessageItem) -> NoReturn:
        """Raise UsageError: the protocol has no verbs for single entities."""
        if kind == "purge":
            raise self.unsupported_error("purge single entities; --all-empty purges all empty ones")
        raise self.unsupported_error("delete the state of an entity; signal the operation that does")

    def purge_entities(self, entity_ids: Iterable[EntityId | str] | None = None) -> PurgeHistoryResult:
        """Delete all entities that are empty and not in use. Raises UsageError if ids are given."""
        if entity_ids is not None:
            self.check_entity_allowed("purge", MessageItem(""))
        removed, token = 0, None
        while True:
            answer = self._calls.send(
                "CleanEntityStorage",
                pb.CleanEntityStorageRequest(removeEmptyEntities=True, continuationToken=make_text(token)),
            )
            removed += answer.emptyEntitiesRemoved
            before, token = token, answer.continuationToken.value or None
            if token in (None, before):
                return PurgeHistoryResult(removed)

    def _query_entities(self, query: Query, limit: int, token: str | None) -> tuple[list[InstanceSummary], str | None]:
        """Return the entities of one page that match, and the token of the next one."""
        request = pb.QueryEntitiesRequest(
            query=pb.EntityQuery(
                instanceIdStartsWith=make_text(_find_prefix(query)),
                includeState=True,
                includeTransient=True,
                pageSize={"value": limit},
                continuationToken=make_text(token),
            )
        )
        answer = self._calls.read("QueryEntities", request)
        rows = [to_entity_row(entity) for entity in answer.entities]
        return [row for row in rows if _matches(query, row)], answer.continuationToken.value or None

    def _check_entity_query(self, query: Query) -> None:
        used = [
            option for field, option in (("reverse", "--reverse"), ("blocked", "--blocked")) if getattr(query, field)
        ]
        if query.sort != "created":
            used.append("--sort")
        if used:
            raise self.unsupported_error(f"list entities with {used[0]}")


def _find_prefix(query: Query) -> str | None:
    """Return the prefix of the ids that can match."""
    of_name = f"@{query.name.lower()}@" if query.name else ""
    return query.prefix if query.prefix.startswith(of_name) else of_name


def _matches(query: Query, row: InstanceSummary) -> bool:
    """Whether a row matches the filters that the protocol doesn't have."""
    return (
        (not query.status or row.status in query.status)
        and (query.name is None or row.name == query.name.lower())
        and row.id.startswith(query.prefix)
        and not (query.locked and row.locked_by is None)
    )
