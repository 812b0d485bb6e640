"""What runs and what is queued just now, as a running engine says: advice with its age, never truth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile

import msgspec

from durablecli.client.orchestration_status import Engine
from durablecli.model.entity_id import is_entity_id
from durablecli.replay.entity_state import EntityRuntimeState


class Running(msgspec.Struct, frozen=True):
    """Operations of one entity that run together: those that stand first in its line, up to that of record `id`."""

    since: datetime
    id: int
    execution: str

    def among(self, ledger: EntityRuntimeState) -> int:
        """How many of the operations that stand first in the line of the entity these are; none: they are done."""
        if self.execution != ledger.execution:
            return 0
        return sum(1 for _ in takewhile(lambda record: record.n <= self.id, ledger.runnable))


class Runs(msgspec.Struct, frozen=True):
    """The first so many operations in an entity's line run together, since when."""

    since: datetime
    operations: int


class Work(Running, frozen=True):
    """An activity, or the operations of an entity, that runs or is queued. `cancelled`: it was told to stop."""

    instance: str
    name: str = ""
    executor: str = ""
    cancelled: bool = False


class Slots(msgspec.Struct, frozen=True):
    """What stands before a queued activity: the executor, how many it runs, and the one that runs longest."""

    executor: str
    running: int
    longest: Work | None


class Notice(msgspec.Struct, frozen=True):
    """What an engine has said of its work."""

    at: datetime
    pid: int
    running: tuple[Work, ...] = ()
    queued: tuple[Work, ...] = ()

    def entities(self) -> dict[str, Running]:
        """By entity, the operations that run."""
        return {each.instance: each for each in self.running if is_entity_id(each.instance)}


class Activities:
    """The activities that an engine has said to run, or to have queued."""

    def __init__(self, notice: Notice) -> None:
        self._running = notice.running
        works = ((work, runs) for group, runs in ((notice.queued, False), (notice.running, True)) for work in group)
        self._found = {(work.instance, work.execution, work.id): (work, runs) for work, runs in works}
        self._slots: dict[str, Slots] = {}

    def find(self, instance: str, execution: str, id: int) -> tuple[Work, bool] | None:
        """An activity, and whether it runs; None where it is neither running nor queued."""
        return self._found.get((instance, execution, id))

    def slots(self, executor: str) -> Slots:
        """What occupies an executor."""
        if executor not in self._slots:
            running = [each for each in self._running if each.executor == executor]
            longest = min(running, key=lambda each: each.since, default=None)
            self._slots[executor] = Slots(executor, len(running), longest)
        return self._slots[executor]


def notice_of(info: Mapping[str, object] | None, engine: Engine) -> Notice | None:
    """What the engine that is alive has said; what an earlier one left says nothing."""
    if info is None or not engine.alive:
        return None
    try:
        notice = msgspec.convert(info, Notice)
    except msgspec.ValidationError:
        return None
    if notice.pid != engine.pid or (engine.since is not None and notice.at < engine.since):
        return None
    return notice


def running_of(info: Mapping[str, object] | None, engine: Engine) -> dict[str, Running]:
    """By entity, what the engine that is alive runs."""
    notice = notice_of(info, engine)
    return {} if notice is None else notice.entities()
