"""The inbox: what was acknowledged is there after any crash, once, and in the order of posting."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.errors import Conflict, DamagedMessage, HubLocked, StorageError, UsageError
from durablecli.store import disk as disk_module
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.hub_creation import create_folders
from durablecli.store.inbox import batches, inbox_consumer, reservations
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.message_counter import MessageCounter
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.inbox.reservations import Reservation, Reservations
from durablecli.store.inbox.wakeup import WakeupPipe, notify
from durablecli.store.inbox.wakeup import pipe_path as bell_path
from durablecli.store.memory_disk import MemoryDisk
from tests.support.faulty_disk import FaultyDisk, PowerCut, fail_from

NEW = "hub/inbox/new"


class UnsyncedDisk(LocalDisk):
    """The real file system, for tests of order and of races: those don't depend on syncs, which take long."""

    def create(self, path: str, data: bytes, *, sync: bool) -> None:
        super().create(path, data, sync=False)

    def sync_folder(self, path: str) -> None:
        pass


class InboxHarness:
    """One inbox from all sides: a client's, a reader's and the engine's."""

    def __init__(self, disk: Disk, root: str, notify: Callable[[], None] | None = None) -> None:
        self.disk = disk
        self.client = Inbox(disk, root, notify=notify)
        self.reader = InboxReader(disk, root)
        self.consumer = InboxConsumer(disk, root)
        self.counter = MessageCounter(disk, root)
        self._reservations = Reservations(disk, root, self.reader)

    def list_reservations(self) -> list[Reservation]:
        return self._reservations.list_all()


def make_inbox(disk: MemoryDisk | None = None) -> InboxHarness:
    disk = disk or MemoryDisk()
    disk.make_folder("hub")
    disk.sync_folder("")
    create_folders(disk, "hub")
    return InboxHarness(disk, "hub")


def make_disk_inbox(root: Path) -> InboxHarness:
    disk = UnsyncedDisk()
    create_folders(disk, str(root))
    return InboxHarness(disk, str(root))


def event_items(instance: str, name: str = "E") -> list[MessageItem]:
    return [MessageItem(instance, name=name)]


def start_items(instance: str) -> list[MessageItem]:
    return [MessageItem(instance, name="f", input=Raw(b'{"a":1}'))]


def item_names(messages: list[Message]) -> list[str | None]:
    return [message.items[0].name for message in messages]


def test_a_message_comes_out_as_it_went_in() -> None:
    inbox = make_inbox()
    receipt = inbox.client.post("start", start_items("tour-7"))
    (message,) = inbox.consumer.take_next()
    assert (message.message, message.kind, message.number, message.total) == (receipt.message, "start", 1, 1)
    assert receipt.instances == ["tour-7"]
    assert (message.items[0].instance, message.items[0].name, bytes(message.items[0].input)) == (
        "tour-7",
        "f",
        b'{"a":1}',
    )


def test_posting_notifies_the_wakeup_pipe() -> None:
    rings: list[None] = []
    disk = MemoryDisk()
    disk.make_folder("hub")
    create_folders(disk, "hub")
    inbox = InboxHarness(disk, "hub", notify=lambda: rings.append(None))
    inbox.client.post("purge", [MessageItem("a")])
    assert len(rings) == 1


@pytest.mark.parametrize(("kind", "items"), [("dance", [MessageItem("a")]), ("start", [])])
def test_what_is_no_message_is_refused(kind: str, items: list[MessageItem]) -> None:
    with pytest.raises(UsageError):
        make_inbox().client.post(kind, items)


def test_a_message_over_the_limit_is_refused_with_the_limit() -> None:
    big = Raw(b'"%b"' % bytes(17 * 1024 * 1024).replace(b"\0", b"x"))
    with pytest.raises(UsageError, match="16 MiB"):
        make_inbox().client.post("raise-event", [MessageItem("a", name="E", input=big)])


# ── order ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_message_is_handed_out_once_and_in_slices() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    for n in range(5):
        inbox.client.post("raise-event", event_items("a", f"E{n}"))
    first = inbox.consumer.take_next(limit=2)
    assert inbox.consumer.has_more
    rest = inbox.consumer.take_next()
    assert item_names(first) + item_names(rest) == ["E0", "E1", "E2", "E3", "E4"]
    assert inbox.consumer.listing_count == 1
    assert inbox.consumer.take_next() == []
    inbox.consumer.remove([each.message for each in first])
    assert inbox.consumer.take_next() == []
    assert item_names(InboxConsumer(disk, "hub").take_next()) == ["E2", "E3", "E4"]


