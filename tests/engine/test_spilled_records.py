"""Records that are too long for a line of the journal: they replay alike, and their files go with their history."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.errors import InstanceSetAside
from durablecli.model.spilled_line import is_stub
from durablecli.store.check.checker import CheckReport, check_hub
from durablecli.store.check.repair import repair_hub
from durablecli.store.history.file import read_history
from durablecli.store.history.spilled_files import iter_spilled_folders
from durablecli.store.hub import checkpoint
from durablecli.store.memory_disk import MemoryDisk
from tests.support.flows import calls, echo, waits

ROOT = "hub"
SPILL_OVER = 1_000
LARGE = "x" * 5_000
Context = df.DurableOrchestrationContext


@df.orchestrator
def two_steps(context: Context) -> Any:
    first = yield context.call_activity(echo, context.get_input())
    yield context.wait_for_external_event("Go")
    return first


@df.orchestrator
def eternal(context: Context) -> Any:
    yield context.call_activity(echo, context.get_input())
    yield context.wait_for_external_event("Next")
    context.continue_as_new(context.get_input() + "y")


@df.entity
def text(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: "") + context.get_input())


def make_hub(*, spill_over: int = SPILL_OVER, replay_always: bool = False) -> testing.TestEnvironment:
    options = EngineOptions(
        use_threads=False,
        turn_budget=timedelta.max,
        checkpoint_interval=timedelta.max,
        spill_over=spill_over,
        replay_always=replay_always,
    )
    registry = testing.build_registry(echo, calls, waits, two_steps, eternal, text)
    return testing.TestEnvironment(registry, testing.START, options)


def list_files(disk: MemoryDisk) -> list[str]:
    return [f"{folder}/{name}" for folder in iter_spilled_folders(disk, ROOT) for name in disk.listdir(folder)]


def make_checkpoint(hub: testing.TestEnvironment) -> None:
    """As the engine does every ten seconds."""
    hub.run()
    checkpoint(hub.engine.hub)


def test_only_records_over_the_limit_are_spilled_and_all_are_read_back(replay_always: bool) -> None:
    hub = make_hub(replay_always=replay_always)
    hub.client.start_new("two_steps", "i", LARGE)
    hub.run()
    history = read_history(hub.disk, ROOT, "i")
    assert history is not None
    assert [is_stub(line) for line in history.lines] == [True, True, True, False]
    assert sum(map(len, history.lines)) < 2_000
    assert len(list_files(hub.disk)) == 3
    hub.restart()
    hub.client.raise_event("i", "Go", LARGE)
    assert hub.finish("i").output == LARGE
    records = hub.client.get_history("i")
    assert [record.n for record in records] == [1, 2, 3, 4, 5, 6]
    assert hub.client.get_status("i", show_history=True, show_history_output=True).output == LARGE


def test_the_hub_of_a_test_takes_the_setting() -> None:
    for config, count in (({}, 0), ({"payloads": {"spill_over": "1KiB"}}, 4)):
        hub = testing.hub(echo, calls, config=config)
        hub.client.start_new("calls", "i", LARGE)
        assert hub.finish("i").output == LARGE
        assert len(list_files(hub.disk)) == count


def test_the_limit_itself_is_not_over_it() -> None:
    hub = make_hub(spill_over=0)
    hub.client.start_new("calls", "i", LARGE)
    assert hub.finish("i").output == LARGE
    assert list_files(hub.disk) == []
    history = read_history(hub.disk, ROOT, "i")
    assert history is not None
    size = len(history.lines[0]) + 1
    for over, spilled in ((size, 0), (size - 1, 1)):
        hub = make_hub(spill_over=over)
        hub.client.start_new("waits", "i", "x" * (5_000 + len("calls") - len("waits")))
        hub.run()
        assert len(list_files(hub.disk)) == spilled


def test_a_hub_has_the_format_3_from_its_first_spilled_record_on() -> None:
    hub = make_hub()
    hub.client.start_new("calls", "small", 1)
    hub.run()
    assert b'"format":2' in hub.disk.read("hub/hub.json")
    hub.client.start_new("calls", "large", LARGE)
    hub.run()
    assert b'"format":3' in hub.disk.read("hub/hub.json")
    hub.restart()
    assert b'"format":3' in hub.disk.read("hub/hub.json")


def test_a_purge_counts_the_bytes_of_the_files_and_removes_them() -> None:
    hub = make_hub()
    hub.client.start_new("calls", "i", LARGE)
    hub.finish("i")
    files = list_files(hub.disk)
    size = sum(map(hub.disk.size, files))
    assert len(files) == 4
    assert hub.engine.instances.get("i").runtime_state.size > size  # type: ignore[union-attr]
    hub.client.purge_instance_history("i")
    hub.run()
    make_checkpoint(hub)
    assert list_files(hub.disk) == []
    assert list(iter_spilled_folders(hub.disk, ROOT)) == []
    assert check_hub(ROOT, hub.disk).findings == []


def test_the_next_execution_replaces_the_files_of_the_last_one() -> None:
    hub = make_hub()
    hub.client.start_new("eternal", "i", LARGE)
    for _ in range(3):
        hub.client.raise_event("i", "Next")
        hub.run()
    make_checkpoint(hub)
    history = read_history(hub.disk, ROOT, "i")
    assert history is not None
    assert len(list_files(hub.disk)) == sum(map(is_stub, history.lines)) == 3
    hub.restart()
    hub.client.raise_event("i", "Next")
    hub.run()
    assert hub.client.get_status("i").input_ == LARGE + 4 * "y"


def test_an_id_that_is_used_again_keeps_the_files_of_the_new_execution_alone() -> None:
    hub = make_hub()
    hub.client.start_new("calls", "i", LARGE)
    hub.finish("i")
    hub.client.purge_instance_history("i")
    hub.client.start_new("waits", "i", LARGE)
    hub.run()
    make_checkpoint(hub)
    assert len(list_files(hub.disk)) == 1
    assert hub.client.get_status("i").input_ == LARGE
    hub.restart()
    assert hub.client.get_status("i").input_ == LARGE


def test_the_log_of_an_entity_drops_the_files_before_its_snapshot() -> None:
    hub = make_hub()
    for _ in range(40):
        hub.client.signal_entity("@text@a", "add", LARGE)
        hub.run()
    make_checkpoint(hub)
    log = read_history(hub.disk, ROOT, "@text@a")
    assert log is not None
    assert log.first > 1
    assert len(list_files(hub.disk)) == sum(map(is_stub, log.lines))
    hub.restart()
    assert hub.client.read_entity_state("@text@a").entity_state == 40 * LARGE


def test_a_kill_before_the_checkpoint_leaves_files_that_go_when_the_hub_is_opened() -> None:
    hub = make_hub()
    hub.client.start_new("calls", "i", LARGE)
    hub.finish("i")
    hub.client.purge_instance_history("i")
    hub.run()
    assert list_files(hub.disk)
    hub.restart()
    assert list_files(hub.disk) == []


def test_what_is_kept_in_memory_until_it_is_published_is_read_from_there() -> None:
    hub = make_hub()
    hub.client.start_new("two_steps", "i", LARGE)
    hub.engine.step()
    instance = hub.engine.instances.get("i")
    assert instance is not None
    assert instance.unpublished
    assert len(hub.engine.instances.read_records(instance) or []) == 2
    assert hub.engine.instances.reread(instance)


# ── damage ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def remove(disk: MemoryDisk, path: str) -> None:
    disk.unlink(path)


def alter(disk: MemoryDisk, path: str) -> None:
    data = disk.read(path)
    disk.truncate(path, 0)
    disk.append_once(path, data.replace(b"xx", b"xy", 1), create=False)


@pytest.mark.parametrize(("damage", "says"), [(remove, "is missing"), (alter, "was altered")])
def test_a_damaged_file_concerns_its_instance_alone(damage: Callable[[MemoryDisk, str], None], says: str) -> None:
    hub = make_hub()
    for id in ("bad", "good"):
        hub.client.start_new("two_steps", id, LARGE)
    hub.run()
    (file,) = (each for each in list_files(hub.disk) if "/bad/" in each and "-3-" in each)
    damage(hub.disk, file)
    hub.restart()
    for id in ("bad", "good"):
        expected: AbstractContextManager[Any] = pytest.raises(InstanceSetAside) if id == "bad" else nullcontext()
        with expected:
            hub.client.raise_event(id, "Go")
        hub.run()
    assert hub.client.get_status("good").output == LARGE
    status = hub.client.get_status("bad")
    assert status.set_aside is not None
    assert f"record n 3 is damaged: its file {file} {says}" in status.set_aside.reason
    assert status.input_ == LARGE
    findings = check_hub(ROOT, hub.disk).findings
    assert any(f"record n 3 is whole, and can't be read: its file {file} {says}" in each for each in findings)


def repair(hub: testing.TestEnvironment) -> CheckReport:
    """Repair the hub in the current folder, as its index has to be a file, and bring it back to the disk in memory."""
    for folder in sorted(hub.disk.folders - {"", ".", "/"}):
        Path(folder).mkdir(mode=0o700)
    for path, node in hub.disk.files.items():
        Path(path).write_bytes(node.data)
        Path(path).chmod(0o600)
    report = repair_hub(ROOT)
    for path in list(hub.disk.files):
        hub.disk.unlink(path)
    for file in (each for each in Path(ROOT).rglob("*") if each.suffix != ".sqlite"):
        if file.is_dir():
            hub.disk.make_folder(str(file))
        else:
            hub.disk.create(str(file), file.read_bytes(), sync=True)
    return report


def test_a_repair_cuts_the_history_at_the_lost_record_and_the_activity_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub = make_hub()
    hub.client.start_new("two_steps", "i", LARGE)
    hub.run()
    hub.close()
    (file,) = (each for each in list_files(hub.disk) if "-3-" in each)
    hub.disk.unlink(file)
    report = repair(hub)
    assert report.findings == []
    assert any("was cut behind record n 2: i has lost the records n 3;" in each for each in report.repaired)
    hub.open()
    hub.client.raise_event("i", "Go")
    assert hub.finish("i").output == LARGE


def test_a_file_that_no_record_refers_to_is_noted_and_a_repair_moves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    hub = make_hub()
    hub.client.start_new("two_steps", "i", LARGE)
    hub.run()
    hub.close()
    file = list_files(hub.disk)[0]
    stray = f"{file[:-9]}{'f' * 4}.json"
    hub.disk.create(stray, b"x", sync=False)
    assert any(each.startswith(f"{stray} belongs to no record") for each in check_hub(ROOT, hub.disk).notes)
    report = repair(hub)
    assert report.findings == []
    assert [each.partition(":")[0] for each in report.repaired] == [stray]
    assert len(list_files(hub.disk)) == 3
