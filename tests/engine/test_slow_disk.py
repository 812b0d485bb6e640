"""A disk on which writing is slow: what waits for it is bounded, and nothing is lost."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Generator, Iterable
from datetime import timedelta
from time import sleep
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine import committer, publisher
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.engine_options import EngineOptions
from durablecli.model.status import InstanceSummary
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.hub_reader import HubReader
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.layout import INSTANCES_FOLDER
from durablecli.store.memory_disk import Inode, MemoryDisk
from durablecli.store.query import Query
from tests.support.cyclic_garbage import without_collector
from tests.support.engine_harness import limit_commit_records

Context = df.DurableOrchestrationContext
LIMIT = 64 * 1024
COUNT = 300


@df.activity
def echo(value: str) -> str:
    return value


@df.orchestrator
def echo_twice(context: Context) -> Generator[Any, Any, str]:
    said = yield context.call_activity(echo, context.get_input())
    said = yield context.call_activity(echo, said)
    return str(said)


@df.orchestrator
def wait(context: Context) -> Any:
    return (yield context.wait_for_external_event("go"))


class SlowDisk(MemoryDisk):
    """Writing to a history takes two milliseconds; counts the writes and their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: Counter[str] = Counter()
        self.bytes_written = 0

    def append_once(self, path: str, data: bytes, *, create: bool) -> None:
        if f"/{INSTANCES_FOLDER}/" in path:
            sleep(0.002)
            self.writes[path] += 1
            self.bytes_written += len(data)
        super().append_once(path, data, create=create)


class SlowSyncDisk(MemoryDisk):
    """Syncing a file takes ten milliseconds."""

    def sync_inode(self, node: Inode, path: str) -> None:
        sleep(0.01)


def make_hub(disk: MemoryDisk | None = None, *, live_instances: int = 10_000) -> testing.TestEnvironment:
    options = EngineOptions(use_threads=False, turn_budget=timedelta(milliseconds=10), live_instances=live_instances)
    return testing.TestEnvironment(testing.build_registry(echo, echo_twice, wait), testing.START, options, disk)


def post_starts(hub: testing.TestEnvironment, name: str, count: int = COUNT) -> None:
    text = Raw(b'"%b"' % (b"x" * 1000))
    inbox = Inbox(hub.disk, "hub")
    for index in range(count):
        inbox.post("start", [MessageItem(f"b-{index}", name, text)])


def test_what_waits_for_slow_files_is_bounded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "MAX_UNPUBLISHED_BYTES", LIMIT)
    limit_commit_records(monkeypatch, 32)
    disk, waiting, largest_commit = SlowDisk(), 0, 0
    with make_hub(disk) as hub:
        committed = 0
        add_commit = hub.engine.publisher.add_commit

        def watch(builder: CommitBuilder) -> None:
            nonlocal committed, waiting, largest_commit
            add_commit(builder)
            committed += builder.size
            largest_commit = max(largest_commit, builder.size)
            waiting = max(waiting, committed - disk.bytes_written)

        monkeypatch.setattr(hub.engine.publisher, "add_commit", watch)
        post_starts(hub, "echo_twice")
        hub.run()
        assert committed > 10 * LIMIT
        assert waiting <= LIMIT + largest_commit < 2 * LIMIT
        assert sum("the engine waits for the disk" in line for line in hub.output_lines) == 1
        hub.restart()
        done = [status for status in hub.client.get_status_all() if status.output == "x" * 1000]
        assert len(done) == COUNT
        assert hub.client.check().findings == []


def test_the_instances_whose_short_histories_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "MAX_UNPUBLISHED_HISTORIES", 20)
    monkeypatch.setattr(publisher, "_MAX_CHANGED_ROWS", 20)
    monkeypatch.setattr(publisher, "_FLUSH_BUDGET", -1.0)
    limit_commit_records(monkeypatch, 32)
    with without_collector(), make_hub(live_instances=10) as hub:
        most = 0
        add_commit = hub.engine.publisher.add_commit

        def watch(builder: CommitBuilder) -> None:
            nonlocal most
            add_commit(builder)
            most = max(most, sum(type(each) is RuntimeState for each in gc.get_objects()))

        monkeypatch.setattr(hub.engine.publisher, "add_commit", watch)
        post_starts(hub, "wait")
        hub.run()
        assert most < 20 + 10 + 2 * 32
        assert not any("waits for the disk" in line for line in hub.output_lines)
        assert hub.client.count(Query()) == COUNT


