"""The pool of remote work: offers, the workers that hold them, and their answers. It uses no network.

Nothing here is durable: the histories hold all pending work. Turns of remote orchestrators come as
*offers*; once a worker has room for one, the engine prepares it, with all that has arrived until then. Remote
activities and entity batches come from the dispatcher, for which this is one more worker pool.

Any thread may call what workers need (`connect`, `answer`, `abandon`, `refuse`); the rest is for the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock
from time import monotonic

from durablecli.engine.remote_answers import (
    AnsweredCall,
    RemoteHandoff,
    ReportDone,
    TurnAnswered,
    TurnRefused,
    make_activity_result,
    make_entity_result,
    make_refused_result,
)
from durablecli.engine.remote_connections import WorkerConnection
from durablecli.engine.remote_queues import (
    ACTIVITIES,
    ALL_WORK,
    ENTITIES,
    TURNS,
    ConnectedWorker,
    OfferedWork,
    WorkerLimits,
    WorkFilters,
    WorkQueue,
)
from durablecli.engine.turn_offers import TurnOffers
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchCall
from durablecli.engine.workers.pool import WorkItem
from durablecli.engine.workers.remote_calls import RemoteActivityCall
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.trace_context import make_execution_context
from durablecli.replay.remote_work import (
    ActivityAnswer,
    ActivityKey,
    Answer,
    EntityBatchAnswer,
    EntityBatchKey,
    RemoteActivity,
    RemoteEntityBatch,
    RemoteOperation,
    RemoteTurn,
    RemoteWork,
    RemoteWorkKey,
    TurnAnswer,
    TurnKey,
)

TURN_LEASE = 60.0
"""Seconds after which a turn without an answer is given to another worker."""
_MIN_PAUSE, _MAX_PAUSE = 0.2, 30.0
"""Seconds until a worker that has abandoned an item gets it again; longer each time."""


class RemoteWorkPool:
    """The work for all workers, and the workers that are connected."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._report: Callable[[RemoteHandoff], None] = lambda item: None
        self._queues = (WorkQueue(), WorkQueue(), WorkQueue())
        self.turns = TurnOffers(self._lock, self._queues[TURNS], self._enqueue, self._hand_over)
        """The turns of remote orchestrators: for the engine."""
        self._calls: dict[WorkKey, OfferedWork] = {}
        """The activities and entity batches that are queued, or with a worker."""
        self._connections: list[WorkerConnection] = []
        self._leaving: dict[WorkerConnection, tuple[float, list[OfferedWork]]] = {}
        """What closed connections had, and the time at which it is given to others."""
        self._paused = False

    def bind(self, report: Callable[[RemoteHandoff], None]) -> None:
        """Hand requests and answers to this engine."""
        self._report = report

    def _hand_over(self, item: RemoteHandoff) -> None:
        self._report(item)

    # ── for workers ────────────────────────────────────────────────────────────────────────────────────────────

    def connect(
        self,
        filters: WorkFilters | None,
        limits: WorkerLimits,
        notify: Callable[[], None],
        label: str = "",
        *,
        keeps_sessions: bool = False,
    ) -> WorkerConnection:
        """Connect a worker. `notify` is called, from any thread, when `take` may return something.

        A worker that `keeps_sessions` gets the next turn of an instance, if it has room, with its new arrivals only.
        """
        connection = WorkerConnection(self.take, self.disconnect, filters or ALL_WORK, limits, notify, label)
        connection.keeps_sessions = keeps_sessions
        with self._lock:
            self._connections.append(connection)
        return connection

    def answer(self, answer: Answer, done: ReportDone) -> None:
        """Take an answer. `done` is called once it is on disk, with None, or once it has no effect, with the reason."""
        if isinstance(answer, TurnAnswer):
            self._answer_turn(answer, done)
            return
        key = (answer.key[0], answer.key[1], answer.key[2])
        with self._lock:
            item = self._take_back(answer.key)
        if item is None or item.call is None or not item.call.cancellation.settle():
            self._report(AnsweredCall(key, None, done))
        elif isinstance(answer, ActivityAnswer):
            self._report(AnsweredCall(key, make_activity_result(answer), done))
        else:
            assert isinstance(item.call, EntityBatchCall)
            assert isinstance(answer, EntityBatchAnswer)
            self._report(AnsweredCall(key, make_entity_result(item.call, answer), done))

    def _answer_turn(self, answer: TurnAnswer, done: ReportDone) -> None:
        with self._lock:
            if answer.requires_history:
                self.turns.forget_session(answer.key)
                done(None)
                return
            self.turns.release(answer.key)
            for connection in self._connections:
                connection.forget(answer.key)
            self._report(TurnAnswered(answer, done))

    def abandon(self, key: RemoteWorkKey) -> None:
        """Give work that a worker can't do to another one first, and to the same one after a pause."""
        with self._lock:
            item = self._find(key)
            if item is None or (connection := item.connection) is None:
                return
            connection.release(item)
            item.rejections += 1
            pause = min(_MAX_PAUSE, _MIN_PAUSE * 2 ** (item.rejections - 1))
            now = monotonic()
            item.rejected_by = {one: until for one, until in item.rejected_by.items() if until > now}
            item.rejected_by[connection] = now + pause
            self._requeue(item)

    def refuse(self, key: RemoteWorkKey, reason: str) -> None:
        """Note that work can't be sent to any worker: it blocks the instance, or fails the call."""
        with self._lock:
            if isinstance(key, TurnKey):
                self.turns.release(key)
                self._report(TurnRefused(key, reason))
                return
            item = self._take_back(key)
        if item is not None and item.call is not None:
            self._report(AnsweredCall(item.call.key, make_refused_result(item.call, reason), lambda error: None))

    def find_in_flight(self, instance: str, n: int | None = None) -> RemoteWorkKey | None:
        """Return the key of the work in flight of an instance: its turn, its activity `n`, or an entity's batch."""
        with self._lock:
            for connection in self._connections:
                for key in connection.iter_keys():
                    is_wanted = key[2] == n if isinstance(key, ActivityKey) else n is None
                    if is_wanted and key[0] == instance:
                        return key
        return None

    def list_workers(self) -> list[ConnectedWorker]:
        """Return the workers that are connected."""
        with self._lock:
            return [connection.describe() for connection in self._connections]

    def list_unserved(self) -> list[OfferedWork]:
        """Return the oldest waiting item of each name and version that no connected worker runs."""
        with self._lock:
            waiting = [item for queue in self._queues for item in queue.list_oldest()]
            filters = [connection.filters for connection in self._connections]
            return [item for item in waiting if not any(item.matches(each[item.kind]) for each in filters)]

    # ── the worker pool of the dispatcher ──────────────────────────────────────────────────────────────────────

    def start(self, calls: Iterable[WorkItem]) -> None:
        """Queue activities and entity batches."""
        with self._lock:
            for call in calls:
                self._calls[call.key] = item = _make_item(call)
                self._enqueue(item)

    def cancel(self, key: WorkKey) -> None:
        """Drop a queued call. A worker that has one can't be told; its answer has no effect."""
        with self._lock:
            item = self._calls.get(key)
            if item is not None and item.connection is None:
                self._drop_cancelled(item)

    def expire(self, call: WorkItem) -> None:
        """Withdraw a call that has timed out. The answer of the worker that has it has no effect."""
        with self._lock:
            item = self._calls.pop(call.key, None)
            if item is not None:
                self._queues[item.kind].discard(item)
                if item.connection is not None:
                    item.connection.release(item)

    def notify_cancel(self, key: WorkKey) -> None:
        """The protocol can't tell a worker."""

    def pause(self) -> None:
        """Hand out no more work. Workers may still answer the work that they hold."""
        self._paused = True

    def maintain(self) -> None:
        """Give out again what closed connections had, and turns whose lease has ended. Called about once a second."""
        now = monotonic()
        with self._lock:
            for connection in [each for each, (at, _) in self._leaving.items() if at <= now]:
                self._give_back(self._leaving.pop(connection)[1])
            for connection in self._connections:
                self._give_back(connection.take_expired(now - TURN_LEASE))
                connection.wake()

    @property
    def is_busy(self) -> bool:
        """Whether workers have activities or entity batches."""
        return any(connection.call_count for connection in self._connections)

    @property
    def capacity(self) -> int:
        """How many activities and entity batches the connected workers take at once."""
        return sum(one.limits.activities + one.limits.entities for one in self._connections)

    @property
    def queue_length(self) -> int:
        """How many activities and entity batches wait for a worker."""
        return len(self._queues[ACTIVITIES]) + len(self._queues[ENTITIES])

    def start_times(self) -> dict[WorkKey, float]:
        """Return the calls that workers have, each with the monotonic time at which it was handed out."""
        with self._lock:
            return {key: item.since for key, item in self._calls.items() if item.connection is not None}

    def stop(self) -> None:
        self._paused = True

    # ── queueing ───────────────────────────────────────────────────────────────────────────────────────────────

    def take(self, connection: WorkerConnection) -> RemoteWork | None:
        """Return the next item for a worker, and request the turns for which it has room."""
        with self._lock:
            if self._paused or connection.is_closed:
                return None
            while True:
                if (ready := connection.pop_ready()) is not None:
                    if self.turns.owes(ready):
                        return ready.work
                    connection.release(ready)
                    continue
                found = self._pick(connection)
                if found is None:
                    connection.is_waiting = True
                    return None
                if found.kind == TURNS and found.work is None:
                    assert found.offer is not None
                    self.turns.request(connection, found, found.offer)
                else:
                    connection.hold(found)
                    if isinstance(found.call, RemoteActivityCall) and found.call.cancellation.timer is not None:
                        found.call.cancellation.timer.begin(found.call)
                    return found.work

    def _pick(self, connection: WorkerConnection) -> OfferedWork | None:
        now = monotonic()
        for kind in connection.next_kinds():
            if connection.has_room(kind):
                item = self._queues[kind].pick(connection.filters[kind], connection, now)
                if item is not None:
                    return item
        return None

    def _enqueue(self, item: OfferedWork) -> None:
        self._queues[item.kind].add(item)
        for connection in self._connections:
            if connection.is_waiting and connection.may_take(item):
                connection.wake()

    def _requeue(self, item: OfferedWork) -> None:
        """Offer something again that a worker had, before what came after it. A turn whose past was left out for that
        worker is prepared again."""
        item.connection = None
        if isinstance(item.work, RemoteTurn) and item.work.previous is not None:
            item.work = None
        if item.call is not None and item.call.cancellation.timer is not None:
            item.call.cancellation.timer.suspend()
        if item.call is not None and item.call.cancellation.abandoned:
            self._drop_cancelled(item)
        else:
            self._enqueue(item)

    def _drop_cancelled(self, item: OfferedWork) -> None:
        call = item.call
        assert call is not None
        self._calls.pop(call.key, None)
        self._queues[item.kind].discard(item)
        self._report(AnsweredCall(call.key, call.make_cancelled_result(), lambda error: None))

    def _take_back(self, key: ActivityKey | EntityBatchKey) -> OfferedWork | None:
        """Remove a call that was answered, whether a worker of this engine has it or an earlier engine gave it out."""
        item = self._calls.get((key[0], key[1], key[2]))
        if item is None or item.work is None or type(item.work.key) is not type(key):
            return None
        del self._calls[key[0], key[1], key[2]]
        self._queues[item.kind].discard(item)
        if item.connection is not None:
            item.connection.release(item)
        return item

    def _find(self, key: RemoteWorkKey) -> OfferedWork | None:
        if isinstance(key, TurnKey):
            return self.turns.find(key)
        return self._calls.get((key[0], key[1], key[2]))

    def _give_back(self, items: Iterable[OfferedWork]) -> None:
        for item in sorted(items, key=lambda item: item.sequence, reverse=True):
            if item.work is not None and self._find(item.work.key) is item:
                self._requeue(item)

    def disconnect(self, connection: WorkerConnection, grace: float) -> None:
        """Take a worker off the list, and give to others what it had, after `grace` seconds. A second call may make
        that sooner."""
        with self._lock:
            if connection.is_closed:
                items = self._leaving.pop(connection, (0.0, []))[1]
            else:
                connection.is_closed = True
                self._connections.remove(connection)
                self.turns.forget_worker(connection)
                self._give_back(connection.take_unsent())
                items = connection.take_all()
            if grace > 0:
                self._leaving[connection] = (monotonic() + grace, items)
            else:
                self._give_back(items)


def _make_item(call: WorkItem) -> OfferedWork:
    """Return an activity or entity batch as an item for workers."""
    instance, execution, n = call.key
    if isinstance(call, RemoteActivityCall):
        item = OfferedWork(ACTIVITIES, call.function.name, call.version, execution, call.priority)
        item.work = RemoteActivity(
            ActivityKey(instance, execution, n),
            call.task,
            call.version,
            make_execution_context(call.trace, instance, execution),
        )
    else:
        assert isinstance(call, EntityBatchCall)
        item = OfferedWork(ENTITIES, parse_entity_name(instance), None, execution)
        operations = tuple(RemoteOperation(o.n, o.name, o.input, o.waits, o.trace) for o in call.operations)
        item.work = RemoteEntityBatch(EntityBatchKey(instance, execution, n), call.state, operations)
    item.call = call
    return item
