"""The calls for many instances: lists, and purges by id or by a filter; and the history of one."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

from google.protobuf.wrappers_pb2 import BoolValue

from durablecli.client import Client, MessageItem, Query
from durablecli.errors import Conflict, DurableError, NotFound, UsageError, WrongState
from durablecli.grpc.call_errors import instance_not_found
from durablecli.grpc.descendants import find_ended_descendants
from durablecli.grpc.engine_calls import EngineCalls
from durablecli.grpc.list_pages import pair_with_rows, read_list_page
from durablecli.grpc.rpc_router import Calls
from durablecli.grpc.state_messages import make_state
from durablecli.limits import MAX_PAGE_SIZE
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import check_instance_id
from durablecli.model.status import ENDED_STATUSES, InstanceSummary
from durablecli.protocol.generated import pb
from durablecli.protocol.history_events import make_history
from durablecli.protocol.values import STATUS_NAMES, field_time, make_text

_MICROSECOND = timedelta(microseconds=1)
_FIRST_TIME = datetime.min.replace(tzinfo=UTC)
_CHUNK_EVENTS = 100
_CHUNK_BYTES = 1024 * 1024
_PURGED_AT_ONCE = 1_000


class InstanceQueries:
    """The handlers. A limit in time includes its beginning and excludes its end."""

    def __init__(self, engine: EngineCalls) -> None:
        self._engine = engine

    @property
    def calls(self) -> Calls:
        return Calls(
            {
                "QueryInstances": self.query,
                "ListInstanceIds": self.list_ids,
                "PurgeInstances": self.purge,
            },
            {"StreamInstanceHistory": self.stream_history},
        )

    # ── lists and history ──────────────────────────────────────────────────────────────────────────────────────

    async def query(self, request: Any, context: Any) -> Any:
        """Return a page of states, the oldest instances first."""
        given = request.query
        query = Query(
            status=_read_statuses(given.runtimeStatus),
            prefix=given.instanceIdPrefix.value,
            created_after=field_time(given, "createdTimeFrom"),
            created_before=_exclusive(field_time(given, "createdTimeTo")),
            reverse=True,
            cursor=given.continuationToken.value or None,
        )
        size = _page_size(given.maxInstanceCount)

        def read(client: Client) -> Any:
            def make(rows: list[InstanceSummary]) -> Iterable[tuple[InstanceSummary, Any]]:
                for row, state in pair_with_rows(rows, client.states(row.id for row in rows), lambda s: s.instance):
                    yield row, make_state(state, payloads=given.fetchInputsAndOutputs)

            page = read_list_page(client.page, query, size, make)
            return pb.QueryInstancesResponse(orchestrationState=page.messages, continuationToken=make_text(page.token))

        return await self._engine.read(read)

    async def list_ids(self, request: Any, context: Any) -> Any:
        """Return a page of the ids of instances that have ended, in the order of their ends."""
        since, until = field_time(request, "completedTimeFrom"), field_time(request, "completedTimeTo")
        statuses = tuple(name for name in _read_statuses(request.runtimeStatus) if name in ENDED_STATUSES)
        if request.runtimeStatus and not statuses:
            return pb.ListInstanceIdsResponse()
        query = Query(
            status=statuses or tuple(sorted(ENDED_STATUSES)),
            sort="updated",
            reverse=True,
            limit=_page_size(request.pageSize),
        )
        cursor = request.lastInstanceKey.value or (query.make_cursor_at(since) if since is not None else None)

        def read(client: Client) -> Any:
            page = client.page(query.after(cursor))
            ids = [row.id for row in page.rows if until is None or row.updated < until]
            is_last = len(ids) < len(page.rows) or page.cursor is None
            return pb.ListInstanceIdsResponse(
                instanceIds=ids, lastInstanceKey=make_text(None if is_last else page.cursor)
            )

        return await self._engine.read(read)

    async def stream_history(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:
        """Yield the events of the last execution of an instance, in chunks."""
        state = await self._engine.read_state(check_instance_id(request.instanceId))
        if state is None:
            raise instance_not_found(request.instanceId)
        origin = state.started.parent
        parent = await self._engine.read_state(origin.instance) if origin is not None else None
        for chunk in await self._engine.read(lambda client: list(_make_chunks(make_history(state, parent)))):
            yield chunk

    # ── purge ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def purge(self, request: Any, context: Any) -> Any:
        """Delete instances that have ended, and entities. Only deleted ones are counted."""
        is_complete = True
        match request.WhichOneof("request"):
            case "instanceId":
                count = await self._purge_ids([request.instanceId], recursive=request.recursive)
            case "instanceBatch":
                count = await self._purge_ids(request.instanceBatch.instanceIds, recursive=request.recursive)
            case "purgeInstanceFilter":
                count, is_complete = await self._purge_by(request.purgeInstanceFilter, recursive=request.recursive)
            case _:
                raise UsageError("a purge needs an id, several ids, or a filter")
        return pb.PurgeInstancesResponse(deletedInstanceCount=count, isComplete=BoolValue(value=is_complete))

    async def _purge_ids(self, ids: Iterable[str], *, recursive: bool) -> int:
        count = 0
        deleted: set[str] = set()
        for id in dict.fromkeys(ids):
            if is_entity_id(id):
                count += await self._purge_entity(id)
            else:
                deleted |= await self._purge_instance(check_instance_id(id), recursive=recursive)
        return count + len(deleted)

    async def _purge_instance(self, id: str, *, recursive: bool) -> set[str]:
        """Purge an instance. Returns the ids of all that are deleted."""
        purge = partial(_purge, items=[MessageItem(id, recursive=recursive)])
        results, deleted = await self._engine.submit_for(id, purge)
        error = results[id]
        if error is None or isinstance(error, (NotFound, WrongState, Conflict)):
            return deleted
        raise error

    async def _purge_entity(self, id: str) -> int:
        """Delete the state of an entity, if it has one, and then its log."""
        try:
            await self._engine.submit_for(id, lambda client: client.delete_entity(id))
        except NotFound:
            return 0
        except WrongState:
            pass  # it has no state
        try:
            result = await self._engine.submit_for(id, lambda client: client.purge_entities([id]))
        except WrongState:
            return 0
        return result.instances_deleted

    async def _purge_by(self, given: Any, *, recursive: bool) -> tuple[int, bool]:
        """Purge the ended instances that match. Returns their number, and whether the time was enough for all."""
        statuses = tuple(name for name in _read_statuses(given.runtimeStatus) if name in ENDED_STATUSES)
        if given.runtimeStatus and not statuses:
            return 0, True
        query = Query(
            status=statuses or tuple(sorted(ENDED_STATUSES)),
            created_after=field_time(given, "createdTimeFrom"),
            created_before=_exclusive(field_time(given, "createdTimeTo")),
            reverse=True,
        )
        deadline = monotonic() + _in_seconds(given.timeout) if given.HasField("timeout") else None
        ids = await self._engine.read(lambda client: list(client.iter_ids(query)))
        deleted: set[str] = set()
        for at in range(0, len(ids), _PURGED_AT_ONCE):
            if deadline is not None and monotonic() >= deadline:
                return len(deleted), False
            items = [MessageItem(id, recursive=recursive) for id in ids[at : at + _PURGED_AT_ONCE]]
            deleted |= (await self._engine.submit(partial(_purge, items=items)))[1]
        return len(deleted), True


def _purge(client: Client, items: list[MessageItem]) -> tuple[dict[str, DurableError | None], set[str]]:
    """Purge instances. Returns the error of each, or None, and the ids of all that are deleted."""
    descendants = {item.instance: find_ended_descendants(client, item.instance) for item in items if item.recursive}
    errors = client.control("purge", items)
    purged = {id for id, error in errors.items() if error is None}
    return errors, purged.union(*(descendants.get(id, ()) for id in purged))


def _read_statuses(numbers: Iterable[Any]) -> tuple[str, ...]:
    """Return the names of statuses, in their order; raises UsageError for an unknown one."""
    try:
        return tuple(dict.fromkeys(STATUS_NAMES[number] for number in numbers))
    except KeyError as error:
        raise UsageError(f"unknown runtime status {error.args[0]}") from None


def _exclusive(time: datetime | None) -> datetime | None:
    """Return the last time before a time."""
    return None if time is None else max(time, _FIRST_TIME + _MICROSECOND) - _MICROSECOND


def _in_seconds(duration: Any) -> float:
    """Return a duration, which may be longer than a timedelta can be."""
    return float(duration.seconds + duration.nanos / 1e9)


def _page_size(given: int) -> int:
    return min(given, MAX_PAGE_SIZE) if given > 0 else MAX_PAGE_SIZE


def _make_chunks(events: Iterator[Any]) -> Iterator[Any]:
    chunk: list[Any] = []
    size = 0
    for event in events:
        chunk.append(event)
        size += event.ByteSize()
        if len(chunk) >= _CHUNK_EVENTS or size >= _CHUNK_BYTES:
            yield pb.HistoryChunk(events=chunk)
            chunk, size = [], 0
    if chunk:
        yield pb.HistoryChunk(events=chunk)
