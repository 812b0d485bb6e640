"""Opening a hub: an engine reads what has work to do, and leaves sleeping instances on the disk."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.client import Client
from durablecli.daemon.embedded_engine import embedded
from durablecli.engine.engine import Engine
from durablecli.registry import Registry
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.query import Query, from_micros
from tests.support.counting_disk import CountingDisk
from tests.support.waiting import wait_until


@df.orchestrator
def sleeper(context: df.DurableOrchestrationContext) -> Any:
    yield context.create_timer(timedelta(hours=1 + context.get_input()))


def make_registry() -> Registry:
    return testing.build_registry(sleeper)


def make_sleepers(root: Path, count: int) -> None:
    with embedded(make_registry(), root) as client:
        client.start_many(sleeper, range(count))
        running = Query(status=("Running",))
        wait_until(lambda: client.count(running) == count, description="the sleepers")


def open_counted(root: Path) -> tuple[Engine, CountingDisk]:
    disk = CountingDisk()
    engine = Engine(open_hub(str(root), disk), make_registry())
    engine.open()
    return engine, disk


def close(engine: Engine) -> None:
    engine.close()
    close_hub(engine.hub)


def test_opening_costs_no_operation_per_sleeping_instance(tmp_path: Path) -> None:
    operations = []
    for count in (2, 40):
        make_sleepers(tmp_path / str(count), count)
        engine, disk = open_counted(tmp_path / str(count))
        assert len(engine.timers) == count
        folders = f"{tmp_path}/{count}/instances/"
        assert disk.count(within=folders) == disk.count("stat", within=folders)  # of the folders, at most 256
        operations.append(disk.count() - disk.count(within=folders))
        close(engine)
    assert operations[0] == operations[1]


def test_only_the_next_timer_is_made_an_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_sleepers(tmp_path, 40)
    rows = Client(tmp_path).page(Query(sort="id", limit=100)).rows
    expected = [row.id for row in sorted(rows, key=lambda row: (row.next_due, row.id))]
    converted: list[int] = []

    def note_conversion(value: int) -> datetime:
        converted.append(value)
        return from_micros(value)

    monkeypatch.setattr("durablecli.engine.timers.from_micros", note_conversion)
    engine, _ = open_counted(tmp_path)
    assert len(converted) == 1
    far = datetime.now(UTC) + timedelta(days=9)
    fired = [entry.instance for _ in expected if (entry := engine.timers.pop_due(far)) is not None]
    assert fired == expected
    assert engine.timers.pop_due(far) is None
    close(engine)
