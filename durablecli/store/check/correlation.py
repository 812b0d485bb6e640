"""Questions and answers across a hub, for a repair: what instances wait for, and what others have recorded of it.

After records were lost, an instance may wait for an answer that was given, or that nobody will give. Each open question
is matched with its answer: what is known is delivered, what was never received is sent again, all else fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.replay import pending
from durablecli.replay.entity_state import MAX_SENDERS, EntityRuntimeState
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.journal.commits import Kept

Key = tuple[str, str, int]


@dataclass
class EntityLook:
    """The log of one entity: what it has received from whom, what came of it, and what waits."""

    ledger: EntityRuntimeState
    received: dict[Key, ev.Record] = field(default_factory=dict)
    results: dict[int, ev.EntityOperationResult] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    is_whole: bool = False
    """Whether the log goes back to the entity's beginning."""
    earlier: dict[tuple[str, str], int] = field(default_factory=dict)
    """The last operation of each sender that is in the log's snapshot."""
    last_batch: ev.Record | None = None
    done_until: datetime | None = None
    """When the last operation was received that is done; what was sent later isn't."""

    def knows(self, origin: ev.Origin) -> bool:
        """Whether an operation may have been received, also where the log doesn't go back so far."""
        if key(origin) in self.received:
            return True
        if self.is_whole:
            return False
        sender = (origin.instance, origin.execution)
        if sender in self.earlier:
            return origin.n <= self.earlier[sender]
        return not self.earlier or len(self.earlier) >= MAX_SENDERS


def look(records: Iterable[ev.Record], ledger: EntityRuntimeState) -> EntityLook:
    """What the records of a log say; `ledger` is their fold."""
    found = EntityLook(ledger, waiting={record.n for record in ledger.pending_records()})
    received_at: dict[int, datetime] = {}
    for record in records:
        received_at[record.n] = record.at
        match record.event:
            case ev.EntityStarted():
                found.is_whole = True
            case ev.EntitySnapshot():
                found.earlier = {(each.instance, each.execution): each.n for each in record.event.senders}
            case ev.EntityOperationReceived(sender=ev.Origin() as sender):
                found.received[key(sender)] = record
            case ev.EntityBatch():
                found.results |= {each.n: each for each in record.event.results}
                found.last_batch = record
                found.done_until = received_at.get(record.event.upto, record.at)
            case _:
                pass
    return found


def key(origin: ev.Origin) -> Key:
    """An origin as a key."""
    return origin.instance, origin.execution, origin.n


class Questions:
    """Answers the open questions of instances. `instance` and `entity` give what is known of another one."""

    def __init__(
        self, instance: Callable[[str], RuntimeState | None], entity: Callable[[str], EntityLook | None]
    ) -> None:
        self._instance = instance
        self._entity = entity

    def of(self, ledger: RuntimeState) -> Iterator[tuple[Kept, str]]:
        """What is to be delivered for the open questions of a live instance, each with a line that says so."""
        if ledger.ended:
            return
        for n, event in ledger.open_decisions.items():
            origin = ev.Origin(ledger.instance, ledger.execution, n)
            match event:
                case ev.SubOrchestrationInstanceCreated():
                    yield from self._child(origin, event)
                case ev.EntityOperationCalled():
                    yield from self._call(origin, event)
                case ev.EntityLockRequested():
                    yield from self._lock(origin, event)
                case _:
                    pass

    def lost_signals(
        self, records: Iterable[ev.Record], sender: RuntimeState, damaged: set[str]
    ) -> Iterator[tuple[Kept, str]]:
        """The signals of an orchestration to damaged entities that have neither done nor received them."""
        for n, at, event in records:
            if not isinstance(event, ev.EntityOperationSignaled) or event.entity not in damaged:
                continue
            origin = ev.Origin(sender.instance, sender.execution, n)
            entity = self._entity(event.entity)
            if entity is None or entity.knows(origin) or (entity.done_until is not None and at <= entity.done_until):
                continue
            again = ev.EntityOperationReceived(event.name, event.input, origin, scheduled_time=event.scheduled_time)
            yield Kept(event.entity, event=again), f"{_place(origin)}: {event.name} of {event.entity} is sent again"

    def _child(self, origin: ev.Origin, created: ev.SubOrchestrationInstanceCreated) -> Iterator[tuple[Kept, str]]:
        child = self._instance(created.instance)
        parent = child.started.parent if child is not None else None
        # The record may have another number since an earlier repair.
        same = parent is not None and (parent.instance, parent.execution) == (origin.instance, origin.execution)
        if child is None or not same:
            why = "is gone" if child is None else "is taken"
            failure = Failure("durablecli.errors.Conflict", f"the instance id '{created.instance}' {why}")
            yield _answer(origin, ev.SubOrchestrationInstanceFailed(origin.n, failure), f"{created.instance} {why}")
        elif child.ended:
            what = f"the outcome of {created.instance} is delivered again"
            yield _answer(origin, pending.child_outcome(child, origin.n), what)

    def _call(self, origin: ev.Origin, called: ev.EntityOperationCalled) -> Iterator[tuple[Kept, str]]:
        entity = self._entity(called.entity)
        what = f"operation {called.name} of {called.entity}"
        if entity is None:
            failure = Failure("durablecli.errors.NotFound", f"the log of {called.entity} is lost")
            yield _answer(origin, ev.EntityOperationFailed(origin.n, failure), f"{what} fails: its log is lost")
            return
        received = entity.received.get(key(origin))
        if received is None and not entity.knows(origin):
            again = ev.EntityOperationReceived(called.name, called.input, origin, expects_reply=True)
            yield Kept(called.entity, event=again), f"{_place(origin)}: {what} is sent again"
        elif received is None or received.n not in entity.waiting:
            outcome = entity.results.get(received.n) if received is not None else None
            yield _answer(origin, outcome_of(outcome, origin.n), f"the outcome of {what} is delivered again")

    def _lock(self, origin: ev.Origin, asked: ev.EntityLockRequested) -> Iterator[tuple[Kept, str]]:
        for id in asked.entities:
            entity = self._entity(id)
            lock = entity.ledger.lock if entity is not None else None
            if lock is not None and lock.sender == origin:
                continue
            if entity is None or not entity.ledger.knows_request(origin):
                again = ev.EntityLockReceived(asked.entities, origin)
                yield Kept(id, event=again), f"{_place(origin)}: the lock of {id} is asked for again"
            return


def outcome_of(
    outcome: ev.EntityOperationResult | None, n: int
) -> ev.EntityOperationCompleted | ev.EntityOperationFailed:
    """The answer to the call `n`; None stands for an outcome that is known no more."""
    if outcome is None:
        lost = Failure("durablecli.errors.DamagedHub", "the operation was applied, and its outcome is lost")
        return ev.EntityOperationFailed(n, lost)
    if outcome.failure is not None:
        return ev.EntityOperationFailed(n, outcome.failure)
    return ev.EntityOperationCompleted(n, outcome.result or ev.NULL)


def _answer(origin: ev.Origin, event: ev.Arrival, what: str) -> tuple[Kept, str]:
    return Kept(origin.instance, origin.execution, event), f"{_place(origin)}: {what}"


def _place(origin: ev.Origin) -> str:
    return f"{origin.instance}, record n {origin.n}"