def test_what_one_listing_misses_is_not_overtaken() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    for n in range(1, 4):
        inbox.client.post("raise-event", event_items("a", f"E{n}"))

    shown = iter(["2"])
    real = disk.listdir

    def listdir(path: str) -> list[str]:
        wanted = next(shown, "123")  # a listing isn't a moment in time: the first one misses the oldest message
        return [name for name in real(path) if name[11] in wanted]

    disk.listdir = listdir  # type: ignore[method-assign]
    assert item_names(inbox.consumer.take_next()) == ["E1", "E2"]
    assert item_names(inbox.consumer.take_next()) == ["E3"]


def test_ten_thousand_messages_of_four_senders_come_in_their_order_while_they_are_taken(tmp_path: Path) -> None:
    taker = make_disk_inbox(tmp_path)
    senders, each = 4, 2500

    def send(sender: int) -> None:
        inbox = InboxHarness(UnsyncedDisk(), str(tmp_path))
        for n in range(each):
            inbox.client.post("raise-event", event_items(f"s{sender}", str(n)))

    taken: dict[str, list[int]] = {f"s{sender}": [] for sender in range(senders)}
    with ThreadPoolExecutor(senders) as pool:
        sending = [pool.submit(send, sender) for sender in range(senders)]
        while not all(future.done() for future in sending) or os.listdir(tmp_path / "inbox" / "new"):
            found = taker.consumer.take_next()
            for message in found:
                taken[message.items[0].instance].append(int(message.items[0].name or ""))
            taker.consumer.remove([message.message for message in found])
        for future in sending:
            future.result()
    assert taken == {f"s{sender}": list(range(each)) for sender in range(senders)}


@pytest.mark.parametrize("left", [None, b"", b"00000000", b"000000000001\n", b"00000000000\n", b"9\n" * 7, bytes(13)])
def test_numbers_never_go_back_below_what_waits(left: bytes | None) -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    for n in range(3):
        inbox.client.post("raise-event", event_items("a", f"E{n}"))
    disk.unlink("hub/inbox/counter")
    if left is not None:
        disk.create("hub/inbox/counter", left, sync=True)
    again = InboxHarness(disk, "hub")
    again.client.post("raise-event", event_items("a", "E3"))
    assert [(each.number, each.items[0].name) for each in again.consumer.take_next()][-1] == (4, "E3")


# ── crashes and refusals ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_was_acknowledged_is_there_after_a_power_cut_at_every_operation() -> None:
    cuts = 0
    for seed in range(40):
        dice = random.Random(seed)
        operation = 0
        while True:
            operation += 1
            disk = FaultyDisk()
            inbox = make_inbox(disk)
            seen = 0

            def cut(name: str, path: str, at: int = operation) -> None:
                nonlocal seen
                seen += 1
                if seen == at:
                    raise PowerCut

            told: list[str] = []
            disk.step = cut
            try:
                for n in range(3):
                    inbox.client.post("raise-event", event_items("a", f"E{n}"))
                    told.append(f"E{n}")
            except PowerCut:
                pass
            else:
                break
            disk.step = lambda name, path: None
            disk.power_cut(dice)
            cuts += 1
            again = InboxHarness(disk, "hub")
            again.consumer.remove_leftovers()
            again.client.post("raise-event", event_items("a", "after"))
            found = item_names(again.consumer.take_next())
            in_flight = [f"E{len(told)}"] if f"E{len(told)}" in found else []
            assert found == [*told, *in_flight, "after"], f"seed {seed}, operation {operation}"
    assert cuts > 500


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "sync_folder", "create"])
def test_a_refusal_of_the_disk_acknowledges_nothing(operation: str) -> None:
    disk = FaultyDisk()
    inbox = make_inbox(disk)
    disk.step = fail_from(1, {operation}, errno.ENOSPC)
    with pytest.raises(StorageError, match="not acknowledged"):
        inbox.client.post("raise-event", event_items("a"))
    disk.step = lambda name, path: None
    # A message that got its name, and failed to be synced behind it, may still be seen; the others must not.
    assert len(inbox.consumer.take_next()) == (operation == "sync_folder")


