"""The ledger of an entity: the fold of its log, O(1) a record, the same code live and from a file.

    Its state is the last one recorded, and what waits is what was received and stands in no batch yet.

One operation runs at a time, in the order in which they came. A request for the lock stands in the same line; when it
comes to the front the lock is granted, and from then on only its holder's operations run, until it is given back.
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
"""So many senders are remembered over a snapshot: a repair then knows what was received from them."""


class EntityRuntimeState:
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
        self.holder_queue: deque[ev.Record] = deque()
        """The operations of whoever holds the lock."""
        self.scheduled: dict[int, ev.Record] = {}
        """What waits for its time: it stands in no line before a TimerFired says so."""
        self._lock_requests: dict[ev.Origin, int] = {}
        """The requests for the lock that stand in the queue. One that isn't here any more was taken back."""
        self._cancelled_requests = 0
        self._deletions: Counter[bool] = Counter()
        """How many stand in the queue, by whether they are forced."""
        self.lock: ev.EntityLock | None = None
        self.senders: OrderedDict[tuple[str, str], int] = OrderedDict()
        """The last operation that came from each of the latest senders, by instance and execution."""
        self.failures = 0
        self.last_failure: ev.EntityOperationFailure | None = None
        self.blocked: str | None = None
        self.blocked_at: datetime | None = None

    # ── what others ask ────────────────────────────────────────────────────────────────────────────────────────

    @property
    def exists(self) -> bool:
        return bool(self.state)

    @property
    def queued(self) -> int:
        """How many operations and requests for the lock wait."""
        return len(self.queue) + len(self.holder_queue) - self._cancelled_requests

    @property
    def runnable(self) -> deque[ev.Record]:
        """What may be done now, in order: while the lock is held, what its holder sent."""
        return self.queue if self.lock is None else self.holder_queue

    @property
    def is_disposable(self) -> bool:
        """Whether nothing would be lost with the log: no state, no lock, and nothing that waits."""
        return not (self.state or self.lock or self.queue or self.holder_queue or self.scheduled)

    @property
    def has_pending_deletion(self) -> bool:
        """Whether a deletion stands somewhere among what may be done now."""
        return self.lock is None and self._deletions.total() > 0

    @property
    def has_pending_forced_deletion(self) -> bool:
        """Whether all that stands before a deletion is to be dropped."""
        return self.lock is None and self._deletions[True] > 0

    def knows_request(self, sender: ev.Origin) -> bool:
        """Whether this request for the lock was granted here, or waits here."""
        return (self.lock is not None and self.lock.sender == sender) or sender in self._lock_requests

    def next_operations(self, limit: int) -> list[ev.Record]:
        """The next operations that may run one after another, up to the first thing that is none."""
        found: list[ev.Record] = []
        for record in islice(self.runnable, limit):
            if not isinstance(record.event, ev.EntityOperationReceived):
                break
            found.append(record)
        return found

    def in_line(self) -> Iterator[ev.Record]:
        """All that stands in line, in order; what was taken back doesn't."""
        return chain(self.holder_queue, filter(self._is_in_line, self.queue))

    def pending_records(self) -> Iterator[ev.Record]:
        """All that still waits, in an order in which it can be received once more."""
        return chain(self.in_line(), self.scheduled.values())

    def _is_in_line(self, record: ev.Record) -> bool:
        event = record.event
        return not isinstance(event, ev.EntityLockReceived) or self._lock_requests.get(event.sender) == record.n

    def scheduled_times(self) -> list[tuple[int, datetime]]:
        """The operations that wait for their time, and when it comes."""
        return [(n, _scheduled_time(record)) for n, record in self.scheduled.items()]

    # ── the fold ───────────────────────────────────────────────────────────────────────────────────────────────

    def apply(self, record: ev.Record) -> None:
        """Fold one record in."""
        n, at, event = record
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
                raise AssertionError(f"{type(event).__name__} has no place in the log of an entity")

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
            self._enqueue(record._replace(event=event), event)

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
            self.state = batch.state
        self._grant_lock(at)

    def _grant_lock(self, at: datetime) -> None:
        """Give the lock to whoever asked for it, once that request stands at the front."""
        while self.lock is None and self.queue and isinstance(event := self.queue[0].event, ev.EntityLockReceived):
            if self._is_in_line(self.queue.popleft()):
                del self._lock_requests[event.sender]
                self.lock = ev.EntityLock(event.sender, event.entities, at)
            else:
                self._cancelled_requests -= 1

    def _release_lock(self, sender: ev.Origin) -> None:
        if self.lock is not None and self.lock.sender == sender:
            self.lock = None
            self.queue.extendleft(reversed(self.holder_queue))  # sent under the lock, so before all that waited for it
            self.holder_queue.clear()
        elif self._lock_requests.pop(sender, None) is not None:
            self._cancelled_requests += 1  # looked for in the queue, it would cost the more the longer that is

    def _apply_snapshot(self, event: ev.EntitySnapshot) -> None:
        self.id, self.execution = event.instance, event.execution
        self.created, self.modified = event.created, event.modified
        self.state, self.lock = event.state, event.lock
        self.failures, self.last_failure = event.failures, event.last_failure
        self.senders = OrderedDict(((each.instance, each.execution), each.n) for each in event.senders)

    def make_snapshot(self) -> ev.EntitySnapshot:
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
    """The ledger of a whole log of `size` bytes."""
    entity = EntityRuntimeState()
    for record in records:
        entity.apply(record)
    entity.size = size
    return entity
