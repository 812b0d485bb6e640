"""What a client does with entities: it reads their logs, signals them, and takes away their states and their logs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from msgspec.structs import replace

from durablecli.client.entity_status import (
    EntityStateResponse,
    EntityStatus,
    LastFailure,
    LockHolder,
    Queued,
    Requested,
)
from durablecli.client.orchestration_status import NULL, Blocked, Engine
from durablecli.client.running_work import Running, Runs
from durablecli.client.status_reader import Reader, parse
from durablecli.errors import InstanceSetAside, NotFound, WrongState
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId, to_entity_id
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.store.inbox.messages import Message


class Entities:
    """The entities of one hub, as its files stand at each call."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def state(self, named: EntityId | str) -> EntityStateResponse:
        """The state alone."""
        found = self.status(named)
        if found.set_aside is not None:
            raise InstanceSetAside(f"{found.entity_id} is set aside: {found.set_aside.reason}")
        return EntityStateResponse(found.exists, found.state)

    def status(self, named: EntityId | str) -> EntityStatus:
        """How an entity stands; falsy where nothing was ever sent to it."""
        entity = to_entity_id(named)
        # The inbox first: a signal that is taken in between is then in the log.
        posted = tuple(chain.from_iterable(map(_posted, self._reader.pending(str(entity)))))
        found, set_aside = self._reader.find(str(entity))
        engine = self._reader.engine()
        if found is None:
            return EntityStatus(entity_id=entity, requested=posted, engine=engine, set_aside=set_aside)
        running = self._reader.running(engine).get(str(entity))
        status = _of_ledger(entity, fold_entity_log(parse(found), found.good_bytes), posted, engine, running)
        return status if set_aside is None else replace(status, set_aside=set_aside)

    def existing(self, named: EntityId | str) -> EntityStatus:
        """The same for an entity that there is, with or without a state; raises NotFound."""
        current = self.status(named)
        if not current:
            raise NotFound(f"no entity '{current.entity_id}' in {self._reader.root}")
        return current

    def permit(self, kind: str, named: str, *, force: bool = False) -> EntityStatus:
        """How an entity stands whose state (delete) or whose log (purge) may go; raises NotFound or WrongState."""
        current = self.existing(named)
        if current.set_aside is not None:
            if kind == "purge" and force:
                return current
            hint = "; `durable entity purge --force` deletes it" if kind == "purge" else ""
            raise InstanceSetAside(f"{current.entity_id} is set aside: {current.set_aside.reason}{hint}")
        refusal = _still_needed(current) if kind == "purge" else _nothing_to_delete(current)
        if refusal:
            raise WrongState(f"{current.entity_id} {refusal}")
        return current


def _still_needed(current: EntityStatus) -> str:
    if current.exists:
        return "has a state: delete that first (durable entity delete)"
    if current.locked_by is not None:
        return f"is locked by {current.locked_by.instance}"
    if current.queued or current.scheduled:
        waiting = len(current.queued) + len(current.scheduled)
        return f"isn't done: {waiting} operation{' waits' if waiting == 1 else 's wait'} for it"
    if any(one.kind == "signal" for one in current.requested):
        return "isn't done: a signal to it is on its way"
    return ""


def _nothing_to_delete(current: EntityStatus) -> str:
    if current.exists or current.queued or any(one.kind == "signal" for one in current.requested):
        return ""
    return "is Empty: it has no state to delete"


def _of_ledger(
    entity: EntityId, ledger: EntityRuntimeState, posted: tuple[Requested, ...], engine: Engine, running: Running | None
) -> EntityStatus:
    lock = ledger.lock
    return EntityStatus(
        entity_id=entity,
        exists=ledger.exists,
        raw_state=ledger.state or NULL,
        created_time=ledger.created,
        last_updated_time=ledger.updated,
        last_operation_time=ledger.modified,
        execution=ledger.execution,
        locked_by=None if lock is None else LockHolder(lock.sender.instance, lock.since, lock.entities),
        queued=tuple(map(Queued.of, ledger.in_line())),
        running=None if running is None else _runs(running, ledger),
        scheduled=tuple(sorted(map(Queued.of, ledger.scheduled.values()), key=_due)),
        failures=ledger.failures,
        last_failure=None if ledger.last_failure is None else _failure(ledger.last_failure),
        blocked=None if ledger.blocked is None else Blocked(ledger.blocked, ledger.blocked_at),
        requested=posted,
        engine=engine,
    )


def _runs(running: Running, ledger: EntityRuntimeState) -> Runs | None:
    operations = running.among(ledger)
    return Runs(running.since, operations) if operations else None


def _failure(last: ev.EntityOperationFailure) -> LastFailure:
    return LastFailure(last.name, last.at, last.failure.type, last.failure.message)


def _due(queued: Queued) -> tuple[float, int]:
    return (queued.scheduled_time.timestamp() if queued.scheduled_time else 0.0), queued.id


def _posted(message: Message) -> Iterator[Requested]:
    return (Requested(message.kind, message.at, item.name, item.start_at) for item in message.items)
