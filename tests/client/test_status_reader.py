"""What reading a status costs: files read, and lines verified."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import Client, testing
from durablecli.daemon.embedded_engine import embedded
from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.registry import Registry
from durablecli.store import hub_reader
from durablecli.store.disk import Disk
from durablecli.store.history import file as history_file
from durablecli.store.journal import snapshot as journal_snapshot
from durablecli.store.journal.commits import Commit, decode_commit
from durablecli.store.journal.snapshot import JournalSnapshot, read_journal_snapshot
from durablecli.store.query import Query
from tests.support.counting_disk import CountingDisk
from tests.support.history_writer import open_hub_writer


@df.orchestrator
def quick(context: df.DurableOrchestrationContext) -> int:
    value: int = context.get_input()
    return value


def test_reading_many_statuses_reads_the_journal_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    counted: list[int] = []

    def read_snapshot(disk: Disk, folder: str) -> JournalSnapshot:
        looks.append(folder)
        return read_journal_snapshot(disk, folder)

    monkeypatch.setattr(hub_reader, "read_journal_snapshot", read_snapshot)
    with testing.hub(quick) as hub:
        for count in (3, 30):
            for number in range(count):
                hub.client.start_new("quick", f"{count}-{number}", number)
            hub.run()
            looks.clear()
            found = hub.client.get_status_by(instance_id_prefix=f"{count}-")
            assert sorted(status.output for status in found) == list(range(count))
            counted.append(len(looks))
    assert counted[0] == counted[1]


def test_a_status_beside_its_engine_takes_two_files_and_one_listing(tmp_path: Path) -> None:
    registry = Registry()
    registry.add_module(sys.modules[__name__])
    root = f"{tmp_path}/.state"
    with embedded(registry, root) as client:
        disk = CountingDisk()
        beside = Client(root, client.mailbox, disk)
        instance = client.start_new("quick", client_input=1)
        assert client.wait(instance, 20).output == 1
        assert beside.get_status(instance).engine.pid == os.getpid()
        disk.operations.clear()
        status = beside.get_status(instance)
        assert (status.output, status.engine.alive) == (1, True)
        listed = [(operation, path.removeprefix(root)) for operation, path in disk.operations]
        assert listed[:2] == [("read_from", "/set-aside.json"), ("listdir", "/inbox/new")]
        assert [operation for operation, _ in listed[2:]] == ["read_from"]  # the history
    assert not beside.get_status(instance).engine.alive


def test_every_line_is_verified_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"{tmp_path}/.state"
    with open_hub_writer(root) as hub:
        hub.write("t", ev.ExecutionStarted("t", "1", "tour", Raw(b"1")), *[ev.TaskScheduled("hello")] * 20)
    verified: list[bytes] = []
    original = codec.verify_crc

    def verify(line: bytes, seed: int = 0) -> bytes:
        verified.append(line)
        return original(line, seed)

    for module in (codec, history_file):
        monkeypatch.setattr(module, "verify_crc", verify)
    assert Client(root).get_status("t").records == 21
    assert sum(line.startswith(b'{"n":') for line in verified) == 21


def test_what_delays_waits_is_read_only_if_asked_for(tmp_path: Path) -> None:
    root = f"{tmp_path}/.state"
    with open_hub_writer(root) as hub:
        hub.write("t", ev.ExecutionStarted("t", "1", "tour", Raw(b"1")), ev.EntityOperationCalled("@counter@a", "add"))
    disk = CountingDisk()
    client = Client(root, disk=disk)
    assert client.get_status("t").waiting_for
    assert disk.count("read_from", within=f"{root}/entities")
    disk.operations.clear()
    assert client.get_status("t", explain_waits=False).waiting_for
    assert not disk.count("read_from", within=f"{root}/entities")


def test_instances_are_counted_by_name_and_status_with_those_that_only_wait_in_the_inbox(tmp_path: Path) -> None:
    root = str(tmp_path / ".state")
    with open_hub_writer(root) as writer:
        writer.write("a", ev.ExecutionStarted("a", "1", "f"))
        writer.write("b", ev.ExecutionStarted("b", "1", "f"), ev.ExecutionCompleted("Completed", Raw(b"1")))
        writer.write("c", ev.ExecutionStarted("c", "1", "g"))
        client = Client(root, check_names=False)
        client.start_new("g", "d")
        client.terminate("c")
        assert client.count_by_name(Query()) == {
            ("f", "Running"): 1,
            ("f", "Completed"): 1,
            ("g", "Running"): 1,
            ("g", "Pending"): 1,
        }
        assert client.count_by_name(Query(status=("Pending",))) == {("g", "Pending"): 1}
        assert client.count_by_status(Query(name="f")) == {"Running": 1, "Completed": 1}


def test_the_state_of_one_instance_takes_only_the_commits_about_it(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []

    def decode(line: bytes) -> Commit:
        decoded.append(line)
        return decode_commit(line)

    monkeypatch.setattr(journal_snapshot, "decode_commit", decode)
    with testing.hub(quick) as hub:
        for number in range(30):
            hub.client.start_new("quick", f"id-{number}", number)
            hub.run()
        decoded.clear()
        state = hub.client.state("id-7")
        assert state is not None
        assert state.started.input == Raw(b"7")
        assert len(decoded) <= 3
        assert all(b'"id-7"' in line for line in decoded)
        assert hub.client.state("id-30") is None
