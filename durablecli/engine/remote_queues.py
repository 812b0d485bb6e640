"""The queues of remote work, by name and version: a worker finds its work without a scan of all the rest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from itertools import count, islice
from typing import NamedTuple, Protocol

from durablecli.engine.workers.pool import WorkItem
from durablecli.replay.remote_work import RemoteWork, RemoteWorkKey

TURNS, ACTIVITIES, ENTITIES = range(3)
_MAX_LOOKS = 100

NameFilter = Mapping[str, frozenset[str]] | None
"""The names that a worker runs, each with its versions, none of them meaning any; None for everything."""


class WorkFilters(NamedTuple):
    """The functions that a worker runs. Names of entities are in lower case."""

    orchestrators: NameFilter
    activities: NameFilter
    entities: NameFilter


ALL_WORK = WorkFilters(None, None, None)


class WorkerLimits(NamedTuple):
    """How much a worker takes at once of each kind; 0 is no limit."""

    turns: int = 0
    activities: int = 0
    entities: int = 0


class ConnectedWorker(NamedTuple):
    """A worker that is connected, and how much it has of each kind. `in_flight` is what it has, each with the monotonic
    time since which it has it."""

    label: str
    since: datetime
    filters: WorkFilters
    limits: WorkerLimits
    turns: int
    activities: int
    entities: int
    in_flight: Mapping[RemoteWorkKey, float]


class TurnOffer(NamedTuple):
    """An instance with a turn to run: its execution, and the orchestrator."""

    instance: str
    execution: str
    name: str
    version: str | None


class WorkHolder(Protocol):
    """The connection of a worker that has some work."""

    def release(self, item: OfferedWork) -> None: ...
    def wake(self) -> None: ...


_sequence = count().__next__


class OfferedWork:
    """One item of work. A turn has no `work` until the engine has prepared it. `connection` is the worker's that has
    it, since the monotonic time `since`."""

    __slots__ = (
        "answered_by", "call", "connection", "execution", "kind", "name", "offer", "priority", "rejected_by",
        "rejections", "sequence", "since", "version", "work",
    )  # fmt: skip

    def __init__(self, kind: int, name: str, version: str | None, execution: str, priority: int = 0) -> None:
        self.kind = kind
        self.priority = priority
        self.name = name
        self.version = version
        self.execution = execution
        self.sequence = _sequence()
        self.work: RemoteWork | None = None
        self.offer: TurnOffer | None = None
        self.call: WorkItem | None = None
        self.connection: WorkHolder | None = None
        self.answered_by: WorkHolder | None = None
        self.since = 0.0
        self.rejections = 0
        self.rejected_by: dict[WorkHolder, float] = {}
        """The connections that have abandoned it, each with the time until which it doesn't get it again."""

    def matches(self, names: NameFilter) -> bool:
        """Whether a worker with this filter runs it."""
        if names is None:
            return True
        versions = names.get(self.name)
        return versions is not None and (not versions or (self.version or "") in versions)


class WorkQueue:
    """Items of one kind, those with the highest priority first, and within it in the order in which they came."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str | None, bool, int], OrderedDict[int, OfferedWork]] = {}
        """By name, version, whether a worker has abandoned them, and priority."""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, item: OfferedWork) -> None:
        """Add an item; one that was here before goes before those that came after it."""
        group = self._groups.setdefault(_find_group(item), OrderedDict())
        is_first = bool(group) and item.sequence < next(iter(group))
        if item.sequence not in group:
            self._length += 1
        group[item.sequence] = item
        if is_first:
            group.move_to_end(item.sequence, last=False)

    def discard(self, item: OfferedWork) -> None:
        """Remove an item, if it is here."""
        key = _find_group(item)
        group = self._groups.get(key)
        if group is not None and group.pop(item.sequence, None) is not None:
            self._length -= 1
            if not group:
                del self._groups[key]

    def list_oldest(self) -> list[OfferedWork]:
        """Return the oldest item of each name and version."""
        first: dict[tuple[str, str | None], OfferedWork] = {}
        for group in self._groups.values():
            item = next(iter(group.values()))
            known = first.setdefault((item.name, item.version), item)
            if item.sequence < known.sequence:
                first[item.name, item.version] = item
        return [*first.values()]

    def pick(self, names: NameFilter, connection: WorkHolder, now: float) -> OfferedWork | None:
        """Remove and return the oldest item that a worker runs and hasn't abandoned a short while ago.

        Of those that workers have abandoned only the oldest ones are looked at.
        """
        best: OfferedWork | None = None
        for group in self._groups.values():
            if not next(iter(group.values())).matches(names):
                continue
            oldest = islice(group.values(), _MAX_LOOKS)
            item = next((each for each in oldest if each.rejected_by.get(connection, 0.0) <= now), None)
            if item is not None and (best is None or _order(item) < _order(best)):
                best = item
        if best is not None:
            self.discard(best)
        return best


def _find_group(item: OfferedWork) -> tuple[str, str | None, bool, int]:
    return item.name, item.version, bool(item.rejected_by), item.priority


def _order(item: OfferedWork) -> tuple[int, int]:
    return -item.priority, item.sequence
