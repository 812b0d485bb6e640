"""The histories: written behind the journal, completed from it, read while both grow."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from durablecli.errors import DamagedHub, StorageError
from durablecli.model.codec import crc_seed, encode_record
from durablecli.model.events import (
    AnyEvent,
    EntityOperationReceived,
    EntitySnapshot,
    EntityStarted,
    EventAwaited,
    ExecutionStarted,
    Record,
)
from durablecli.store.history.file import History, history_files, history_path, read_history
from durablecli.store.history.merge import JournalPart, merge_with_journal, parts_by_instance, read_live_history
from durablecli.store.history.writer import HistoryWriter, complete_files
from durablecli.store.journal.commits import Commit, HistoryWrite, PurgedExecution
from durablecli.store.memory_disk import MemoryDisk
from tests.support.faulty_disk import FaultyDisk, fail_from

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def record_lines(instance: str, execution: str, first: int, last: int) -> list[bytes]:
    start = crc_seed(instance, execution)
    begin = ExecutionStarted(instance, execution, "f")
    return [
        encode_record(Record(n, AT, begin if n == 1 else EventAwaited(f"e{n}")), start) for n in range(first, last + 1)
    ]


def make_write(instance: str, execution: str, first: int, last: int, more: bool = False) -> HistoryWrite:
    return HistoryWrite(instance, execution, first, record_lines(instance, execution, first, last), more)


def make_commit(c: int, *writes: HistoryWrite, purged: list[PurgedExecution] | None = None) -> Commit:
    return Commit(c, 1, AT, list(writes), [], purged or [])


def make_root(disk: MemoryDisk | None = None) -> tuple[MemoryDisk, HistoryWriter]:
    disk = disk or MemoryDisk()
    disk.make_folder("hub")
    disk.make_folder("hub/instances")
    disk.make_folder("hub/entities")
    return disk, HistoryWriter(disk, "hub")


ENTITY = "@counter@a"


def entity_lines(first: int, last: int, execution: str = "1", *, fresh: bool = False) -> list[bytes]:
    """Records of an entity; those of a fresh file begin with a snapshot."""
    start = crc_seed(ENTITY, execution)

    def event(n: int) -> AnyEvent:
        if n == 1:
            return EntityStarted(ENTITY, execution)
        if fresh and n == first:
            return EntitySnapshot(ENTITY, execution, n - 1, AT, AT)
        return EntityOperationReceived(f"op{n}")

    return [encode_record(Record(n, AT, event(n)), start) for n in range(first, last + 1)]


def entity_write(first: int, last: int, execution: str = "1", *, fresh: bool = False) -> HistoryWrite:
    return HistoryWrite(
        ENTITY, execution, first, entity_lines(first, last, execution, fresh=fresh), rewrites_file=fresh
    )


def read_summary(disk: MemoryDisk, instance: str) -> tuple[str, int] | None:
    found = read_history(disk, "hub", instance)
    return found and (found.execution, len(found.lines))


def test_lines_are_appended_and_a_new_execution_takes_the_place_of_the_old() -> None:
    disk, histories = make_root()
    histories.publish([make_write("a", "1", 1, 2), make_write("b", "1", 1, 1), make_write("a", "1", 3, 3)])
    assert read_summary(disk, "a") == ("1", 3)
    assert disk.read(history_path("hub", "a")) == b"".join(each + b"\n" for each in record_lines("a", "1", 1, 3))
    histories.publish([make_write("a", "2", 1, 1)])
    assert read_summary(disk, "a") == ("2", 1)
    histories.remove_purged([PurgedExecution("b", "1"), PurgedExecution("b", "1")])
    assert read_summary(disk, "b") is None
    assert list(history_files(disk, "hub")) == [history_path("hub", "a")]


def test_changed_files_are_reported_once() -> None:
    _, histories = make_root()
    histories.publish([make_write("a", "1", 1, 1)])
    touched = histories.take_unsynced()
    assert touched.files == {history_path("hub", "a")}
    assert touched.folders == {"hub/instances", history_path("hub", "a").rpartition("/")[0]}
    assert histories.take_unsynced().files == set()


def test_a_history_is_good_up_to_its_first_bad_line() -> None:
    disk, histories = make_root()
    histories.publish([make_write("a", "1", 1, 4)])
    whole = disk.read(history_path("hub", "a"))
    lines = record_lines("a", "1", 1, 4)
    ends = [sum(len(each) + 1 for each in lines[:n]) for n in range(5)]
    data = disk.files[history_path("hub", "a")].data
    for at in range(len(whole)):
        data[at] ^= 1
        found = read_history(disk, "hub", "a")
        assert found is not None
        good = max(n for n in range(5) if ends[n] <= at)
        assert (len(found.lines), found.good_bytes, found.is_whole) == (good, ends[good], False)
        data[at] ^= 1
    for cut in range(len(whole)):
        data[:] = whole[:cut]
        found = read_history(disk, "hub", "a")
        assert found is not None
        assert (len(found.lines), found.is_whole) == (max(n for n in range(5) if ends[n] <= cut), cut in ends[1:])


def test_lines_of_another_instance_another_execution_or_out_of_order_are_bad() -> None:
    disk, histories = make_root()
    for strange in (record_lines("b", "1", 3, 3), record_lines("a", "2", 3, 3), record_lines("a", "1", 4, 4)):
        histories.publish([make_write("a", "1", 1, 2)])
        histories.publish([HistoryWrite("a", "1", 3, strange)])
        assert read_summary(disk, "a") == ("1", 2)
    histories.publish([make_write("b", "1", 1, 2)])
    disk.rename(history_path("hub", "b"), history_path("hub", "a"))
    assert read_summary(disk, "a") == ("", 0)


def test_completing_brings_every_cut_file_to_what_the_commits_say() -> None:
    disk, histories = make_root()
    histories.publish([make_write("a", "1", 1, 2)])
    commits = [
        make_commit(1, make_write("a", "1", 3, 4)),
        make_commit(2, make_write("a", "1", 5, 5), make_write("b", "2", 1, 2)),
    ]
    kept = len(disk.read(history_path("hub", "a")))
    for each in commits:
        histories.publish(each.writes)
    whole = disk.read(history_path("hub", "a"))
    for cut in range(kept, len(whole) + 1):
        disk.files[history_path("hub", "a")].data[:] = whole[:cut] + b"\0" * 7
        complete_files(histories, commits)
        complete_files(histories, commits)
        assert disk.read(history_path("hub", "a")) == whole
        assert read_summary(disk, "b") == ("2", 2)


def test_damage_where_the_commits_dont_reach_is_named_with_its_place() -> None:
    disk, histories = make_root()
    histories.publish([make_write("a", "1", 1, 3)])
    first = len(record_lines("a", "1", 1, 1)[0]) + 1
    disk.files[history_path("hub", "a")].data[first + 5] ^= 1
    complete_files(histories, [make_commit(1, make_write("b", "1", 1, 1))])
    before = disk.read(history_path("hub", "a"))
    said = complete_files(histories, [make_commit(2, make_write("a", "1", 4, 4))]).damaged["a"]
    assert re.search(rf"a.jsonl: byte {first}: record n 2 .*begins at n 4", said)
    kept = before + b"".join(line + b"\n" for line in make_write("a", "1", 4, 4).lines)
    assert disk.read(history_path("hub", "a")) == kept
    complete_files(histories, [make_commit(2, make_write("a", "1", 4, 4))])
    assert disk.read(history_path("hub", "a")) == kept
    disk.unlink(history_path("hub", "a"))
    assert "is missing" in complete_files(histories, [make_commit(2, make_write("a", "1", 4, 4))]).damaged["a"]


def test_only_what_follows_the_last_beginning_or_purge_counts() -> None:
    disk, histories = make_root()
    gone = [make_commit(1, make_write("a", "1", 5, 5)), make_commit(2, purged=[PurgedExecution("a", "1")])]
    complete_files(histories, gone)
    assert read_summary(disk, "a") is None
    complete_files(
        histories, [*gone, make_commit(3, make_write("a", "3", 1, 1)), make_commit(4, make_write("a", "3", 2, 2))]
    )
    assert read_summary(disk, "a") == ("3", 2)
    again = make_commit(5, make_write("a", "5", 1, 1), purged=[PurgedExecution("a", "3")])
    complete_files(histories, [make_commit(4, make_write("a", "3", 2, 2)), again])
    assert read_summary(disk, "a") == ("5", 1)


def test_commits_that_contradict_each_other_are_damage() -> None:
    with pytest.raises(DamagedHub, match="commit 2 writes n 4"):
        parts_by_instance([make_commit(1, make_write("a", "1", 1, 2)), make_commit(2, make_write("a", "1", 4, 4))])


def test_reading_joins_the_file_and_the_commits_beyond_it() -> None:
    disk, histories = make_root()
    commits = [make_commit(1, make_write("a", "1", 3, 3)), make_commit(2, make_write("a", "1", 4, 5))]

    def lines() -> int:
        found = read_live_history(disk, "hub", commits, "a")
        return len(found.lines) if found else 0

    histories.publish([make_write("a", "1", 1, 2)])
    assert lines() == 5
    histories.publish([make_write("a", "1", 3, 4)])
    assert lines() == 5
    histories.publish([make_write("a", "1", 5, 7)])
    assert lines() == 7  # the engine went on after the journal was read
    histories.publish([make_write("a", "ff", 1, 1)])
    assert lines() == 1
    histories.remove_purged([PurgedExecution("a", "ff")])
    assert lines() == 0
    assert read_live_history(disk, "hub", [make_commit(9, make_write("a", "9", 1, 3))], "a") is not None
    histories.publish([make_write("a", "1", 1, 2)])
    assert read_live_history(disk, "hub", [make_commit(9, purged=[PurgedExecution("a", "1")])], "a") is None


def test_a_refused_write_names_the_file() -> None:
    disk = FaultyDisk()
    _, histories = make_root(disk)
    histories.publish([make_write("a", "1", 1, 2)])
    disk.step = fail_from(1, {"write", "sync", "unlink", "sync_all"})
    with pytest.raises(StorageError, match=r"a\.jsonl: Input/output error"):
        histories.publish([make_write("a", "1", 3, 3)])
    with pytest.raises(StorageError, match="Input/output error"):
        histories.sync(histories.take_unsynced())
    with pytest.raises(StorageError, match="Input/output error"):
        histories.remove_purged([PurgedExecution("a", "1")])


# ── logs of entities ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_fresh_file_of_an_entity_takes_the_place_of_the_old_and_numbers_go_on() -> None:
    disk, histories = make_root()
    histories.publish([entity_write(1, 5), entity_write(6, 7), entity_write(8, 9, fresh=True), entity_write(10, 11)])
    found = read_history(disk, "hub", ENTITY)
    assert found is not None
    assert (found.first, found.last, found.is_whole) == (8, 11, True)
    assert found.lines == [*entity_lines(8, 9, fresh=True), *entity_lines(10, 11)]
    place = history_path("hub", ENTITY)
    assert place.startswith("hub/entities/")
    assert place.endswith("/counter@a.jsonl")
    assert list(history_files(disk, "hub")) == [place]
    assert histories.take_unsynced().folders == {"hub/entities", place.rpartition("/")[0]}


def test_a_file_begins_in_the_middle_only_with_a_snapshot_and_only_an_entitys() -> None:
    disk, histories = make_root()
    histories.publish([entity_write(1, 2)])
    disk.files[history_path("hub", ENTITY)].data[:] = b"\n".join((*entity_lines(2, 3), b""))
    assert read_summary(disk, ENTITY) == ("", 0)
    histories.publish([make_write("a", "1", 1, 1)])
    late = encode_record(Record(2, AT, ExecutionStarted("a", "1", "f")), crc_seed("a", "1"))
    disk.files[history_path("hub", "a")].data[:] = late + b"\n"
    assert read_summary(disk, "a") == ("", 0)


def test_completing_brings_every_cut_file_to_a_fresh_one_whatever_it_was() -> None:
    disk, histories = make_root()
    histories.publish([entity_write(1, 4)])
    old = disk.read(history_path("hub", ENTITY))
    commits = [
        make_commit(2, entity_write(5, 6), entity_write(7, 8, fresh=True)),
        make_commit(3, entity_write(9, 9), entity_write(10, 10, fresh=True), entity_write(11, 12)),
    ]
    for each in commits:
        histories.publish(each.writes)
    whole = disk.read(history_path("hub", ENTITY))
    for state in [
        old,
        *(old[:cut] + b"\0" * 7 for cut in range(len(old))),
        *(whole[:cut] for cut in range(len(whole))),
    ]:
        disk.files[history_path("hub", ENTITY)].data[:] = state
        complete_files(histories, commits)
        complete_files(histories, commits)
        assert disk.read(history_path("hub", ENTITY)) == whole
    disk.unlink(history_path("hub", ENTITY))
    complete_files(histories, commits)
    assert disk.read(history_path("hub", ENTITY)) == whole


def test_completing_continues_a_file_that_begins_in_the_middle() -> None:
    disk, histories = make_root()
    histories.publish([entity_write(1, 4), entity_write(5, 6, fresh=True)])
    kept = len(disk.read(history_path("hub", ENTITY)))
    commits = [make_commit(2, entity_write(7, 7)), make_commit(3, entity_write(8, 9))]
    for each in commits:
        histories.publish(each.writes)
    whole = disk.read(history_path("hub", ENTITY))
    for cut in range(kept, len(whole) + 1):
        disk.files[history_path("hub", ENTITY)].data[:] = whole[:cut] + b"\0" * 7
        complete_files(histories, commits)
        assert disk.read(history_path("hub", ENTITY)) == whole
    disk.files[history_path("hub", ENTITY)].data[kept - 5] ^= 1
    said = complete_files(histories, commits).damaged[ENTITY]
    assert re.search(r"counter@a\.jsonl: byte \d+: record n 6 .*begins at n 7", said)


def test_a_fresh_file_that_doesnt_follow_what_came_before_is_damage() -> None:
    with pytest.raises(DamagedHub, match="commit 2 writes n 5"):
        parts_by_instance([make_commit(1, entity_write(1, 2)), make_commit(2, entity_write(5, 5, fresh=True))])
    with pytest.raises(DamagedHub, match="commit 2 writes n 3"):
        parts_by_instance([make_commit(1, entity_write(1, 2)), make_commit(2, entity_write(3, 3, "2", fresh=True))])
    with pytest.raises(DamagedHub, match="commit 2 writes n 3"):
        parts_by_instance(
            [make_commit(1, purged=[PurgedExecution(ENTITY, "1")]), make_commit(2, entity_write(3, 3, fresh=True))]
        )


FILES: dict[str, History | None] = {
    "none": None,
    "of an older execution": History(ENTITY, "0", entity_lines(1, 3, "0"), 9, True),
    "spoiled": History("", "", [], 0, False),
    "from 1 to 4": History(ENTITY, "1", entity_lines(1, 4), 9, True),
    "fresh from 5 to 5": History(ENTITY, "1", entity_lines(5, 5, fresh=True), 9, False, first=5),
    "fresh from 5 to 9": History(ENTITY, "1", entity_lines(5, 9, fresh=True), 9, True, first=5),
    "fresh from 12 to 13": History(ENTITY, "1", entity_lines(12, 13, fresh=True), 9, True, first=12),
    "of a newer execution": History(ENTITY, "2", entity_lines(1, 1, "2"), 9, True),
}
PARTS = {
    "begins": JournalPart("1", 1, entity_lines(1, 6)),
    "goes on": JournalPart("1", 6, entity_lines(6, 7)),
    "is fresh": JournalPart("1", 5, entity_lines(5, 7, fresh=True), rewrites_file=True),
    "is gone": JournalPart("1", 1, [], purged=True),
}
MERGED: dict[str, list[tuple[int, int] | None]] = {
    "begins": [(1, 6), (1, 6), (1, 6), (1, 6), (5, 5), (5, 9), (12, 13), (1, 1)],
    "goes on": [None, (1, 3), (1, 0), (1, 4), (5, 7), (5, 9), (12, 13), (1, 1)],
    "is fresh": [(5, 7), (5, 7), (5, 7), (5, 7), (5, 7), (5, 9), (12, 13), (1, 1)],
    "is gone": [None, None, None, None, None, None, None, (1, 1)],
}


@pytest.mark.parametrize("claimed", PARTS)
@pytest.mark.parametrize("file", FILES)
def test_a_file_may_be_older_or_newer_than_what_the_journal_said_a_moment_before(file: str, claimed: str) -> None:
    claim = PARTS[claimed]
    lines = list(claim.lines)
    found = merge_with_journal(FILES[file], claim, ENTITY)
    expected = MERGED[claimed][list(FILES).index(file)]
    assert (found and (found.first, found.last)) == expected
    assert claim.lines == lines
    if found is not None and expected == (claim.first, claim.last):
        assert found.lines == claim.lines
    if found is not None and expected != (1, 0):
        numbers = [int(line[5 : line.index(b",")]) for line in found.lines]
        assert numbers == list(range(found.first, found.last + 1))
