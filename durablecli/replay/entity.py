"""The ledger of an entity: the fold of its log, O(1) a record, the same code live and from a file.

    Its state is the last one recorded, and what waits is what was received and stands in no batch yet.

One operation runs at a time, in the order in which they came. A request for the lock stands in the same line; when it
comes to the front the lock is granted, and from then on only its holder's operations run, until it is given back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.entities import entity_name
from durablecli.model.status import Summary


class EntityLedger:
    """What the log of one entity says. `state` is falsy where there is none."""

    def __init__(self) -> None:
        self.id = ""
        self.execution = ""
        self.created: datetime = datetime.min
        self.updated: datetime = datetime.min
        self.modified: datetime = datetime.min
        self.last_n = 0
        self.size = 0
        self.state: Raw = ev.ABSENT
        self.queue: deque[ev.Record] = deque()
        self.inner: deque[ev.Record] = deque()
        """The operations of whoever holds the lock."""
        self.scheduled: dict[int, ev.Record] = {}
        self.lock: ev.EntityLock | None = None
        self.failures = 0
        self.last_failure: ev.OperationFailure | None = None
        self.blocked: str | None = None
        self.blocked_at: datetime | None = None

    # ── what others ask ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def exists(self) -> bool:
        return bool(self.state)

    @property
    def queued(self) -> int:
        """How many operations and requests for the lock wait."""
        return len(self.queue) + len(self.inner)

    @property
    def runnable(self) -> deque[ev.Record]:
        """What may be done now, in order: while the lock is held, what its holder sent."""
        return self.queue if self.lock is None else self.inner

    @property
    def is_bare(self) -> bool:
        """Whether nothing would be lost with the log: no state, no lock, and nothing that waits."""
        return not (self.state or self.lock or self.queue or self.inner or self.scheduled)

    @property
    def awaits_deletion(self) -> bool:
        """Whether a deletion stands somewhere among what may be done now; looks at all of it."""
        return any(isinstance(record.event, ev.EntityDeletionReceived) for record in self.runnable)

    def concerns(self, sender: ev.Origin) -> bool:
        """Whether this request for the lock was granted here, or waits here."""
        if self.lock is not None and self.lock.sender == sender:
            return True
        return any(isinstance(event, ev.EntityLockReceived) and event.sender == sender for _, _, event in self.queue)

    def operations(self, most: int) -> list[ev.Record]:
        """The next operations that may run one after another, up to the first thing that is none."""
        found: list[ev.Record] = []
        for record in islice(self.runnable, most):
            if not isinstance(record.event, ev.EntityOperationReceived):
                break
            found.append(record)
        return found

    def waiting(self) -> Iterator[ev.Record]:
        """All that still waits, in an order in which it can be received once more."""
        return chain(self.inner, self.queue, self.scheduled.values())

    def due(self) -> list[tuple[int, datetime]]:
        """The operations that wait for their time, and when it comes."""
        return [(n, _time_of(record)) for n, record in self.scheduled.items()]

    # ── the fold ───────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: ev.Record) -> None:
        """Fold one record in."""
        n, at, event = record
        self.last_n = n
        self.updated = at
        match event:
            case ev.EntityOperationReceived():
                if event.scheduled_time is not None and event.scheduled_time > at:
                    self.scheduled[n] = record
                else:
                    self._enqueue(record)
            case ev.EntityBatch():
                self._done(event, at)
            case ev.EntityLockReceived():
                self.queue.append(record)
                self._grant(at)
            case ev.EntityUnlockReceived():
                self._release(event.sender)
                self._grant(at)
            case ev.EntityDeletionReceived():
                self.queue.append(record)
            case ev.TimerFired():
                if (scheduled := self.scheduled.pop(event.timer, None)) is not None:
                    self._enqueue(scheduled)
            case ev.ExecutionBlocked():
                self.blocked, self.blocked_at = event.reason, at
            case ev.ExecutionUnblocked():
                self.blocked = self.blocked_at = None
            case ev.EntityStarted():
                self.id, self.execution = event.instance, event.execution
                self.created = self.modified = at
            case ev.EntitySnapshot():
                self._restore(event)
            case _:
                raise AssertionError(f"{type(event).__name__} has no place in the log of an entity")

    def _enqueue(self, record: ev.Record) -> None:
        event = record.event
        assert isinstance(event, ev.EntityOperationReceived)
        line = self.inner if self.lock is not None and _is_holder(self.lock, event.sender) else self.queue
        line.append(record)

    def _done(self, batch: ev.EntityBatch, at: datetime) -> None:
        self.modified = at
        failed = {each.n: each.failure for each in batch.results if each.failure is not None}
        line = self.runnable
        while line:
            record = line.popleft()
            failure = failed.get(record.n) if failed else None
            if failure is not None and isinstance(record.event, ev.EntityOperationReceived):
                self.failures += 1
                self.last_failure = ev.OperationFailure(record.event.name, at, failure)
            if record.n == batch.upto:
                break
        if batch.deleted:
            self.state = ev.ABSENT
        elif batch.state:
            self.state = batch.state
        self._grant(at)

    def _grant(self, at: datetime) -> None:
        """Give the lock to whoever asked for it, once that request stands at the front."""
        if self.lock is None and self.queue and isinstance(event := self.queue[0].event, ev.EntityLockReceived):
            self.lock = ev.EntityLock(event.sender, event.entities, at)
            self.queue.popleft()

    def _release(self, sender: ev.Origin) -> None:
        if self.lock is not None and self.lock.sender == sender:
            self.lock = None
            self.queue.extendleft(reversed(self.inner))  # sent under the lock, so before all that waited for it
            self.inner.clear()
            return
        for record in self.queue:
            if isinstance(record.event, ev.EntityLockReceived) and record.event.sender == sender:
                self.queue.remove(record)
                return

    def _restore(self, event: ev.EntitySnapshot) -> None:
        self.id, self.execution = event.instance, event.execution
        self.created, self.modified = event.created, event.modified
        self.state, self.lock = event.state, event.lock
        self.failures, self.last_failure = event.failures, event.last_failure

    def snapshot(self) -> ev.EntitySnapshot:
        """What stands for the whole log, but for what still waits."""
        return ev.EntitySnapshot(
            self.id,
            self.execution,
            self.last_n,
            self.created,
            self.modified,
            self.state,
            self.lock,
            self.failures,
            self.last_failure,
        )


def _is_holder(lock: ev.EntityLock, sender: ev.Origin | None) -> bool:
    holder = lock.sender
    return sender is not None and (sender.instance, sender.execution) == (holder.instance, holder.execution)


def _time_of(record: ev.Record) -> datetime:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    assert event.scheduled_time is not None
    return event.scheduled_time


def fold_entity(records: Iterable[ev.Record], size: int = 0) -> EntityLedger:
    """The ledger of a whole log of `size` bytes."""
    ledger = EntityLedger()
    for record in records:
        ledger.apply(record)
    ledger.size = size
    return ledger


def entity_summary(ledger: EntityLedger) -> Summary:
    """The row of this entity in the index."""
    return Summary(
        id=ledger.id,
        name=entity_name(ledger.id),
        status="Exists" if ledger.exists else "Empty",
        execution=ledger.execution,
        parent=None,
        version=None,
        created=ledger.created,
        updated=ledger.updated,
        records=ledger.last_n,
        bytes=ledger.size,
        next_due=min((at for _, at in ledger.due()), default=None),
        owes=bool(ledger.runnable) or ledger.blocked is not None,
        waiting=(),
        blocked=ledger.blocked,
        blocked_at=ledger.blocked_at,
        locked_by=ledger.lock.sender.instance if ledger.lock is not None else None,
        queued=ledger.queued,
    )
