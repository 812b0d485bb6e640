"""What an engine reports of its workers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from durablecli import testing
from durablecli.config import ConcurrencyConfig
from durablecli.engine.info_writer import EngineInfoWriter
from durablecli.engine.progress_reports import ProgressReports
from durablecli.engine.remote_queues import ALL_WORK, ConnectedWorker, WorkerLimits, WorkFilters
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.engine.worker_reports import WorkerReports
from durablecli.engine.workers.decided_tasks import ActivityTask
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.slot_warnings import SlotWarnings
from durablecli.model import events as ev
from durablecli.replay.remote_work import ActivityKey, EntityBatchKey, RemoteWorkKey, TurnKey
from durablecli.store.disk import LocalDisk

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def make_worker(clock: float) -> ConnectedWorker:
    filters = WorkFilters({"Order": frozenset()}, {"charge": frozenset({"2.0", "1.0"})}, None)
    in_flight: dict[RemoteWorkKey, float] = {
        TurnKey("order-1", "5", 3, 7, NOON): clock - 3,
        ActivityKey("order-1", "5", 4): clock - 2,
        EntityBatchKey("@cart@a", "6", 9): clock - 1,
    }
    return ConnectedWorker("js 10.0.0.7:4000", NOON, filters, WorkerLimits(), 1, 1, 1, in_flight)


def test_a_worker_is_reported_with_its_functions_and_its_work() -> None:
    (found,) = WorkerReports().make([make_worker(monotonic())], NOON)
    assert (found.label, found.orchestrators, found.activities, found.entities) == (
        "js 10.0.0.7:4000",
        {"Order": ()},
        {"charge": ("1.0", "2.0")},
        None,
    )
    assert found.since == NOON
    assert [(each.kind, each.instance, each.execution, each.id) for each in found.work] == [
        ("turn", "order-1", "5", 0),
        ("activity", "order-1", "5", 4),
        ("entity", "@cart@a", "6", 9),
    ]
    assert abs(found.work[0].since - (NOON - timedelta(seconds=3))) < timedelta(seconds=1)


def test_a_time_is_reported_the_same_again_and_so_nothing_is_written_without_need() -> None:
    reports, worker = WorkerReports(), make_worker(monotonic())
    assert reports.make([worker], NOON) == reports.make([worker], NOON + timedelta(seconds=5.5))


def test_a_worker_without_a_label_has_a_name_for_people() -> None:
    unnamed = ConnectedWorker("", NOON, ALL_WORK, WorkerLimits(), 0, 0, 0, {})
    assert [each.label for each in WorkerReports().make([unnamed], NOON)] == ["(unnamed)"]


def test_the_file_has_workers_only_if_the_engine_serves_remote_code(tmp_path: Path) -> None:
    dispatcher = Dispatcher(testing.build_registry(), lambda result: None, ConcurrencyConfig())
    writer = EngineInfoWriter(LocalDisk(), str(tmp_path), testing.build_registry())
    writer.update(dispatcher, NOON, ProgressReports())
    assert "workers" not in json.loads((tmp_path / "engine.json").read_text())
    EngineInfoWriter(LocalDisk(), str(tmp_path), testing.build_registry(), (), list).update(
        dispatcher, NOON, ProgressReports()
    )
    assert json.loads((tmp_path / "engine.json").read_text())["workers"] == []


def test_slots_of_remote_calls_are_not_watched() -> None:
    pool, clock, lines = RemoteWorkPool(), [0.0], list[str]()
    dispatcher = Dispatcher(testing.build_registry(), lambda result: None, ConcurrencyConfig(), remote_work=pool)
    warnings = SlotWarnings(lines.append, lambda: clock[0])
    dispatcher.dispatch_activities([ActivityTask("order-1", "5", n, ev.TaskScheduled("charge")) for n in (2, 3)])
    connection = None
    for seconds in (2.0, 60.0, 120.0):
        clock[0] = seconds
        warnings.check(dispatcher)
        if connection is None:
            connection = pool.connect(None, WorkerLimits(activities=1), lambda: None)
            assert connection.take() is not None
            dispatcher.end_execution("order-1", "5", frozenset({2}))
    assert lines == []