def test_a_short_lived_instance_costs_one_history_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_GATHER_INTERVAL", 1e9)
    disk = SlowDisk()
    with make_hub(disk) as hub:
        post_starts(hub, "echo_twice")
        hub.run()
        assert list(disk.writes.values()) == [1] * COUNT


def test_what_waits_is_counted_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_GATHER_INTERVAL", 1e9)
    with make_hub() as hub:
        post_starts(hub, "wait", 20)
        reader, waiting = HubReader("hub", hub.disk), hub.engine.publisher
        with monkeypatch.context() as patch:
            patch.setattr(publisher, "_IDLE_FLUSH_BUDGET", -1.0)
            while not hub.client.get_status("b-19").taken:
                hub.engine.step()
        found = [reader.read_history(f"b-{index}") for index in range(20)]
        assert waiting.unpublished_bytes == sum(len(line) + 1 for each in found if each for line in each.lines) > 20_000
        hub.client.raise_event("b-3", "go", 1)
        hub.client.terminate("b-4")
        hub.run()
        assert waiting.unpublished_bytes == 0
        hub.client.purge_instance_history("b-4")
        hub.client.start_new("wait", "b-4", 7)
        hub.run()
        assert waiting.unpublished_bytes == 0


def test_an_ended_instance_costs_one_row_and_is_not_kept_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_INDEX_INTERVAL", 1e9)
    rows: list[str] = []
    with without_collector(), make_hub() as hub:
        index = hub.engine.hub.index
        update = index.update

        def watch(changed: Iterable[InstanceSummary], removed: Iterable[str], last_commit: int) -> None:
            found = list(changed)
            rows.extend(row.id for row in found)
            update(found, removed, last_commit)

        monkeypatch.setattr(index, "update", watch)
        post_starts(hub, "echo_twice", 50)
        while not hub.engine.is_quiescent or hub.engine.publisher.has_unpublished or hub.pool.waiting:
            hub.engine.step()
            hub.pool.run_next()
        assert sum(type(each) is RuntimeState for each in gc.get_objects()) <= 2
        hub.engine.flush()
        assert sorted(rows) == sorted(f"b-{index}" for index in range(50))


def test_the_rows_that_wait_for_the_index_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_INDEX_INTERVAL", 1e9)
    monkeypatch.setattr(publisher, "_MAX_CHANGED_ROWS", 20)
    limit_commit_records(monkeypatch, 32)
    with make_hub() as hub:
        counts: list[int] = []
        update = hub.engine.hub.index.update

        def watch(changed: Iterable[InstanceSummary], removed: Iterable[str], last_commit: int) -> None:
            found = list(changed)
            counts.append(len(found))
            update(found, removed, last_commit)

        monkeypatch.setattr(hub.engine.hub.index, "update", watch)
        post_starts(hub, "wait", 100)
        hub.run()
        assert sum(counts) >= 100
        assert max(counts) < 20 + 32


def test_what_waits_for_the_journal_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "_MAX_UNSYNCED_BYTES", LIMIT)
    limit_commit_records(monkeypatch, 32)
    options = EngineOptions(sync_in_place=False)
    with testing.TestEnvironment(testing.build_registry(wait), testing.START, options, SlowSyncDisk()) as hub:
        waiting, most, largest = 0, 0, 0
        enqueue, append = hub.engine.journal_writer.enqueue, hub.engine.hub.journal.append_lines

        def watch_enqueue(line: bytes, c: int) -> None:
            nonlocal waiting, most, largest
            waiting += len(line)
            most, largest = max(most, waiting), max(largest, len(line))
            enqueue(line, c)

        def watch_append(lines: list[bytes], last_commit: int) -> None:
            nonlocal waiting
            append(lines, last_commit)
            waiting -= sum(map(len, lines))

        monkeypatch.setattr(hub.engine.journal_writer, "enqueue", watch_enqueue)
        monkeypatch.setattr(hub.engine.hub.journal, "append_lines", watch_append)
        post_starts(hub, "wait")
        hub.run()
        assert LIMIT // 2 < most < LIMIT + 2 * largest < 3 * LIMIT
