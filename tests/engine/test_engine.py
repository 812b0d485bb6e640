"""The cycle: effects and acknowledgements come after the sync, while the next cycle runs; and cycles are bounded."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Raw

import durablecli as df
from durablecli import testing
from durablecli.engine.engine_options import EngineOptions
from durablecli.errors import StorageError
from durablecli.model.payloads import encode
from durablecli.store.hub import open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.index import Index
from durablecli.store.memory_disk import Inode, MemoryDisk
from tests.support.engine_harness import limit_commit_records
from tests.support.flows import calls, echo

Context = df.DurableOrchestrationContext
ROOT = "hub"


@df.orchestrator
def waits(context: Context) -> Any:
    first = yield context.wait_for_external_event("Go")
    second = yield context.wait_for_external_event("Go")
    return [first, second]


@df.orchestrator
def ping_pong(context: Context) -> Any:
    while True:
        yield context.wait_for_external_event("Ball")
        context.send_event(context.get_input(), "Ball")


FUNCTIONS = [echo, calls, waits, ping_pong]


class SlowDisk(MemoryDisk):
    """A disk whose journal is synced only while the gate is open, and that can be full."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.full = False

    def sync_inode(self, node: Inode, path: str) -> None:
        if "journal" in path:
            assert self.gate.wait(30)

    def extend(self, node: Inode, data: bytes, path: str) -> None:
        if self.full and "journal" in path:
            raise OSError(errno.ENOSPC, "no space left", path)
        super().extend(node, data, path)


class SlowDiskHarness:
    """An engine on a slow disk, whose commits are synced by their own thread."""

    def __init__(self, **options: Any) -> None:
        self.disk = SlowDisk()
        settings = EngineOptions(**{"sync_in_place": False, "turn_budget": timedelta.max, **options})
        self.hub = testing.TestEnvironment(testing.build_registry(*FUNCTIONS), testing.START, settings, self.disk)
        self.engine = self.hub.engine

    def start(self, id: str, value: Any = None) -> Any:
        posted = self.engine.submit("start", [MessageItem(id, "calls", encode(value))])
        self.engine.step()
        return posted

    def close(self) -> None:
        self.disk.gate.set()
        self.hub.close()


@pytest.fixture
def harness() -> Iterator[SlowDiskHarness]:
    bench = SlowDiskHarness()
    yield bench
    bench.close()


@pytest.fixture
def hub(replay_always: bool) -> Iterator[testing.TestEnvironment]:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        yield hub


# ── write before act ───────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_is_acknowledged_or_started_before_the_commit_is_on_disk(harness: SlowDiskHarness) -> None:
    harness.disk.gate.clear()
    posted = harness.start("x", 1)
    for _ in range(3):
        harness.engine.step()
    assert not posted.done.is_set()
    assert not harness.hub.pool.waiting
    assert not harness.hub.client.get_status("x").taken
    harness.disk.gate.set()
    harness.engine.flush()
    assert posted.done.is_set()
    assert list(harness.hub.pool.waiting)


def test_commits_that_are_decided_during_a_sync_share_the_next_one(harness: SlowDiskHarness) -> None:
    harness.start("first")
    harness.engine.flush()
    syncs = harness.engine.journal_writer.sync_count
    harness.disk.gate.clear()
    posted = [harness.start(f"x{i}", i) for i in range(8)]
    assert harness.engine.stats["decided_during_sync"] == 7
    assert not any(each.done.is_set() for each in posted)
    harness.disk.gate.set()
    harness.engine.flush()
    assert all(each.done.is_set() for each in posted)
    assert harness.engine.journal_writer.sync_count - syncs <= 2  # what the first one took along, and the rest


def test_outcomes_are_taken_in_the_order_in_which_they_came(harness: SlowDiskHarness) -> None:
    for i in range(5):
        harness.start(f"x{i}", i)
    harness.engine.flush()
    harness.disk.gate.clear()
    while harness.hub.pool.run_next():
        harness.engine.step()
    harness.disk.gate.set()
    harness.engine.flush()
    assert [harness.hub.client.get_status(f"x{i}").output for i in range(5)] == list(range(5))
    ends = [harness.hub.client.get_history(f"x{i}")[-1].at for i in range(5)]
    assert ends == sorted(ends)


def test_a_full_disk_stops_the_engine_and_fails_no_instance(harness: SlowDiskHarness) -> None:
    harness.start("x", 1)
    harness.engine.flush()
    harness.hub.pool.run_next()
    harness.disk.full = True
    posted = harness.engine.submit("start", [MessageItem("y", "calls")])
    with pytest.raises(StorageError, match="no space"):
        harness.engine.run()
    assert not posted.done.is_set() or posted.error is not None
    harness.disk.full = False
    harness.hub.restart()
    assert harness.hub.finish("x").output == 1
    assert not harness.hub.client.get_status("y")


def test_an_engine_whose_hub_was_taken_by_another_stops(hub: testing.TestEnvironment) -> None:
    hub.client.start_new(calls, "x")
    open_hub(ROOT, hub.disk, lock=False, index=Index())
    hub.engine.submit("start", [MessageItem("y", "calls")])
    with pytest.raises(StorageError, match="another engine"):
        hub.engine.step()


