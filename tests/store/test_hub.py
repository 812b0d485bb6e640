"""The hub: who may open it, what opening brings up, what a checkpoint lets go, and what an error of the disk stops."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from durablecli.errors import DamagedHub, HubLocked, NewerHub, NoPermission, NotFound, StorageError
from durablecli.model.codec import crc_seed, encode_record
from durablecli.model.events import EntityStarted, EventAwaited, ExecutionStarted, Record
from durablecli.store.history.file import history_path, read_history
from durablecli.store.hub import (
    Hub,
    begin_checkpoint,
    checkpoint,
    close_hub,
    finish_checkpoint,
    is_still_owner,
    open_hub,
)
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.index import Index
from durablecli.store.journal.commits import Commit, ConsumedMessage, HistoryWrite, PurgedExecution
from durablecli.store.journal.reader import read_tail
from durablecli.store.memory_disk import MemoryDisk
from durablecli.store.query import Query
from tests.support.counting_disk import count_syncs
from tests.support.faulty_disk import FaultyDisk, fail_from

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def make_write(instance: str, execution: str, first: int, last: int, more: bool = False) -> HistoryWrite:
    start = crc_seed(instance, execution)
    begin = ExecutionStarted(instance, execution, "f")
    lines = [
        encode_record(Record(n, AT, begin if n == 1 else EventAwaited("e")), start) for n in range(first, last + 1)
    ]
    return HistoryWrite(instance, execution, first, lines, more)


def entity_lines(id: str, execution: str) -> list[bytes]:
    return [encode_record(Record(1, AT, EntityStarted(id, execution)), crc_seed(id, execution))]


def make_commit(
    hub: Hub, *writes: HistoryWrite, taken: tuple[str, ...] = (), purged: tuple[PurgedExecution, ...] = ()
) -> Commit:
    c = hub.journal.last_commit + 1
    return Commit(c, hub.epoch, AT, list(writes), [ConsumedMessage(each) for each in taken], list(purged))


def apply_commit(
    hub: Hub, *writes: HistoryWrite, taken: tuple[str, ...] = (), purged: tuple[PurgedExecution, ...] = ()
) -> None:
    made = make_commit(hub, *writes, taken=taken, purged=purged)
    hub.journal.append([made])
    hub.history_writer.remove_purged(made.purged)
    hub.history_writer.publish(made.writes)


def abandon(hub: Hub) -> None:
    """End as a killed process does, which lets go of its lock and does nothing else."""
    hub.journal.close()
    hub.index.close()
    if hub.lock is not None:
        hub.lock.release()


def list_rows(hub: Hub) -> dict[str, tuple[str, int]]:
    return {row.id: (row.execution, row.records) for row in hub.index.page(Query(limit=100)).rows}


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "state")


def test_the_first_opening_makes_the_hub_and_each_opening_bumps_the_epoch(root: str) -> None:
    for epoch in (1, 2, 3):
        hub = open_hub(root)
        assert hub.epoch == epoch
        content = msgspec.json.decode(Path(root, "hub.json").read_bytes())
        assert (content["epoch"], content["engine"]["pid"], content["clean"]) == (epoch, os.getpid(), False)
        close_hub(hub)
        content = msgspec.json.decode(Path(root, "hub.json").read_bytes())
        assert (content["engine"], content["clean"]) == (None, True)
    modes = {(each.is_dir(), each.stat().st_mode & 0o777) for each in Path(root).rglob("*")}
    assert modes == {(True, 0o700), (False, 0o600)}


def test_a_second_engine_is_refused_with_the_lock_holder(root: str) -> None:
    hub = open_hub(root)
    with pytest.raises(HubLocked, match=f"pid {os.getpid()}"):
        open_hub(root, timeout=0.01)
    close_hub(hub)
    close_hub(open_hub(root))


def test_after_a_kill_histories_messages_and_index_are_brought_up(root: str) -> None:
    hub = open_hub(root)
    message = Inbox(hub.disk, hub.root).post("raise-event", [MessageItem("a", name="E", input=Raw(b"1"))]).message
    apply_commit(hub, make_write("a", "1", 1, 2), make_write("b", "1", 1, 1))
    checkpoint(hub)
    hub.journal.append([make_commit(hub, make_write("a", "1", 3, 4), make_write("c", "2", 1, 1), taken=(message,))])
    hub.journal.append([make_commit(hub, make_write("d", "3", 1, 1, more=True), purged=(PurgedExecution("b", "1"),))])
    abandon(hub)

    hub = open_hub(root)
    assert hub.last_commit == 3
    assert hub.incomplete_turns == {"d"}
    assert list_rows(hub) == {"a": ("1", 4), "c": ("2", 1), "d": ("3", 1)}
    assert hub.inbox.take_next() == []
    assert read_history(hub.disk, root, "b") is None
    close_hub(hub)
    hub = open_hub(root)
    assert hub.incomplete_turns == {"d"}
    apply_commit(hub, make_write("d", "3", 2, 2))
    hub.incomplete_turns.discard("d")  # as an engine does that has brought the turn to its end
    close_hub(hub)
    hub = open_hub(root)
    assert hub.incomplete_turns == set()
    assert list_rows(hub)["d"] == ("3", 2)
    close_hub(hub)


def test_a_missing_or_damaged_or_stale_index_is_rebuilt(root: str) -> None:
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 1, 2), make_write("b", "1", 1, 1))
    close_hub(hub)
    index = Path(root, "index.sqlite")
    stale = index.read_bytes()
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 3, 3))
    close_hub(hub)
    for spoil in (index.unlink, lambda: index.write_bytes(b"rubbish" * 999), lambda: index.write_bytes(stale)):
        spoil()
        hub = open_hub(root)
        assert list_rows(hub) == {"a": ("1", 3), "b": ("1", 1)}
        assert hub.index.last_commit == hub.last_commit == 2
        close_hub(hub)


def test_rebuilding_reports_progress_and_skips_files_damaged_from_the_start(root: str) -> None:
    hub = open_hub(root)
    for c in range(3):
        apply_commit(hub, *(make_write(f"{c}-{each}", f"{c + 1:x}", 1, 1) for each in range(400)))
    hub.index.update([], [], 3)
    close_hub(hub)
    Path(history_path(root, "1-7")).write_bytes(b"rubbish\n")
    Path(root, "index.sqlite").unlink()
    told: list[int] = []
    hub = open_hub(root, progress=told.append)
    assert told == [1000]
    assert hub.index.count(Query()) == 1199
    close_hub(hub)


def test_a_checkpoint_keeps_what_is_above_its_floor_and_what_the_index_lacks(root: str) -> None:
    hub = open_hub(root)
    for c in range(1, 6):
        apply_commit(hub, make_write("a", "1", c, c))
    hub.index.update([], [], 5)
    checkpoint(hub, oldest_needed_commit=4)
    assert [each.c for each in read_tail(hub.disk, f"{root}/journal").commits] == [4, 5]
    apply_commit(hub, make_write("a", "1", 6, 6))
    checkpoint(hub)
    assert [each.c for each in read_tail(hub.disk, f"{root}/journal").commits] == [6]
    hub.index.update([], [], 6)
    checkpoint(hub)
    assert read_tail(hub.disk, f"{root}/journal").commits == []
    close_hub(hub)


def test_commits_go_on_while_a_checkpoint_is_being_finished(root: str) -> None:
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 1, 1))
    hub.index.update([], [], 1)
    pending = begin_checkpoint(hub)
    apply_commit(hub, make_write("a", "1", 2, 2))
    finish_checkpoint(hub, pending)
    abandon(hub)
    hub = open_hub(root)
    assert hub.last_commit == 2
    assert list_rows(hub) == {"a": ("1", 2)}
    close_hub(hub)


def test_above_64_files_one_sync_of_the_file_system_does() -> None:
    disk = FaultyDisk()
    hub = open_hub("hub", disk, lock=False, index=Index())
    seen: list[str] = []
    disk.step = lambda operation, path: seen.append(operation)
    apply_commit(hub, *(make_write(f"i{each}", "1", 1, 1) for each in range(65)))
    pending = begin_checkpoint(hub)
    seen.clear()
    finish_checkpoint(hub, pending)
    assert seen[0] == "sync_all"
    assert len(seen) < 10


def test_an_engine_notices_that_the_hub_is_no_longer_its_own(root: str) -> None:
    hub = open_hub(root)
    assert is_still_owner(hub)
    Path(root, "engine.lock").rename(Path(root, "engine.lock.away"))
    Path(root, "engine.lock").touch(0o600)
    assert not is_still_owner(hub)
    second = open_hub(root)
    assert not is_still_owner(hub)
    assert is_still_owner(second)
    abandon(hub)
    close_hub(second)


def test_a_torn_tail_of_the_journal_is_kept_separately(root: str) -> None:
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 1, 1))
    abandon(hub)
    segment = max(Path(root, "journal").glob("*.jsonl"))
    with segment.open("ab") as file:
        file.write(b'{"c":2,"epoch":1,')
    hub = open_hub(root)
    assert hub.last_commit == 1
    (torn,) = Path(root, "journal").glob("*.torn")
    assert torn.read_bytes() == b'{"c":2,"epoch":1,'
    close_hub(hub)


# ── refusals ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_later_hub_is_refused_and_left_as_it_is(root: str) -> None:
    close_hub(open_hub(root))
    file = Path(root, "hub.json")
    file.write_bytes(file.read_bytes().replace(b'"format":2', b'"format":4'))
    before = file.read_bytes()
    with pytest.raises(NewerHub, match="format 4"):
        open_hub(root)
    assert file.read_bytes() == before
    file.write_bytes(b"{")
    with pytest.raises(DamagedHub, match=r"hub\.json"):
        open_hub(root)


def test_damage_in_a_history_that_the_journal_continues_quarantines_the_instance(root: str) -> None:
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 1, 3))
    hub.index.update([], [], 1)
    checkpoint(hub)
    apply_commit(hub, make_write("a", "1", 4, 4))
    abandon(hub)
    file = Path(history_path(root, "a"))
    file.write_bytes(file.read_bytes().replace(b'"n":2', b'"n":9'))
    for _ in range(2):
        hub = open_hub(root)
        assert list(hub.quarantine) == ["a"]
        assert make_write("a", "1", 4, 4).lines[0] in file.read_bytes()  # for a repair to find
        close_hub(hub)


def test_a_folder_that_others_can_write_to_is_refused(root: str) -> None:
    close_hub(open_hub(root))
    for name in ("", "journal", "instances", "entities", "inbox/new"):
        place = Path(root, name)
        place.chmod(0o722)
        with pytest.raises(NoPermission, match=r"mode 0722.*chmod go-w"):
            open_hub(root)
        place.chmod(0o700)
    close_hub(open_hub(root))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_another_user_is_refused(root: str) -> None:
    close_hub(open_hub(root))
    for name in ("", "instances", "hub.json"):
        os.chown(Path(root, name), 12345, -1)
        with pytest.raises(NoPermission, match="belongs to user 12345"):
            open_hub(root)
        os.chown(Path(root, name), os.geteuid(), -1)


def test_symlinks_below_the_hub_are_refused_and_the_hub_itself_may_be_one(root: str, tmp_path: Path) -> None:
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 1, 1))
    close_hub(hub)
    shard = Path(history_path(root, "a")).parent
    for place in (Path(root, "journal"), Path(root, "inbox/new"), Path(root, "hub.json"), shard):
        elsewhere = tmp_path / "elsewhere"
        place.rename(elsewhere)
        place.symlink_to(elsewhere)
        with pytest.raises(NoPermission, match="is a link"):
            open_hub(root)
        place.unlink()
        elsewhere.rename(place)
    (tmp_path / "alias").symlink_to(root)
    close_hub(open_hub(str(tmp_path / "alias")))


def test_a_hub_of_an_earlier_version_gets_the_folders_that_it_lacks(root: str) -> None:
    hub = open_hub(root)
    apply_commit(hub, make_write("a", "1", 1, 1))
    close_hub(hub)
    Path(root, "entities").rmdir()
    hub = open_hub(root)
    assert Path(root, "entities").stat().st_mode & 0o777 == 0o700
    apply_commit(hub, make_write("a", "1", 2, 2), HistoryWrite("@e@k", "2", 1, entity_lines("@e@k", "2")))
    abandon(hub)
    Path(history_path(root, "@e@k")).unlink()
    close_hub(open_hub(root))
    found = read_history(hub.disk, root, "@e@k")
    assert found is not None
    assert found.lines == entity_lines("@e@k", "2")


def test_a_hub_in_a_folder_that_doesnt_exist_isnt_made(root: str) -> None:
    with pytest.raises(NotFound, match="doesn't exist"):
        open_hub(f"{root}/deeper")


# ── errors of the disk ─────────────────────────────────────────────────────────────────────────────────────────────

CHANGES = {"write", "create", "rename", "unlink", "truncate", "make_folder", "sync", "sync_folder", "sync_all"}


def run_engine_once(disk: FaultyDisk, acknowledged: list[int]) -> None:
    hub = open_hub("hub", disk, lock=False, index=Index())
    for c in range(hub.journal.last_commit + 1, hub.journal.last_commit + 4):
        first = c if c % 3 else 1
        made = make_commit(
            hub, make_write("a", f"{c - first + 1:x}", first, c), purged=(PurgedExecution("b", "1"),) if c == 2 else ()
        )
        hub.journal.append([made])
        acknowledged.append(c)
        hub.history_writer.remove_purged(made.purged)
        hub.history_writer.publish(made.writes)
    checkpoint(hub)
    close_hub(hub)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("sticky", [True, False])
def test_an_error_at_any_operation_comes_out_as_one_and_loses_nothing_acknowledged(code: int, sticky: bool) -> None:
    number = 0
    while True:
        number += 1
        disk = FaultyDisk()
        acknowledged: list[int] = []
        disk.step = fail_from(number, CHANGES, code) if sticky else fail_once(number, code)
        try:
            run_engine_once(disk, acknowledged)
        except (StorageError, NoPermission):
            pass
        else:
            break
        disk.step = lambda operation, path: None
        hub = open_hub("hub", disk, lock=False, index=Index())
        assert hub.last_commit >= max(acknowledged, default=0)
    assert number > 50


def fail_once(number: int, code: int) -> Callable[[str, str], None]:
    left = number

    def step(operation: str, path: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise OSError(code, os.strerror(code), path)

    return step


def test_nothing_is_acknowledged_after_the_first_error_of_the_journal() -> None:
    for operation in ("write", "sync"):
        disk = FaultyDisk()
        hub = open_hub("hub", disk, lock=False, index=Index())
        disk.step = fail_once(1 if operation == "write" else 2, errno.EIO)
        with pytest.raises(StorageError, match="nothing more is accepted"):
            hub.journal.append([make_commit(hub, make_write("a", "1", 1, 1))])
        with pytest.raises(StorageError):
            begin_checkpoint(hub)
        with pytest.raises(StorageError):
            close_hub(hub)


def test_a_hub_in_memory_behaves_like_one_on_disk() -> None:
    disk = MemoryDisk()
    hub = open_hub("hub", disk, lock=False, index=Index())
    apply_commit(hub, make_write("a", "1", 1, 2))
    close_hub(hub)
    hub = open_hub("hub", disk, lock=False, index=Index())
    assert list_rows(hub) == {"a": ("1", 2)}
    assert is_still_owner(hub)
    close_hub(hub)


# ── what opening and closing cost ──────────────────────────────────────────────────────────────────────────────────


def open_and_close(root: Path, *, commits: int) -> None:
    hub = open_hub(str(root))
    for n in range(1, commits + 1):
        hub.journal.append([make_commit(hub, make_write(f"i{hub.epoch}", f"{hub.epoch:x}", n, n))])
    hub.index.update([], [], hub.journal.last_durable)
    close_hub(hub)


def test_opening_and_closing_an_idle_hub_syncs_little_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_and_close(tmp_path / "hub", commits=2)
    before = sorted(os.listdir(tmp_path / "hub" / "journal"))
    index = (tmp_path / "hub" / "index.sqlite").read_bytes()
    synced = count_syncs(monkeypatch)
    for _ in range(5):
        synced.clear()
        open_and_close(tmp_path / "hub", commits=0)
        assert len(synced) <= 6  # twice hub.json and its folder, and the segment that is used again
    assert sorted(os.listdir(tmp_path / "hub" / "journal")) == before
    assert (tmp_path / "hub" / "index.sqlite").read_bytes() == index
    open_and_close(tmp_path / "hub", commits=3)
    hub = open_hub(str(tmp_path / "hub"))
    assert hub.last_commit == 5
    close_hub(hub)


def test_a_segment_is_used_again_only_after_a_clean_stop(tmp_path: Path) -> None:
    open_and_close(tmp_path / "hub", commits=1)
    for clean in (False, True, True):
        hub = open_hub(str(tmp_path / "hub"))
        segment = hub.journal.segment
        close_hub(hub, clean=clean)
        hub = open_hub(str(tmp_path / "hub"))
        assert (hub.journal.segment > segment) == (not clean)
        close_hub(hub)