def test_without_file_handles_messages_wait() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    inbox.client.post("raise-event", event_items("a", "E0"))
    read, refused = disk.read, iter([True])

    def poor(path: str) -> bytes:
        if next(refused, False):
            raise OSError(errno.EMFILE, "too many open files", path)
        return read(path)

    disk.read = poor  # type: ignore[method-assign]
    assert inbox.consumer.take_next() == []
    assert item_names(inbox.consumer.take_next()) == ["E0"]


@pytest.mark.parametrize("damage", [b"", b"\0" * 40, b'{"format":1,"message":"m","crc":"00000000"}\n'])
def test_a_damaged_message_is_moved_away_and_reported_once(damage: bytes) -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    inbox.client.post("raise-event", event_items("a", "E0"))
    disk.create(f"{NEW}/000000000002-raise-event-00.json", damage, sync=True)
    inbox.counter.next()
    inbox.client.post("raise-event", event_items("a", "E1"))
    assert item_names(inbox.consumer.take_next()) == ["E0", "E1"]
    (finding,) = inbox.consumer.take_warnings()
    assert "hub/inbox/bad/000000000002-raise-event-00.json" in finding
    assert inbox.consumer.take_warnings() == []
    assert disk.read("hub/inbox/bad/000000000002-raise-event-00.json") == damage


def test_messages_that_a_dead_engine_took_are_removed_by_the_next() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    first = inbox.client.post("raise-event", event_items("a", "E0")).message
    inbox.client.post("raise-event", event_items("a", "E1"))
    inbox.consumer.take_next()
    again = InboxHarness(disk, "hub")
    again.consumer.remove([first, "m-never-here"])
    assert item_names(again.consumer.take_next()) == ["E1"]


def test_half_written_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    inbox = make_disk_inbox(tmp_path)
    (tmp_path / "inbox/tmp/999999999-000000000001-m-x").write_bytes(b"half")
    (tmp_path / f"inbox/tmp/{os.getpid()}-000000000002-m-y").write_bytes(b"being written")
    (tmp_path / "inbox/new/000000000001-start-batch.0.part").write_bytes(b"orphan")
    (tmp_path / "inbox/new/000000000002-start-batch.0.part").write_bytes(b"its manifest comes")
    inbox.consumer.remove_leftovers()
    assert os.listdir(tmp_path / "inbox/tmp") == [f"{os.getpid()}-000000000002-m-y"]
    assert os.listdir(tmp_path / "inbox/new") == ["000000000002-start-batch.0.part"]


# ── what waits for whom ────────────────────────────────────────────────────────────────────────────────────────────


def test_pending_gives_what_waits_for_one_instance_in_order() -> None:
    inbox = make_inbox()
    inbox.client.post("start", start_items("a"))
    inbox.client.post("raise-event", event_items("b"))
    inbox.client.post("terminate", [MessageItem("b"), MessageItem("a", reason="enough")])
    inbox.client.post("restart", [MessageItem("b", new_instance="c")])
    assert [(each.kind, [item.instance for item in each.items]) for each in inbox.reader.pending_messages("a")] == [
        ("start", ["a"]),
        ("terminate", ["a"]),
    ]
    assert [each.kind for each in inbox.reader.pending_messages("c")] == ["restart"]
    assert inbox.reader.pending_messages("d") == []
    assert [each.items[0].instance for each in inbox.reader.pending_of_kinds({"start"})] == ["a"]


def make_batch(count: int = 100, size: int = 100_000) -> list[MessageItem]:
    text = b'"%b"' % (b"x" * size)
    return [MessageItem(f"b-{index}", name="f", input=Raw(text)) for index in range(count)]


def test_a_large_batch_is_kept_in_parts_and_read_in_slices() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    receipt = inbox.client.post("start", make_batch())
    parts = [name for name in disk.listdir(NEW) if name.endswith(".part")]
    assert len(parts) == 3
    assert all(disk.size(f"{NEW}/{name}") <= batches.MAX_PART_BYTES for name in parts)
    (message,) = inbox.consumer.take_next()
    assert (message.total, message.items, message.batch) == (100, [], "b")
    slices = [inbox.reader.read_items(message, first, 30) for first in range(0, 120, 30)]
    assert [item.instance for each in slices for item in each] == [f"b-{index}" for index in range(100)]
    assert [[item.instance for item in each.items] for each in inbox.reader.pending_messages("b-99")] == [["b-99"]]
    assert (
        inbox.reader.pending_messages("b-100")
        == inbox.reader.pending_messages("b-099")
        == inbox.reader.pending_messages("b-")
        == []
    )
    assert len(list(inbox.reader.pending_of_kinds({"start"}))) == 1
    inbox.consumer.remove([receipt.message])
    assert disk.listdir(NEW) == []


