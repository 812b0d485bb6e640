"""Turns of remote orchestrators: offered, prepared for a worker that has room, with it, and settled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import RLock

from durablecli.engine.remote_answers import RemoteHandoff, TurnRequest
from durablecli.engine.remote_connections import WorkerConnection
from durablecli.engine.remote_queues import TURNS, OfferedWork, TurnOffer, WorkQueue
from durablecli.engine.remote_sessions import WorkerSessions
from durablecli.replay.remote_work import RemoteTurn, TurnKey


class TurnOffers:
    """The turn of each instance that has one; there is one at a time. It shares the lock of the pool."""

    def __init__(
        self,
        lock: RLock,
        queue: WorkQueue,
        enqueue: Callable[[OfferedWork], None],
        report: Callable[[RemoteHandoff], None],
    ) -> None:
        self._lock = lock
        self._queue = queue
        self._enqueue = enqueue
        self._report = report
        self._items: dict[str, OfferedWork] = {}
        self._sessions = WorkerSessions()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, offers: Iterable[TurnOffer]) -> None:
        """Offer turns, unless one of the same execution is offered or with a worker already."""
        with self._lock:
            for offer in offers:
                known = self._items.get(offer.instance)
                if known is not None and known.execution == offer.execution:
                    continue
                if known is not None:
                    self._queue.discard(known)
                item = OfferedWork(TURNS, offer.name, offer.version, offer.execution)
                item.offer = offer
                self._items[offer.instance] = item
                if not self._offer_in_session(item, offer):
                    self._enqueue(item)

    def _offer_in_session(self, item: OfferedWork, offer: TurnOffer) -> bool:
        """Have a turn prepared for the worker that has the session of its instance, if there is one with room."""
        connection = self._sessions.find_connection(offer)
        if connection is None or not connection.has_room(TURNS):
            return False
        self.request(connection, item, offer)
        return True

    def request(self, connection: WorkerConnection, item: OfferedWork, offer: TurnOffer) -> None:
        """Have a turn prepared for a worker that has room."""
        connection.requested.add(item)
        self._report(TurnRequest(connection, item, offer))

    def deliver(self, prepared: Iterable[tuple[TurnRequest, RemoteTurn]]) -> None:
        """Hand prepared turns to the workers for which they were prepared."""
        with self._lock:
            for request, turn in prepared:
                item, connection = request.item, request.connection
                connection.requested.discard(item)
                item.work = turn
                if not self.owes(item):
                    connection.wake()  # the execution has ended meanwhile: there is room for another one
                elif connection.is_closed:
                    self._prepare_again(item)
                else:
                    connection.add_ready(item)

    def skip(self, request: TurnRequest) -> None:
        """Note that an instance has no turn to run now. It is offered again once it has one."""
        with self._lock:
            request.connection.requested.discard(request.item)
            if self._items.get(request.offer.instance) is request.item:
                del self._items[request.offer.instance]
            request.connection.wake()

    def release(self, key: TurnKey) -> None:
        """Note that a worker doesn't have a turn any more. It stays reserved until its answer is on disk."""
        item = self.find(key)
        if item is not None:
            if isinstance(connection := item.connection, WorkerConnection):
                item.answered_by = connection
                connection.release(item)
            self._queue.discard(item)

    def settle(self, turns: Iterable[tuple[TurnKey, bool]]) -> None:
        """Note that these turns are over: their answers are on disk, or had no effect (False)."""
        with self._lock:
            for key, is_applied in turns:
                item = self.find(key)
                if is_applied:
                    self._sessions.update(item, key)
                if is_applied or item is not None:
                    self._withdraw(key.instance, key.execution)

    def withdraw(self, executions: Iterable[tuple[str, str]]) -> None:
        """Offer no turns of executions that have ended. A worker that has one may still answer, without effect."""
        with self._lock:
            for instance, execution in executions:
                self._withdraw(instance, execution)
                self._sessions.discard(instance)

    def _withdraw(self, instance: str, execution: str) -> None:
        item = self._items.get(instance)
        if item is not None and item.execution == execution:
            del self._items[instance]
            self._queue.discard(item)

    def find(self, key: TurnKey) -> OfferedWork | None:
        """Return the item with this turn, if it was prepared and isn't over."""
        item = self._items.get(key.instance)
        return item if item is not None and item.work is not None and item.work.key == key else None

    def owes(self, item: OfferedWork) -> bool:
        """Whether the turn of an item is still to be answered."""
        return item.offer is not None and self._items.get(item.offer.instance) is item

    # ── sessions ───────────────────────────────────────────────────────────────────────────────────────────────

    def find_session(self, request: TurnRequest) -> TurnKey | None:
        """Return the turn that a worker has answered last, if that was the one before the requested one."""
        with self._lock:
            return self._sessions.find(request.offer, request.connection)

    def forget_session(self, key: TurnKey) -> None:
        """Have a turn prepared again, with its past, if a worker still has it."""
        self._sessions.discard(key.instance)
        item = self.find(key)
        if item is not None and item.connection is not None:
            item.connection.release(item)
            self._prepare_again(item)

    def forget_worker(self, connection: WorkerConnection) -> None:
        """Forget the sessions of a worker."""
        self._sessions.discard_all(connection)

    def _prepare_again(self, item: OfferedWork) -> None:
        item.connection = item.work = None
        self._enqueue(item)
