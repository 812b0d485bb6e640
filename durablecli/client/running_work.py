"""What runs and what is queued just now, as a running engine says: advice with its age, never truth."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from itertools import takewhile

import msgspec

from durablecli.client.orchestration_status import EngineStatus
from durablecli.model.entity_id import is_entity_id
from durablecli.replay.entity_state import EntityRuntimeState


class RunningEntityBatch(msgspec.Struct, frozen=True):
    """Operations of one entity that run together: those that stand first in its line, up to that of record `id`."""

    since: datetime
    id: int
    execution: str

    def count_running(self, state: EntityRuntimeState) -> int:
        """How many of the operations that stand first in the line of the entity these are; none: they are done."""
        if self.execution != state.execution:
            return 0
        return sum(1 for _ in takewhile(lambda record: record.n <= self.id, state.runnable))


class RunningOperations(msgspec.Struct, frozen=True):
    """The first so many operations in an entity's line run together, since when."""

    since: datetime
    operations: int


class ReportedWorkItem(RunningEntityBatch, frozen=True):
    """An activity, or the operations of an entity, that runs or is queued. `cancelled`: it was told to stop."""

    instance: str
    name: str = ""
    executor: str = ""
    cancelled: bool = False


class ExecutorUsage(msgspec.Struct, frozen=True):
    """What stands before a queued activity: the executor, how many it runs, and the one that runs longest."""

    executor: str
    running: int
    longest: ReportedWorkItem | None


class EngineWorkload(msgspec.Struct, frozen=True):
    """What an engine has said of its work."""

    at: datetime
    pid: int
    running: tuple[ReportedWorkItem, ...] = ()
    queued: tuple[ReportedWorkItem, ...] = ()

    def entity_batches(self) -> dict[str, RunningEntityBatch]:
        """By entity, the operations that run."""
        return {each.instance: each for each in self.running if is_entity_id(each.instance)}


class ReportedActivities:
    """The activities that an engine has said to run, or to have queued."""

    def __init__(self, notice: EngineWorkload) -> None:
        self._running = notice.running
        works = ((work, runs) for group, runs in ((notice.queued, False), (notice.running, True)) for work in group)
        self._items = {(work.instance, work.execution, work.id): (work, runs) for work, runs in works}
        self._usage: dict[str, ExecutorUsage] = {}

    def find(self, instance: str, execution: str, id: int) -> tuple[ReportedWorkItem, bool] | None:
        """An activity, and whether it runs; None where it is neither running nor queued."""
        return self._items.get((instance, execution, id))

    def get_usage(self, executor: str) -> ExecutorUsage:
        """What occupies an executor."""
        if executor not in self._usage:
            running = [each for each in self._running if each.executor == executor]
            longest = min(running, key=lambda each: each.since, default=None)
            self._usage[executor] = ExecutorUsage(executor, len(running), longest)
        return self._usage[executor]


def decode_workload(info: Mapping[str, object] | None, engine: EngineStatus) -> EngineWorkload | None:
    """What the engine that is alive has said; what an earlier one left says nothing."""
    if info is None or not engine.alive:
        return None
    try:
        notice = msgspec.convert(info, EngineWorkload)
    except msgspec.ValidationError:
        return None
    if notice.pid != engine.pid or (engine.since is not None and notice.at < engine.since):
        return None
    return notice


def decode_running_batches(info: Mapping[str, object] | None, engine: EngineStatus) -> dict[str, RunningEntityBatch]:
    """By entity, what the engine that is alive runs."""
    notice = decode_workload(info, engine)
    return {} if notice is None else notice.entity_batches()
