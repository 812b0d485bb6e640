"""Connected workers of the pool of remote work, and what each of them has."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from durablecli.engine.remote_queues import (
    ACTIVITIES,
    ENTITIES,
    TURNS,
    ConnectedWorker,
    OfferedWork,
    WorkerLimits,
    WorkFilters,
)
from durablecli.replay.remote_work import RemoteWork, RemoteWorkKey, TurnKey

_MAX_REQUESTED_TURNS = 64


class WorkerConnection:
    """One connected worker, and the work that it holds."""

    def __init__(
        self,
        take: Callable[[WorkerConnection], RemoteWork | None],
        disconnect: Callable[[WorkerConnection, float], None],
        filters: WorkFilters,
        limits: WorkerLimits,
        notify: Callable[[], None],
        label: str,
    ) -> None:
        self._take = take
        self._disconnect = disconnect
        self._notify = notify
        self.filters = filters
        self.limits = limits
        self.label = label
        self.since = datetime.now(UTC)
        self.is_closed = False
        self.keeps_sessions = False
        self.is_waiting = False
        """Whether `take` has returned nothing since the last notification."""
        self.requested: set[OfferedWork] = set()
        """Turns that the engine prepares for it."""
        self._ready: deque[OfferedWork] = deque()
        self._held: tuple[dict[Any, OfferedWork], ...] = ({}, {}, {})
        self._first_kind = 0

    def take(self) -> RemoteWork | None:
        """Return the next item for this worker; None if there is none now."""
        return self._take(self)

    def close(self, grace: float = 0.0) -> None:
        """Disconnect. After `grace` seconds other workers get its work."""
        self._disconnect(self, grace)

    @property
    def has_ready(self) -> bool:
        """Whether `take` will return a turn that the engine has prepared."""
        return bool(self._ready)

    # ── for the pool, under its lock ───────────────────────────────────────────────────────────────────────────

    @property
    def call_count(self) -> int:
        return len(self._held[ACTIVITIES]) + len(self._held[ENTITIES])

    def wake(self) -> None:
        self.is_waiting = False
        if not self.is_closed:
            self._notify()

    def has_room(self, kind: int) -> bool:
        limit = self.limits[kind]
        if kind != TURNS:
            return not limit or len(self._held[kind]) < limit
        count = len(self.requested)
        return count < _MAX_REQUESTED_TURNS and (not limit or len(self._held[kind]) + count < limit)

    def may_take(self, item: OfferedWork) -> bool:
        return self.has_room(item.kind) and item.matches(self.filters[item.kind])

    def next_kinds(self) -> Iterable[int]:
        """The kinds of work, another one first each time."""
        self._first_kind = (self._first_kind + 1) % 3
        return tuple((self._first_kind + i) % 3 for i in range(3))

    def hold(self, item: OfferedWork) -> None:
        assert item.work is not None
        item.connection, item.since = self, monotonic()
        self._held[item.kind][item.work.key] = item

    def add_ready(self, item: OfferedWork) -> None:
        self.hold(item)
        self._ready.append(item)
        self.wake()

    def pop_ready(self) -> OfferedWork | None:
        """Return the next prepared turn that wasn't taken from it meanwhile."""
        while self._ready:
            item = self._ready.popleft()
            if item.work is not None and self._held[TURNS].get(item.work.key) is item:
                return item
        return None

    def release(self, item: OfferedWork) -> None:
        assert item.work is not None
        item.connection = None
        had_room = self.has_room(item.kind)
        self._held[item.kind].pop(item.work.key, None)
        if not had_room:
            self.wake()

    def forget(self, key: TurnKey) -> None:
        """Forget a turn that has been withdrawn while the worker had it."""
        if self._held[TURNS].pop(key, None) is not None:
            self.wake()

    def take_expired(self, before: float) -> list[OfferedWork]:
        """Take the turns that were handed out before this time."""
        expired = [item for item in self._held[TURNS].values() if item.since < before]
        for item in expired:
            self.release(item)
        return expired

    def take_unsent(self) -> list[OfferedWork]:
        """Take the turns that were prepared for the worker, and that it hasn't taken."""
        items: list[OfferedWork] = []
        while (item := self.pop_ready()) is not None:
            self.release(item)
            items.append(item)
        return items

    def take_all(self) -> list[OfferedWork]:
        items = [item for held in self._held for item in held.values()]
        for item in items:
            self.release(item)
        self._ready.clear()
        return items

    def iter_keys(self) -> Iterable[RemoteWorkKey]:
        for held in self._held:
            yield from held

    def describe(self) -> ConnectedWorker:
        turns, activities, entities = map(len, self._held)
        in_flight = {key: item.since for held in self._held for key, item in held.items()}
        return ConnectedWorker(
            self.label, self.since, self.filters, self.limits, turns, activities, entities, in_flight
        )