def test_a_batch_of_any_ids_is_found_too() -> None:
    inbox = make_inbox()
    items = make_batch()
    inbox.client.post("start", [*items[1:], items[0]])
    assert [[item.instance for item in each.items] for each in inbox.reader.pending_messages("b-0")] == [["b-0"]]


def test_a_damaged_or_missing_part_concerns_its_message_only() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    inbox.client.post("start", make_batch())
    (message,) = inbox.consumer.take_next()
    disk.truncate(f"{NEW}/000000000001-start-batch.1.part", 1000)
    with pytest.raises(DamagedMessage, match="part of batch"):
        inbox.reader.read_items(message, 50, 10)
    disk.unlink(f"{NEW}/000000000001-start-batch.1.part")
    with pytest.raises(DamagedMessage, match="part of batch"):
        inbox.reader.read_items(message, 50, 10)


def test_a_batch_is_atomic_across_a_power_cut_at_every_operation() -> None:
    outcomes: set[int] = set()
    for seed in range(3):
        operation, done = 0, False
        while not done:
            operation += 1
            disk = FaultyDisk()
            inbox = make_inbox(disk)
            seen = 0

            def cut(name: str, path: str, at: int = operation) -> None:
                nonlocal seen
                seen += 1
                if seen == at:
                    raise PowerCut

            disk.step = cut
            try:
                inbox.client.post("start", make_batch(10, 1_000_000))
                done = True
            except PowerCut:
                pass
            disk.step = lambda name, path: None
            disk.power_cut(random.Random(1000 * seed + operation))
            again = InboxHarness(disk, "hub")
            found = [
                item
                for message in again.consumer.take_next()
                for item in again.reader.read_items(message, 0, message.total)
            ]
            assert [item.instance for item in found] in ([], [f"b-{index}" for index in range(10)])
            assert found or not done
            outcomes.add(len(found))
    assert outcomes == {0, 10}


# ── reserved ids ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_two_hundred_starters_one_gets_the_id(tmp_path: Path) -> None:
    make_disk_inbox(tmp_path)
    gate = threading.Barrier(200)

    def reserve(n: int) -> bool:
        inbox = InboxHarness(UnsyncedDisk(), str(tmp_path))
        gate.wait()
        try:
            inbox.client.reserve("../one", f"m-{n}")
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(200) as pool:
        won = [n for n, mine in enumerate(pool.map(reserve, range(200))) if mine]
    (winner,) = won
    held = Inbox(LocalDisk(), str(tmp_path)).get_reservation("../one")
    assert held is not None
    assert (held.id, held.message, held.is_alive) == ("../one", f"m-{winner}", True)


def test_a_released_id_is_free_again() -> None:
    inbox = make_inbox()
    inbox.client.reserve("a", "m-1")
    with pytest.raises(Conflict, match="'a' is being started"):
        inbox.client.reserve("a", "m-2")
    inbox.consumer.release_ids([("a", "m-2"), ("b", "m-1")])
    assert [each.message for each in inbox.list_reservations()] == ["m-1"]
    inbox.consumer.release_ids([("a", "m-1")])
    assert inbox.client.get_reservation("a") is None
    inbox.client.reserve("a", "m-2")
    assert [each.message for each in inbox.list_reservations()] == ["m-2"]


