"""The state of one entity as its log gives it. Applying a record takes constant time.

Invariant: the state is the last one recorded; operations that were received and belong to no batch yet are pending.

Operations run one at a time, in order of arrival. A request for the lock queues with them. When it reaches the front
the lock is granted, and until it is released only the holder's operations run.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice

from msgspec import Raw
from msgspec.structs import replace

from durablecli.model import events as ev

MAX_SENDERS = 128
"""Senders that a snapshot keeps, so that a repair knows what was received from them."""


class EntityRuntimeState:
    """The fold of one entity's log. `state` is falsy if there is none."""

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
        self.holder_queue: deque[ev.Record] = deque()
        """The operations of the holder of the lock."""
        self.scheduled: dict[int, ev.Record] = {}
        """Operations with a scheduled time. They enter a queue with their TimerFired."""
        self._lock_requests: dict[ev.Origin, int] = {}
        """The requests for the lock in the queue. One in the queue that isn't here was cancelled."""
        self._cancelled_requests = 0
        self._deletions: Counter[bool] = Counter()
        """The deletions in the queue, counted by whether they are forced."""
        self.lock: ev.EntityLock | None = None
        self.senders: OrderedDict[tuple[str, str], int] = OrderedDict()
        """The last operation of each of the latest senders, by instance and execution."""
        self.failures = 0
        self.last_failure: ev.EntityOperationFailure | None = None
        self.blocked: str | None = None
        self.blocked_at: datetime | None = None

    # ── queries ──────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def exists(self) -> bool:
        return bool(self.state)

    @property
    def queued(self) -> int:
        """The number of operations and requests for the lock that wait."""
        return len(self.queue) + len(self.holder_queue) - self._cancelled_requests

    @property
    def runnable(self) -> deque[ev.Record]:
        """The records that may be processed now, in order: while the lock is held, those of its holder."""
        return self.queue if self.lock is None else self.holder_queue

    @property
    def is_disposable(self) -> bool:
        """Whether nothing would be lost with the log: no state, no lock, no pending records."""
        return not (self.state or self.lock or self.queue or self.holder_queue or self.scheduled)

    @property
    def has_pending_deletion(self) -> bool:
        """Whether a deletion is among the runnable records."""
        return self.lock is None and self._deletions.total() > 0

    @property
    def has_pending_forced_deletion(self) -> bool:
        """Whether a forced deletion is among them: it drops everything before it."""
        return self.lock is None and self._deletions[True] > 0

    def knows_request(self, sender: ev.Origin) -> bool:
        """Whether this request for the lock was granted, or waits."""
        return (self.lock is not None and self.lock.sender == sender) or sender in self._lock_requests

    def next_operations(self, limit: int) -> list[ev.Record]:
        """The next operations to run, up to the first record of another kind."""
        found: list[ev.Record] = []
        for record in islice(self.runnable, limit):
            if not isinstance(record.event, ev.EntityOperationReceived):
                break
            found.append(record)
        return found

    def in_line(self) -> Iterator[ev.Record]:
        """The queued records in order, without cancelled requests."""
        return chain(self.holder_queue, filter(self._is_in_line, self.queue))

    def pending_records(self) -> Iterator[ev.Record]:
        """All pending records, in an order in which they can be received again."""
        return chain(self.in_line(), self.scheduled.values())

    def _is_in_line(self, record: ev.Record) -> bool:
        event = record.event
        return not isinstance(event, ev.EntityLockReceived) or self._lock_requests.get(event.sender) == record.n

    def scheduled_times(self) -> list[tuple[int, datetime]]:
        """The operations with a scheduled time, and that time."""
        return [(n, _scheduled_time(record)) for n, record in self.scheduled.items()]

    # ── the fold ─────────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: ev.Record) -> None:
        """Apply one record."""
        n, at, event = record.n, record.at, record.event
        self.last_n = n
        self.updated = at
        match event:
            case ev.EntityOperationReceived():
                if event.sender is not None:
                    self._remember_sender(event.sender)
                if event.scheduled_time is not None:
                    self.scheduled[n] = record
                else:
                    self._enqueue(record, event)
            case ev.EntityBatch():
                self._apply_batch(event, at)
            case ev.EntityLockReceived():
                self.queue.append(record)
                self._lock_requests[event.sender] = n
                self._grant_lock(at)
            case ev.EntityUnlockReceived():
                self._release_lock(event.sender)
                self._grant_lock(at)
            case ev.EntityDeletionReceived():
                self.queue.append(record)
                self._deletions[event.force] += 1
            case ev.TimerFired():
                self._fire_timer(event.timer)
            case ev.ExecutionBlocked():
                self.blocked, self.blocked_at = event.reason, at
            case ev.ExecutionUnblocked():
                self.blocked = self.blocked_at = None
            case ev.EntityStarted():
                self.id, self.execution = event.instance, event.execution
                self.created = self.modified = at
            case ev.EntitySnapshot():
                self._apply_snapshot(event)
            case _:
                raise AssertionError(f"{type(event).__name__} isn't a record of an entity")

    def _remember_sender(self, sender: ev.Origin) -> None:
        key = (sender.instance, sender.execution)
        last = self.senders.pop(key, 0)
        self.senders[key] = max(last, sender.n)
        if len(self.senders) > MAX_SENDERS:
            self.senders.popitem(last=False)

    def _fire_timer(self, n: int) -> None:
        record = self.scheduled.pop(n, None)
        if record is not None and isinstance(record.event, ev.EntityOperationReceived):
            event = replace(record.event, scheduled_time=None)
            self._enqueue(replace(record, event=event), event)

    def _enqueue(self, record: ev.Record, event: ev.EntityOperationReceived) -> None:
        queue = self.holder_queue if self.lock is not None and _is_lock_holder(self.lock, event.sender) else self.queue
        queue.append(record)

    def _apply_batch(self, batch: ev.EntityBatch, at: datetime) -> None:
        self.modified = at
        failed = {each.n: each.failure for each in batch.results if each.failure is not None}
        queue = self.runnable
        while queue:
            record = queue.popleft()
            failure = failed.get(record.n) if failed else None
            if isinstance(record.event, ev.EntityDeletionReceived):
                self._deletions[record.event.force] -= 1
            elif failure is not None and isinstance(record.event, ev.EntityOperationReceived):
                self.failures += 1
                self.last_failure = ev.EntityOperationFailure(record.event.name, at, failure)
            if record.n == batch.upto:
                break
        if batch.deleted:
            self.state = ev.ABSENT
        elif batch.state:
            self.state = batch.state.copy()  # it may be a view of the whole batch
        self._grant_lock(at)

    def _grant_lock(self, at: datetime) -> None:
        """Grant the lock to the request at the front, if there is one."""
        while self.lock is None and self.queue and isinstance(event := self.queue[0].event, ev.EntityLockReceived):
            if self._is_in_line(self.queue.popleft()):
                del self._lock_requests[event.sender]
                self.lock = ev.EntityLock(event.sender, event.entities, at)
            else:
                self._cancelled_requests -= 1

    def _release_lock(self, sender: ev.Origin) -> None:
        if self.lock is not None and self.lock.sender == sender:
            self.lock = None
            self.queue.extendleft(reversed(self.holder_queue))  # sent under the lock, so first
            self.holder_queue.clear()
        elif self._lock_requests.pop(sender, None) is not None:
            self._cancelled_requests += 1  # searching the queue for it would be O(n)

    def _apply_snapshot(self, event: ev.EntitySnapshot) -> None:
        self.id, self.execution = event.instance, event.execution
        self.created, self.modified = event.created, event.modified
        self.state, self.lock = event.state.copy(), event.lock
        self.failures, self.last_failure = event.failures, event.last_failure
        self.senders = OrderedDict(((each.instance, each.execution), each.n) for each in event.senders)

    def make_snapshot(self) -> ev.EntitySnapshot:
        """Make the snapshot that replaces the log, except pending records."""
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
            tuple(ev.Origin(*key, n) for key, n in self.senders.items()),
        )


def _is_lock_holder(lock: ev.EntityLock, sender: ev.Origin | None) -> bool:
    holder = lock.sender
    return sender is not None and (sender.instance, sender.execution) == (holder.instance, holder.execution)


def _scheduled_time(record: ev.Record) -> datetime:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    assert event.scheduled_time is not None
    return event.scheduled_time


def fold_entity_log(records: Iterable[ev.Record], size: int = 0) -> EntityRuntimeState:
    """The state after a whole log of `size` bytes."""
    entity = EntityRuntimeState()
    for record in records:
        entity.apply(record)
    entity.size = size
    return entity
