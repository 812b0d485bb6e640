"""engine.json: one schema for the engine that writes it and the clients that read it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from durablecli.client.published_functions import published_functions
from durablecli.store.engine_info import (
    EngineInfo,
    FunctionInfo,
    ReportedWorkItem,
    read_engine_info,
    write_engine_info,
)
from durablecli.store.memory_disk import MemoryDisk

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WORK = ReportedWorkItem(instance="a", execution="1", id=2, since=NOON, name="f", attempt=1, executor="thread")
INFO = EngineInfo(NOON, 7, (FunctionInfo("f", "activity", "flows.py:3", "f(x)"),), (WORK,), (), {"thread": 20})


def make_disk() -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder("hub")
    return disk


def test_what_is_written_is_read_and_replaced() -> None:
    disk = make_disk()
    disk.create("hub/engine.json.tmp", b"left by a crash", sync=False)
    write_engine_info(disk, "hub", EngineInfo())
    write_engine_info(disk, "hub", INFO)
    assert read_engine_info(disk, "hub") == INFO
    assert disk.listdir("hub") == ["engine.json"]


def test_the_keys_are_those_of_earlier_versions() -> None:
    disk = make_disk()
    write_engine_info(disk, "hub", INFO)
    content = msgspec.json.decode(disk.read("hub/engine.json"))
    assert list(content) == ["at", "pid", "functions", "running", "queued", "limits"]
    assert content["functions"] == [{"name": "f", "kind": "activity", "place": "flows.py:3", "signature": "f(x)"}]
    assert set(content["running"][0]) == {"instance", "execution", "id", "name", "attempt", "since", "executor"}


def test_warnings_are_written_if_there_are_any() -> None:
    disk = make_disk()
    write_engine_info(disk, "hub", EngineInfo(functions=(), warnings=("can't import a: a.py:1: no b",)))
    found = read_engine_info(disk, "hub")
    assert found is not None
    published = published_functions(found)
    assert published is not None
    assert published.warnings == ("can't import a: a.py:1: no b",)


@pytest.mark.parametrize("content", [None, b"", b"[]", b"\xff", b'{"functions":["f"]}'])
def test_what_cannot_be_read_is_none(content: bytes | None) -> None:
    disk = make_disk()
    if content is not None:
        disk.create("hub/engine.json", content, sync=False)
    assert read_engine_info(disk, "hub") is None


def test_an_error_of_the_disk_is_ignored() -> None:
    write_engine_info(MemoryDisk(), "no/such/folder", INFO)