def reserve_and_die(root: Path, post: bool) -> None:
    code = f"""
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
inbox = Inbox(LocalDisk(), {str(root)!r})
inbox.reserve("a", "m-1")
if {post}:
    inbox.post("start", [MessageItem("a", name="f")], "m-1")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_id_that_a_dead_process_held_falls_to_the_next(tmp_path: Path) -> None:
    inbox = make_disk_inbox(tmp_path)
    reserve_and_die(tmp_path, post=False)
    held = inbox.client.get_reservation("a")
    assert held is not None
    assert not held.is_alive
    inbox.client.reserve("a", "m-2")
    held = inbox.client.get_reservation("a")
    assert held is not None
    assert held.message == "m-2"


def test_an_id_with_a_pending_start_stays_reserved_after_its_poster_ended(tmp_path: Path) -> None:
    inbox = make_disk_inbox(tmp_path)
    reserve_and_die(tmp_path, post=True)
    with pytest.raises(Conflict, match="waits for a daemon"):
        inbox.client.reserve("a", "m-2")
    inbox.consumer.remove_leftovers()
    assert inbox.client.get_reservation("a") is not None
    InboxConsumer(LocalDisk(), str(tmp_path)).remove(["m-1"])
    assert inbox.client.get_reservation("a") is None


def test_a_start_that_waits_gives_its_id_to_one_that_may_replace_it_and_gets_it_back() -> None:
    inbox = make_inbox()
    inbox.client.reserve("a", "m-1")
    reserved = MessageItem("a", name="f", reserved=True)
    inbox.client.post("start", [reserved], "m-1")
    before = inbox.client.reserve("a", "m-2", allow_pending=True)
    inbox.client.cancel_reservation("a", "m-2", before)
    assert [each.message for each in inbox.list_reservations()] == ["m-1"]
    before = inbox.client.reserve("a", "m-3", allow_pending=True)
    inbox.consumer.take_next()
    inbox.consumer.remove(["m-1"])
    inbox.client.cancel_reservation("a", "m-3", before)
    assert inbox.list_reservations() == []


def test_a_start_is_posted_only_while_the_reservation_names_it() -> None:
    inbox = make_inbox()
    inbox.client.reserve("a", "m-1")
    inbox.client.cancel_reservation("a", "m-1", None)
    with pytest.raises(Conflict, match="at the same time"):
        inbox.client.post("start", [MessageItem("a", name="f", reserved=True)], "m-1")
    assert inbox.consumer.take_next() == []


def test_an_id_is_free_when_its_start_has_been_taken_out_of_the_inbox() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    inbox.client.reserve("a", "m-1")
    inbox.client.post("start", [MessageItem("a", name="f", reserved=True)], "m-1")
    (name,) = [name for name in disk.listdir("hub/inbox/new") if name.endswith(".json")]
    disk.unlink(f"hub/inbox/new/{name}")
    inbox.client.reserve("a", "m-2")
    assert [each.message for each in inbox.list_reservations()] == ["m-2"]


def test_a_final_reservation_is_released_only_by_the_next_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = make_inbox()
    inbox.client.reserve("a", "m-1")
    inbox.client.make_final("a", "m-1")
    monkeypatch.setattr(reservations, "pid_namespace", lambda: "another one")
    monkeypatch.setattr(reservations, "is_process_alive", lambda pid, started: False)
    with pytest.raises(Conflict, match="'a' is being started"):
        inbox.client.reserve("a", "m-2", allow_pending=True)
    with pytest.raises(Conflict, match="being restarted"):
        inbox.client.post("rewind", [MessageItem("a")])
    inbox.consumer.remove_leftovers()
    inbox.consumer.reserve_id("a")
    held = inbox.client.get_reservation("a")
    assert held is not None
    assert held.final


def test_a_pending_start_reserves_its_id_when_a_power_cut_lost_the_reservation() -> None:
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    inbox.client.reserve("a", "m-1")
    inbox.client.post("start", start_items("a"), "m-1")
    disk.unlink("hub/inbox/ids/a")
    with pytest.raises(Conflict, match="waits for a daemon"):
        Inbox(disk, "hub").reserve("a", "m-2")
    Inbox(disk, "hub").reserve("b", "m-3")


# ── the bell ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_wakeup_pipe_wakes_its_listener(tmp_path: Path) -> None:
    create_folders(LocalDisk(), str(tmp_path))
    inbox = InboxHarness(LocalDisk(), str(tmp_path))
    woken = threading.Event()
    bell = WakeupPipe(str(tmp_path))
    assert bell.listen(woken.set)
    try:
        for _ in range(3):
            inbox.client.post("raise-event", event_items("a"))
            assert woken.wait(10)
            woken.clear()
        pipe = Path(bell_path(str(tmp_path)))
        assert pipe.stat().st_mode & 0o777 == 0o600
        assert pipe.parent.stat().st_mode & 0o777 == 0o700
        shutil.copytree(tmp_path, tmp_path.with_name("copy"))  # which refuses a pipe
    finally:
        bell.close()
    assert not pipe.exists()


def test_notifying_never_blocks_without_a_listener(tmp_path: Path) -> None:
    make_disk_inbox(tmp_path)
    notify(str(tmp_path))
    WakeupPipe(str(tmp_path)).close()
    bell = WakeupPipe(str(tmp_path))
    hold = threading.Event()
    assert bell.listen(lambda: (hold.wait(10), None)[1])
    try:
        for _ in range(100_000):  # more than the pipe holds, and nobody reads it
            notify(str(tmp_path))
    finally:
        hold.set()
        bell.close()
    notify(str(tmp_path))


def test_a_file_in_place_of_the_wakeup_pipe_is_neither_written_nor_kept(tmp_path: Path) -> None:
    make_disk_inbox(tmp_path)
    WakeupPipe(str(tmp_path)).listen(lambda: None)
    place = Path(bell_path(str(tmp_path)))
    place.unlink()
    place.write_bytes(b"")
    notify(str(tmp_path))
    assert place.read_bytes() == b""
    bell = WakeupPipe(str(tmp_path))
    assert bell.listen(lambda: None)
    assert place.is_fifo()
    bell.close()


def test_no_wakeup_pipe_in_a_folder_of_another_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_disk_inbox(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    folder = Path(bell_path(str(tmp_path))).parent
    folder.mkdir()
    folder.chmod(0o777)
    assert not WakeupPipe(str(tmp_path)).listen(lambda: None)
    folder.rmdir()
    folder.symlink_to(tmp_path / "inbox")
    assert not WakeupPipe(str(tmp_path)).listen(lambda: None)
    notify(str(tmp_path))


def test_a_pipe_of_an_earlier_version_is_taken_away(tmp_path: Path) -> None:
    root = str(tmp_path / "state")
    close_hub(open_hub(root))
    os.mkfifo(f"{root}/inbox/bell")
    close_hub(open_hub(root))
    assert not os.path.lexists(f"{root}/inbox/bell")
    shutil.copytree(root, tmp_path / "copy")


def test_the_post_counter_restarts_with_each_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_consumer, "_SLOW_LISTING_SECONDS", 60.0)
    inbox = make_inbox()
    for _ in range(3):
        inbox.client.post("raise-event", event_items("a"))
    assert inbox.consumer.refresh_listing()
    inbox.consumer.take_next()
    following = InboxHarness(inbox.disk, "hub")
    following.consumer.remove_leftovers()
    assert "posted" not in inbox.disk.listdir("hub/inbox")
    assert following.consumer.refresh_listing()
    assert len(following.consumer.take_next()) == 3
    inbox.client.post("raise-event", event_items("b"))
    assert following.consumer.refresh_listing()
    assert following.consumer.has_unread("b")


# ── the lock ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_waiting_for_the_lock_names_the_holder_and_times_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_disk_inbox(tmp_path)
    monkeypatch.setattr(disk_module, "_LOCK_WARN_AFTER", 0.05)
    monkeypatch.setattr(disk_module, "_LOCK_TIMEOUT", 0.2)
    code = (
        "import os, signal, sys; from durablecli.store.disk import LocalDisk\n"
        f"with LocalDisk().lock({str(tmp_path / 'inbox/lock')!r}):\n"
        "    print('held', flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        os.waitpid(holder.pid, os.WUNTRACED)
        inbox = InboxHarness(LocalDisk(), str(tmp_path))
        with pytest.raises(HubLocked, match=rf"inbox/lock.*pid {holder.pid}, which is stopped"):
            inbox.client.post("raise-event", event_items("a"))
        assert f"pid {holder.pid}" in capsys.readouterr().err
        holder.send_signal(signal.SIGCONT)
        holder.wait(30)
    inbox.client.post("raise-event", event_items("a"))


def test_without_a_folder_for_the_pipe_there_is_no_wakeup(tmp_path: Path) -> None:
    bell = WakeupPipe(str(tmp_path / "missing"))
    assert not bell.listen(lambda: None)
    bell.close()


def test_a_listing_that_the_disk_held_up_is_soon_followed_by_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(inbox_consumer, "monotonic", lambda: now[0])
    disk = MemoryDisk()
    inbox = make_inbox(disk)
    listdir = disk.listdir

    def slow(path: str) -> list[str]:
        now[0] += 30.0
        return listdir(path)

    monkeypatch.setattr(disk, "listdir", slow)
    assert inbox.consumer.refresh_listing(force=True)
    monkeypatch.setattr(disk, "listdir", listdir)
    inbox.client.post("start", [MessageItem("a", "hello")])
    now[0] += 1.0
    assert inbox.consumer.refresh_listing()
    assert [each.items[0].instance for each in inbox.consumer.take_next()] == ["a"]
