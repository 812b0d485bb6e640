"""Sessions: which worker still has the orchestrator of an instance in memory, and up to which turn."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from durablecli.engine.remote_connections import WorkerConnection
from durablecli.engine.remote_queues import OfferedWork, TurnOffer
from durablecli.replay.remote_work import TurnKey

_MAX_SESSIONS = 10_000


class _Session(NamedTuple):
    connection: WorkerConnection
    last: TurnKey


class WorkerSessions:
    """The sessions of all connected workers; of too many the least recently used are forgotten."""

    def __init__(self) -> None:
        self._by_instance: OrderedDict[str, _Session] = OrderedDict()

    def update(self, item: OfferedWork | None, key: TurnKey) -> None:
        """Note that the answer to a turn was applied; no item if it had been prepared again meanwhile."""
        connection = None if item is None else item.answered_by
        if not isinstance(connection, WorkerConnection) or connection.is_closed or not connection.keeps_sessions:
            self.discard(key.instance)
            return
        self._by_instance[key.instance] = _Session(connection, key)
        self._by_instance.move_to_end(key.instance)
        if len(self._by_instance) > _MAX_SESSIONS:
            self._by_instance.popitem(last=False)

    def find_connection(self, offer: TurnOffer) -> WorkerConnection | None:
        """Return the worker that has the session of an execution."""
        session = self._by_instance.get(offer.instance)
        return session.connection if session is not None and session.last.execution == offer.execution else None

    def find(self, offer: TurnOffer, connection: WorkerConnection) -> TurnKey | None:
        """Return the last turn of an execution, if this worker has its session."""
        session = self._by_instance.get(offer.instance)
        if session is None or session.connection is not connection or session.last.execution != offer.execution:
            return None
        return session.last

    def discard(self, instance: str) -> None:
        self._by_instance.pop(instance, None)

    def discard_all(self, connection: WorkerConnection) -> None:
        """Forget the sessions of a worker."""
        if connection.keeps_sessions:
            for instance in [id for id, session in self._by_instance.items() if session.connection is connection]:
                del self._by_instance[instance]
