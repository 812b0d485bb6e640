"""The checker of an entity's log: every operation is processed once, in order. It shares no code with the fold."""

from __future__ import annotations

from collections.abc import Iterator

from durablecli.model import events as ev

_OperationOrDeletion = ev.EntityOperationReceived | ev.EntityDeletionReceived
_Received = _OperationOrDeletion | ev.EntityLockReceived


class EntityLogChecker:
    """Checks one record after another.

    `queue` holds the waiting operations, in order; `holder_queue` those that the lock's holder sent since acquiring it.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.record_count = 0
        self.queue: dict[int, _Received] = {}
        self.holder_queue: dict[int, _Received] = {}
        self.scheduled: dict[int, ev.EntityOperationReceived] = {}
        self.holder: ev.Origin | None = None

    def check(self, record: ev.Record) -> Iterator[str]:
        """Yield the problems of a record, given those before it."""
        n, event = record.n, record.event
        self.record_count += 1
        yield from self._check_beginning(n, event)
        match event:
            case ev.EntityOperationReceived():
                if event.scheduled_time is not None:
                    self.scheduled[n] = event
                else:
                    self._queue_for(event)[n] = event
            case ev.EntityDeletionReceived():
                self.queue[n] = event
            case ev.EntityLockReceived():
                yield from self._check_lock_request(n, event)
            case ev.EntityUnlockReceived():
                yield from self._check_unlock(event.sender)
            case ev.EntityBatch():
                yield from self._check_batch(event)
            case ev.TimerFired():
                yield from self._check_firing(record, event)
            case ev.EntityStarted() | ev.ExecutionBlocked() | ev.ExecutionUnblocked():
                pass
            case ev.EntitySnapshot():
                self.holder = event.lock.sender if event.lock is not None else None
            case _:
                yield f"is {_with_article(event)}, which has no place in the log of an entity"

    def _check_beginning(self, n: int, event: ev.AnyEvent) -> Iterator[str]:
        is_first_kind = isinstance(event, ev.EntityStarted | ev.EntitySnapshot)
        if self.record_count > 1:
            if is_first_kind:
                yield f"is {_with_article(event)}, which isn't the first record of the file"
        elif not is_first_kind:
            yield "is the first, and neither EntityStarted nor EntitySnapshot"
        elif isinstance(event, ev.EntitySnapshot) and event.upto != n - 1:
            yield f"summarizes the records up to n {event.upto}, but must end with the record before it"

    def _queue_for(self, event: ev.EntityOperationReceived) -> dict[int, _Received]:
        sender, holder = event.sender, self.holder
        if sender is None or holder is None:
            return self.queue
        same = (sender.instance, sender.execution) == (holder.instance, holder.execution)
        return self.holder_queue if same else self.queue

    # ── operations ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_firing(self, record: ev.Record, event: ev.TimerFired) -> Iterator[str]:
        scheduled = self.scheduled.pop(event.timer, None)
        if scheduled is None:
            yield f"answers n {event.timer}, which is no scheduled operation that waits"
            return
        due = scheduled.scheduled_time
        if due is not None and record.at < due:
            yield f"fires the operation of n {event.timer} before {due:%Y-%m-%d %H:%M:%S.%fZ}"
        self._queue_for(scheduled)[event.timer] = scheduled

    def _check_batch(self, batch: ev.EntityBatch) -> Iterator[str]:
        queue = self.queue if self.holder is None else self.holder_queue
        if not isinstance(queue.get(batch.upto), _OperationOrDeletion):
            yield f"ends with n {batch.upto}, which is no operation whose turn it is"
            return
        done: dict[int, _Received] = {}
        while batch.upto not in done:
            n = next(iter(queue))
            done[n] = queue.pop(n)
            if isinstance(done[n], ev.EntityLockReceived):
                yield f"passes the request for the lock of n {n} over"
        yield from self._check_results(batch, done)
        self._grant_lock()

    def _check_results(self, batch: ev.EntityBatch, done: dict[int, _Received]) -> Iterator[str]:
        reported: set[int] = set()
        for result in batch.results:
            if not isinstance(done.get(result.n), ev.EntityOperationReceived):
                yield f"has a result of n {result.n}, which is no operation of this batch"
            elif result.n in reported:
                yield f"has a second result of n {result.n}"
            reported.add(result.n)
        for n, event in done.items():
            if isinstance(event, ev.EntityOperationReceived) and event.expects_reply and n not in reported:
                yield f"has no result of n {n}, whose sender waits for it"

    # ── the lock ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_lock_request(self, n: int, event: ev.EntityLockReceived) -> Iterator[str]:
        if self.id not in event.entities:
            yield "asks for the locks of other entities"
        self.queue[n] = event
        self._grant_lock()

    def _grant_lock(self) -> None:
        first = next(iter(self.queue), None)
        if self.holder is None and first is not None:
            event = self.queue[first]
            if isinstance(event, ev.EntityLockReceived):
                self.holder = event.sender
                del self.queue[first]

    def _check_unlock(self, sender: ev.Origin) -> Iterator[str]:
        if sender == self.holder:
            self.holder = None
            self.queue = {**self.holder_queue, **self.queue}
            self.holder_queue = {}
            self._grant_lock()
            return
        for n, event in self.queue.items():
            if isinstance(event, ev.EntityLockReceived) and event.sender == sender:
                del self.queue[n]
                self._grant_lock()
                return
        yield "gives back a lock that is neither held nor asked for"


def _with_article(event: ev.AnyEvent) -> str:
    name = type(event).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
