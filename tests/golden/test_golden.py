"""Histories that earlier releases wrote stay readable, with the same meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import json

from durablecli import testing
from durablecli.model.codec import crc_seed, decode_record, encode_record
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import Record
from durablecli.replay.entity_state import fold_entity_log
from durablecli.replay.replay import replay
from durablecli.replay.runtime_state import fold_history
from durablecli.store.check.history import check_history
from durablecli.store.disk import LocalDisk
from durablecli.store.history.file import History, read_history_file
from tests.golden.scenario import FUNCTIONS

RELEASES = sorted(each.name for each in Path(__file__).parent.iterdir() if each.name[0].isdigit())
INSTANCES: dict[str, tuple[str, Any]] = {
    "tour": ("Completed", ["Hello Tokyo!", "Activity function 'greet' failed: no name", "Hello Paris!", "Hello Lima!"]),
    "tour-child": ("Completed", "Hello Paris!"),
    "asker": ("Completed", ["the tour is over", 5]),
    "owner": ("Completed", 15),
    "waiter": ("Running", None),
    "broken": ("Failed", None),
    "eternal": ("Completed", "done"),
    "early": ("Pending", None),
}
ENTITIES = {"counter-a": {"value": 25}, "counter-b": None, "counter-c": {"value": 3_002}}


def load_golden(release: str, name: str) -> tuple[History, list[Record]]:
    history = read_history_file(LocalDisk(), str(Path(__file__).parent / release / f"{name}.jsonl"))
    assert history is not None
    assert history.is_whole
    start = crc_seed(history.instance, history.execution)
    records = [decode_record(line, start) for line in history.lines]
    assert list(check_history(history.instance, history.execution, history.lines, history.first)) == []
    assert [encode_record(record, start) for record in records] == history.lines, (
        "the same would be written otherwise now"
    )
    return history, records


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", INSTANCES)
def test_an_instance_on_record_is_folded_and_replayed(release: str, name: str) -> None:
    _, records = load_golden(release, f"instance-{name}")
    runtime_state = fold_history(records)
    status, output = INSTANCES[name]
    assert runtime_state.status == status
    assert (json.decode(runtime_state.result) if runtime_state.result else None) == output
    registry = testing.build_registry(*FUNCTIONS)
    function = registry.find_orchestrator(runtime_state.started.name)
    assert function is not None
    if runtime_state.has_started:
        executor, decisions = replay(function.call, runtime_state, registry.find_traits)
        executor.close()
        assert decisions == []


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", ENTITIES)
def test_an_entity_on_record_is_folded(release: str, name: str) -> None:
    history, records = load_golden(release, f"entity-{name}")
    assert is_entity_id(history.instance)
    runtime_state = fold_entity_log(records)
    assert (json.decode(runtime_state.state) if runtime_state.state else None) == ENTITIES[name]
    holder = runtime_state.lock.sender.instance if runtime_state.lock is not None else None
    assert holder == (None if name == "counter-c" else "waiter")
    assert runtime_state.failures == (name == "counter-b")
    assert len(runtime_state.scheduled) == (name == "counter-a")
    assert (history.first > 1) == (name == "counter-c")


def test_there_is_a_release_on_record() -> None:
    assert RELEASES
