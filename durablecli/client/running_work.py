"""The work that an engine reports as running or queued. A report has an age, and may be out of date."""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile

import msgspec

from durablecli.client.orchestration_status import EngineStatus
from durablecli.model.entity_id import is_entity_id
from durablecli.model.reported_progress import ReportedProgress
from durablecli.replay.entity_state import EntityRuntimeState
from durablecli.store.engine_info import EngineInfo, LimitedFunction, ReportedWorkItem


class RunningEntityBatch(msgspec.Struct, frozen=True):
    """Operations of one entity that run together: the first in its queue, up to the one of record `id`."""

    since: datetime
    id: int
    execution: str

    def count_running(self, state: EntityRuntimeState) -> int:
        """Count the operations of this batch that are still in the queue of the entity."""
        if self.execution != state.execution:
            return 0
        return sum(1 for _ in takewhile(lambda record: record.n <= self.id, state.runnable))


class RunningOperations(msgspec.Struct, frozen=True):
    """How many of the first operations in the queue of an entity run together, and since when."""

    since: datetime
    operations: int


class ExecutorUsage(msgspec.Struct, frozen=True):
    """What delays a queued activity: the executor, how many activities it runs, and the one that has run longest."""

    executor: str
    running: int
    longest: ReportedWorkItem | None


class ReportedActivities:
    """The activities that an engine reports as running or queued, and what orchestrators have reported."""

    def __init__(self, info: EngineInfo) -> None:
        self._running = info.running
        self._progress = {(each.instance, each.execution): each.progress for each in info.progress or ()}
        works = ((work, runs) for group, runs in ((info.queued, False), (info.running, True)) for work in group)
        self._items = {(work.instance, work.execution, work.id): (work, runs) for work, runs in works}
        self._usage: dict[str, ExecutorUsage] = {}
        self._capacities = info.limits
        self._limited = {(each.name, each.key): each for each in info.limited or ()}

    def find(self, instance: str, execution: str, id: int) -> tuple[ReportedWorkItem, bool] | None:
        """Return an activity and whether it is running; None if it is neither running nor queued."""
        return self._items.get((instance, execution, id))

    def find_limit(self, work: ReportedWorkItem) -> LimitedFunction | None:
        """Return the limit of its function for which a queued activity waits; None if it waits for a worker."""
        return None if work.key is None else self._limited.get((work.name, work.key))

    def get_capacity(self, executor: str) -> int | None:
        """Return how many calls an executor runs at once."""
        return self._capacities.get(executor)

    def find_progress(self, instance: str, execution: str) -> ReportedProgress | None:
        """Return what the orchestrator of an execution has reported last, if anything."""
        return self._progress.get((instance, execution))

    def count_running(self, instance: str, execution: str) -> int:
        """Count the running activities of one execution."""
        return sum(each.instance == instance and each.execution == execution for each in self._running)

    def get_usage(self, executor: str) -> ExecutorUsage:
        """Return what occupies an executor."""
        if executor not in self._usage:
            running = [each for each in self._running if each.executor == executor]
            longest = min(running, key=lambda each: each.since, default=None)
            self._usage[executor] = ExecutorUsage(executor, len(running), longest)
        return self._usage[executor]


def report_of_live_engine(info: EngineInfo | None, engine: EngineStatus) -> EngineInfo | None:
    """Return what the running engine reports; the report of an earlier engine counts for nothing."""
    if info is None or info.at is None or not engine.alive:
        return None
    if info.pid != engine.pid or (engine.since is not None and info.at < engine.since):
        return None
    return info


def find_running_batches(info: EngineInfo | None, engine: EngineStatus) -> dict[str, RunningEntityBatch]:
    """Return the batches of operations that the running engine reports, by entity."""
    report = report_of_live_engine(info, engine)
    running = () if report is None else report.running
    return {
        each.instance: RunningEntityBatch(each.since, each.id, each.execution)
        for each in running
        if is_entity_id(each.instance)
    }