# ── where a cycle ends ─────────────────────────────────────────────────────────────────────────────────────────────


def test_two_that_never_stop_do_not_keep_a_third_from_its_end(
    hub: testing.TestEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_commit_records(monkeypatch, 64)
    for one, other in (("a", "b"), ("b", "a")):
        hub.client.start_new(ping_pong, one, other)
    hub.client.raise_event("a", "Ball")
    hub.client.start_new(calls, "c", 5)
    for _ in range(20):
        hub.pool.run_next()
        hub.engine.step()
    assert hub.client.get_status("c").output == 5
    assert hub.client.get_status("a").records > 100
    hub.restart()
    for _ in range(20):
        hub.engine.step()
    before = hub.client.get_status("a").records
    for _ in range(5):
        hub.engine.step()
    assert hub.client.get_status("a").records > before, "they continue after a crash"


def test_a_hundred_thousand_decisions_in_one_turn_are_too_many() -> None:
    @df.orchestrator
    def runaway(context: Context) -> Any:
        while True:
            context.call_activity(echo)
        yield

    with testing.hub(echo, runaway) as hub:
        hub.client.start_new(runaway, "x")
        hub.run()
        blocked = hub.client.get_status("x").blocked
        assert blocked is not None
        assert "100,000" in blocked.reason


# ── machines ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("replay_always", [False, True])
def test_live_executors_are_kept_and_replay_always_drops_them(replay_always: bool) -> None:
    with testing.hub(*FUNCTIONS, replay_always=replay_always) as hub:
        for i in range(5):
            hub.client.start_new(waits, f"x{i}")
            for value in range(2):
                hub.client.raise_event(f"x{i}", "Go", value)
        hub.run()
        stats = hub.engine.stats
        assert stats["turns"] == 15
        assert stats["replays"] == (stats["turns"] - stats["started"] if replay_always else 0)


def test_an_engine_with_room_for_few_reads_the_others_again() -> None:
    options = EngineOptions(use_threads=False, turn_budget=timedelta.max, live_instances=2)
    hub = testing.TestEnvironment(testing.build_registry(*FUNCTIONS), testing.START, options)
    ids = [f"x{i}" for i in range(200)]
    for id in ids:
        hub.client.start_new(waits, id)
    hub.run()
    for value in range(2):
        for id in ids:
            hub.client.raise_event(id, "Go", value)
            hub.run()
    assert all(hub.client.get_status(id).output == [0, 1] for id in ids)
    assert hub.engine.stats["replays"] >= 200
    hub.close()


def test_a_log_line_is_emitted_once_and_only_after_its_turn_is_on_disk(caplog: pytest.LogCaptureFixture) -> None:
    @df.orchestrator
    def talks(context: Context) -> Any:
        context.logger.info("begun with %s", context.get_input())
        yield context.wait_for_external_event("Go")
        context.logger.info("done")

    caplog.set_level(logging.INFO)
    with testing.hub(talks, replay_always=True) as hub:
        hub.client.start_new(talks, "x", 7)
        hub.client.raise_event("x", "Go")
        hub.restart()
        hub.finish("x")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("durablecli.orchestrator")]
    assert lines == ["begun with 7", "done"]


# ── the inbox ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_messages_of_other_processes_are_taken_in_order_and_go_when_they_are_taken(
    hub: testing.TestEnvironment,
) -> None:
    inbox = Inbox(hub.disk, ROOT, notify=hub.engine.wake)
    inbox.post("start", [MessageItem("x", "waits", Raw(b"null"))])
    for value in (b"1", b"2"):
        inbox.post("raise-event", [MessageItem("x", "Go", Raw(value))])
    hub.run()
    assert hub.client.get_status("x").output == [1, 2]
    assert hub.disk.listdir(f"{ROOT}/inbox/new") == []


def test_a_message_that_was_taken_before_a_crash_is_not_taken_again(hub: testing.TestEnvironment) -> None:
    inbox = Inbox(hub.disk, ROOT, notify=hub.engine.wake)
    inbox.post("start", [MessageItem("x", "waits", Raw(b"null"))])
    hub.run()
    inbox.post("raise-event", [MessageItem("x", "Go", Raw(b"1"))])
    (name,) = hub.disk.listdir(f"{ROOT}/inbox/new")
    kept = hub.disk.read(f"{ROOT}/inbox/new/{name}")
    hub.run()
    hub.disk.create(f"{ROOT}/inbox/new/{name}", kept, sync=True)
    hub.restart()
    hub.run()
    assert [type(record.event).__name__ for record in hub.client.get_history("x")].count("EventRaised") == 1


def test_an_event_for_an_unknown_instance_waits_for_another_poll(hub: testing.TestEnvironment) -> None:
    inbox = Inbox(hub.disk, ROOT, notify=hub.engine.wake)
    inbox.post("raise-event", [MessageItem("nobody", "Go", Raw(b"1"))])
    hub.run()
    assert hub.engine.stats["undelivered"] == 1
    assert any("nobody" in line for line in hub.output_lines)
