"""The audit of the log of an entity: every operation is done once, in its turn. It shares no code with the fold."""

from __future__ import annotations

from collections.abc import Iterator

from durablecli.model import events as ev

_Work = ev.EntityOperationReceived | ev.EntityDeletionReceived
_Received = _Work | ev.EntityLockReceived


class EntityAudit:
    """Looks at one record after another.

    `line` is what waits, in order, and `inner` what the holder of the lock sent since it has it.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.seen = 0
        self.line: dict[int, _Received] = {}
        self.inner: dict[int, _Received] = {}
        self.scheduled: dict[int, ev.EntityOperationReceived] = {}
        self.holder: ev.Origin | None = None

    def look(self, record: ev.Record) -> Iterator[str]:
        """What is wrong about a record, given those before it."""
        n, _, event = record
        self.seen += 1
        yield from self._look_at_beginning(n, event)
        match event:
            case ev.EntityOperationReceived():
                if event.scheduled_time is not None:
                    self.scheduled[n] = event
                else:
                    self._line_for(event)[n] = event
            case ev.EntityDeletionReceived():
                self.line[n] = event
            case ev.EntityLockReceived():
                yield from self._ask(n, event)
            case ev.EntityUnlockReceived():
                yield from self._give_back(event.sender)
            case ev.EntityBatch():
                yield from self._do(event)
            case ev.TimerFired():
                yield from self._fire(record, event)
            case ev.EntityStarted() | ev.ExecutionBlocked() | ev.ExecutionUnblocked():
                pass
            case ev.EntitySnapshot():
                self.holder = event.lock.sender if event.lock is not None else None
            case _:
                yield f"is {_a(event)}, which has no place in the log of an entity"

    def _look_at_beginning(self, n: int, event: ev.AnyEvent) -> Iterator[str]:
        begins = isinstance(event, ev.EntityStarted | ev.EntitySnapshot)
        if self.seen > 1:
            if begins:
                yield f"is {_a(event)}, which isn't the first record of the file"
        elif not begins:
            yield "is the first, and neither EntityStarted nor EntitySnapshot"
        elif isinstance(event, ev.EntitySnapshot) and event.upto != n - 1:
            yield f"stands for all records up to n {event.upto}, and not for the one before it"

    def _line_for(self, event: ev.EntityOperationReceived) -> dict[int, _Received]:
        sender, holder = event.sender, self.holder
        if sender is None or holder is None:
            return self.line
        same = (sender.instance, sender.execution) == (holder.instance, holder.execution)
        return self.inner if same else self.line

    # ── operations ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _fire(self, record: ev.Record, event: ev.TimerFired) -> Iterator[str]:
        scheduled = self.scheduled.pop(event.timer, None)
        if scheduled is None:
            yield f"answers n {event.timer}, which is no scheduled operation that waits"
            return
        due = scheduled.scheduled_time
        if due is not None and record.at < due:
            yield f"fires the operation of n {event.timer} before {due:%Y-%m-%d %H:%M:%S.%fZ}"
        self._line_for(scheduled)[event.timer] = scheduled

    def _do(self, batch: ev.EntityBatch) -> Iterator[str]:
        line = self.line if self.holder is None else self.inner
        if not isinstance(line.get(batch.upto), _Work):
            yield f"ends with n {batch.upto}, which is no operation whose turn it is"
            return
        done: dict[int, _Received] = {}
        while batch.upto not in done:
            n = next(iter(line))
            done[n] = line.pop(n)
            if isinstance(done[n], ev.EntityLockReceived):
                yield f"passes the request for the lock of n {n} over"
        yield from self._look_at_results(batch, done)
        self._grant()

    def _look_at_results(self, batch: ev.EntityBatch, done: dict[int, _Received]) -> Iterator[str]:
        told: set[int] = set()
        for result in batch.results:
            if not isinstance(done.get(result.n), ev.EntityOperationReceived):
                yield f"has a result of n {result.n}, which is no operation of this batch"
            elif result.n in told:
                yield f"has a second result of n {result.n}"
            told.add(result.n)
        for n, event in done.items():
            if isinstance(event, ev.EntityOperationReceived) and event.expects_reply and n not in told:
                yield f"has no result of n {n}, whose sender waits for it"

    # ── the lock ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _ask(self, n: int, event: ev.EntityLockReceived) -> Iterator[str]:
        if self.id not in event.entities:
            yield "asks for the locks of other entities"
        self.line[n] = event
        self._grant()

    def _grant(self) -> None:
        first = next(iter(self.line), None)
        if self.holder is None and first is not None:
            event = self.line[first]
            if isinstance(event, ev.EntityLockReceived):
                self.holder = event.sender
                del self.line[first]

    def _give_back(self, sender: ev.Origin) -> Iterator[str]:
        if sender == self.holder:
            self.holder = None
            self.line = {**self.inner, **self.line}
            self.inner = {}
            self._grant()
            return
        for n, event in self.line.items():
            if isinstance(event, ev.EntityLockReceived) and event.sender == sender:
                del self.line[n]
                self._grant()
                return
        yield "gives back a lock that is neither held nor asked for"


def _a(event: ev.AnyEvent) -> str:
    name = type(event).__name__
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
