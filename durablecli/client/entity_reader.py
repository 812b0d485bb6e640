"""Reads the status of entities from their logs and from the messages that are posted for them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from msgspec.structs import replace

from durablecli.client.entity_status import (
    EntityLockHolder,
    EntityStateResponse,
    EntityStatus,
    LastOperationFailure,
    PendingEntityMessage,
    QueuedEntityRequest,
)
from durablecli.client.orchestration_status import NULL, BlockedInfo, EngineStatus
from durablecli.client.remote_workers import RemoteWorkers, WorkerWait
from durablecli.client.running_work import RunningEntityBatch, RunningOperations
from durablecli.client.status_builder import parse_records
from durablecli.client.status_reader import StatusReader
from durablecli.errors import InstanceSetAside, NotFound, WrongState
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.model.failure_report import make_report
from durablecli.plurals import format_count
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.store.inbox.messages import Message


class EntityReader:
    """Reads the entities of one hub. Every call reads the files as they are at that moment."""

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader

    def read_state(self, entity_id: EntityId | str) -> EntityStateResponse:
        """Return whether an entity has a state, and the state."""
        found = self.read_status(entity_id)
        if found.set_aside is not None:
            raise InstanceSetAside(f"{found.entity_id} is quarantined: {found.set_aside.reason}")
        return EntityStateResponse(found.exists, found.state)

    def read_status(self, entity_id: EntityId | str) -> EntityStatus:
        """Return the status of an entity; it is falsy if nothing was ever sent to it."""
        entity = to_entity_id(entity_id)
        # The inbox first: a signal that is accepted in between is then found in the log.
        posted = tuple(chain.from_iterable(map(_pending_messages, self._reader.read_pending_messages(str(entity)))))
        found, set_aside = self._reader.read_history(str(entity))
        engine = self._reader.read_engine_status()
        if found is None:
            return EntityStatus(entity_id=entity, requested=posted, engine=engine, set_aside=set_aside)
        running = self._reader.read_running_batches(engine).get(str(entity))
        state = fold_entity_log(parse_records(found), found.size)
        worker = _find_worker(self._reader.read_workers(), entity, state, running) if state.runnable else None
        status = replace(_build_entity_status(entity, state, posted, engine, running), worker=worker)
        return status if set_aside is None else replace(status, set_aside=set_aside)

    def get_existing(self, entity_id: EntityId | str) -> EntityStatus:
        """Return the status of an entity, with or without a state; raise NotFound if nothing was ever sent to it."""
        current = self.read_status(entity_id)
        if not current:
            raise NotFound(f"no entity '{current.entity_id}' in {self._reader.root}")
        return current

    def check_allowed(self, kind: str, entity_id: str, *, force: bool = False) -> EntityStatus:
        """Return the status of an entity that may be deleted or purged; raise NotFound or WrongState for others."""
        current = self.get_existing(entity_id)
        if current.set_aside is not None:
            if kind == "purge" and force:
                return current
            hint = "; durable entity purge --force deletes it" if kind == "purge" else ""
            raise InstanceSetAside(f"{current.entity_id} is quarantined: {current.set_aside.reason}{hint}")
        refusal = why_entity_refuses(kind, current)
        if refusal:
            raise WrongState(f"{current.entity_id} {refusal}")
        return current


def why_entity_refuses(kind: str, current: EntityStatus) -> str:
    """Return why an entity can't be deleted or purged now, as words that follow its id; empty if it can."""
    return _why_not_purgeable(current) if kind == "purge" else _why_not_deletable(current)


def _why_not_purgeable(current: EntityStatus) -> str:
    if current.exists:
        return "has a state: delete it first (durable entity delete)"
    if current.locked_by is not None:
        return f"is locked by {current.locked_by.instance}"
    if current.queued or current.scheduled:
        return f"has {format_count(len(current.queued) + len(current.scheduled), 'pending operation')}"
    if any(one.kind == "signal" for one in current.requested):
        return "has a pending signal"
    return ""


def _why_not_deletable(current: EntityStatus) -> str:
    if current.exists or current.queued or any(one.kind == "signal" for one in current.requested):
        return ""
    return "is Empty: it has no state to delete"


def _build_entity_status(
    entity: EntityId,
    state: EntityRuntimeState,
    posted: tuple[PendingEntityMessage, ...],
    engine: EngineStatus,
    running: RunningEntityBatch | None,
) -> EntityStatus:
    lock = state.lock
    return EntityStatus(
        entity_id=entity,
        exists=state.exists,
        raw_state=state.state or NULL,
        created_time=state.created,
        last_updated_time=state.updated,
        last_operation_time=state.modified,
        execution=state.execution,
        locked_by=None if lock is None else EntityLockHolder(lock.sender.instance, lock.since, lock.entities),
        queued=tuple(map(QueuedEntityRequest.from_record, state.in_line())),
        running=None if running is None else _count_running(running, state),
        scheduled=tuple(sorted(map(QueuedEntityRequest.from_record, state.scheduled.values()), key=_schedule_order)),
        failures=state.failures,
        last_failure=None if state.last_failure is None else _to_last_failure(state.last_failure),
        blocked=None if state.blocked is None else BlockedInfo(state.blocked, state.blocked_at),
        requested=posted,
        engine=engine,
    )


def _find_worker(
    workers: RemoteWorkers | None, entity: EntityId, state: EntityRuntimeState, running: RunningEntityBatch | None
) -> WorkerWait | None:
    if workers is None or not workers.is_remote("entity", entity.name):
        return None
    return workers.explain_batch(str(entity), state.execution, running.id if running else 0, entity.name)


def _count_running(running: RunningEntityBatch, state: EntityRuntimeState) -> RunningOperations | None:
    operations = running.count_running(state)
    return RunningOperations(running.since, operations) if operations else None


def _to_last_failure(last: ev.EntityOperationFailure) -> LastOperationFailure:
    report = make_report(last.failure)
    return LastOperationFailure(
        last.name, last.at, last.failure.type, last.failure.message, report.at, report.traceback
    )


def _schedule_order(queued: QueuedEntityRequest) -> tuple[float, int]:
    return (queued.scheduled_time.timestamp() if queued.scheduled_time else 0.0), queued.id


def _pending_messages(message: Message) -> Iterator[PendingEntityMessage]:
    return (PendingEntityMessage(message.kind, message.at, item.name, item.start_at) for item in message.items)
