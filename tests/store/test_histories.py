"""The histories: written behind the journal, completed from it, read while both grow."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from durablecli.errors import DamagedHub, StorageError
from durablecli.model.codec import frame, seed
from durablecli.model.events import EventAwaited, ExecutionStarted, Record
from durablecli.store.histories import Histories, claims, complete, files, path, read, read_live
from durablecli.store.journal import Commit, Purged, Write
from durablecli.store.memory import MemoryDisk
from tests.store.faulty import FaultyDisk, refusing

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def record_lines(instance: str, execution: str, first: int, last: int) -> list[bytes]:
    start = seed(instance, execution)
    begin = ExecutionStarted(instance, execution, "f")
    return [frame(Record(n, AT, begin if n == 1 else EventAwaited(f"e{n}")), start) for n in range(first, last + 1)]


def write(instance: str, execution: str, first: int, last: int, more: bool = False) -> Write:
    return Write(instance, execution, first, record_lines(instance, execution, first, last), more)


def commit(c: int, *writes: Write, purged: list[Purged] | None = None) -> Commit:
    return Commit(c, 1, AT, list(writes), [], purged or [])


def a_root(disk: MemoryDisk | None = None) -> tuple[MemoryDisk, Histories]:
    disk = disk or MemoryDisk()
    disk.make_folder("hub")
    disk.make_folder("hub/instances")
    return disk, Histories(disk, "hub")


def shown(disk: MemoryDisk, instance: str) -> tuple[str, int] | None:
    found = read(disk, "hub", instance)
    return found and (found.execution, len(found.lines))


def test_lines_are_appended_and_a_new_execution_takes_the_place_of_the_old() -> None:
    disk, histories = a_root()
    histories.publish([write("a", "1", 1, 2), write("b", "1", 1, 1), write("a", "1", 3, 3)])
    assert shown(disk, "a") == ("1", 3)
    assert disk.read(path("hub", "a")) == b"".join(each + b"\n" for each in record_lines("a", "1", 1, 3))
    histories.publish([write("a", "2", 1, 1)])
    assert shown(disk, "a") == ("2", 1)
    histories.remove([Purged("b", "1"), Purged("b", "1")])
    assert shown(disk, "b") is None
    assert list(files(disk, "hub")) == [path("hub", "a")]


def test_what_was_touched_is_told_once() -> None:
    _, histories = a_root()
    histories.publish([write("a", "1", 1, 1)])
    touched = histories.touched()
    assert touched.files == {path("hub", "a")}
    assert touched.folders == {"hub/instances", path("hub", "a").rpartition("/")[0]}
    assert histories.touched().files == set()


def test_a_history_is_good_up_to_its_first_bad_line() -> None:
    disk, histories = a_root()
    histories.publish([write("a", "1", 1, 4)])
    whole = disk.read(path("hub", "a"))
    lines = record_lines("a", "1", 1, 4)
    ends = [sum(len(each) + 1 for each in lines[:n]) for n in range(5)]
    data = disk.files[path("hub", "a")].data
    for at in range(len(whole)):
        data[at] ^= 1
        found = read(disk, "hub", "a")
        assert found is not None
        good = max(n for n in range(5) if ends[n] <= at)
        assert (len(found.lines), found.good, found.whole) == (good, ends[good], False)
        data[at] ^= 1
    for cut in range(len(whole)):
        data[:] = whole[:cut]
        found = read(disk, "hub", "a")
        assert found is not None
        assert (len(found.lines), found.whole) == (max(n for n in range(5) if ends[n] <= cut), cut in ends[1:])


def test_lines_of_another_instance_another_execution_or_out_of_order_are_bad() -> None:
    disk, histories = a_root()
    for strange in (record_lines("b", "1", 3, 3), record_lines("a", "2", 3, 3), record_lines("a", "1", 4, 4)):
        histories.publish([write("a", "1", 1, 2)])
        histories.publish([Write("a", "1", 3, strange)])
        assert shown(disk, "a") == ("1", 2)
    histories.publish([write("b", "1", 1, 2)])
    disk.rename(path("hub", "b"), path("hub", "a"))
    assert shown(disk, "a") == ("", 0)


def test_completing_brings_every_cut_file_to_what_the_commits_say() -> None:
    disk, histories = a_root()
    histories.publish([write("a", "1", 1, 2)])
    commits = [commit(1, write("a", "1", 3, 4)), commit(2, write("a", "1", 5, 5), write("b", "2", 1, 2))]
    kept = len(disk.read(path("hub", "a")))
    for each in commits:
        histories.publish(each.writes)
    whole = disk.read(path("hub", "a"))
    for cut in range(kept, len(whole) + 1):
        disk.files[path("hub", "a")].data[:] = whole[:cut] + b"\0" * 7
        complete(histories, commits)
        complete(histories, commits)
        assert disk.read(path("hub", "a")) == whole
        assert shown(disk, "b") == ("2", 2)


def test_damage_where_the_commits_dont_reach_is_named_with_its_place() -> None:
    disk, histories = a_root()
    histories.publish([write("a", "1", 1, 3)])
    first = len(record_lines("a", "1", 1, 1)[0]) + 1
    disk.files[path("hub", "a")].data[first + 5] ^= 1
    complete(histories, [commit(1, write("b", "1", 1, 1))])
    with pytest.raises(DamagedHub, match=rf"a.jsonl: byte {first}: record n 2 .*begins at n 4"):
        complete(histories, [commit(2, write("a", "1", 4, 4))])
    disk.unlink(path("hub", "a"))
    with pytest.raises(DamagedHub, match="is missing"):
        complete(histories, [commit(2, write("a", "1", 4, 4))])


def test_only_what_follows_the_last_beginning_or_purge_counts() -> None:
    disk, histories = a_root()
    gone = [commit(1, write("a", "1", 5, 5)), commit(2, purged=[Purged("a", "1")])]
    complete(histories, gone)
    assert shown(disk, "a") is None
    complete(histories, [*gone, commit(3, write("a", "3", 1, 1)), commit(4, write("a", "3", 2, 2))])
    assert shown(disk, "a") == ("3", 2)
    again = commit(5, write("a", "5", 1, 1), purged=[Purged("a", "3")])
    complete(histories, [commit(4, write("a", "3", 2, 2)), again])
    assert shown(disk, "a") == ("5", 1)


def test_commits_that_contradict_each_other_are_damage() -> None:
    with pytest.raises(DamagedHub, match="commit 2 writes n 4"):
        claims([commit(1, write("a", "1", 1, 2)), commit(2, write("a", "1", 4, 4))])


def test_reading_joins_the_file_and_the_commits_beyond_it() -> None:
    disk, histories = a_root()
    commits = [commit(1, write("a", "1", 3, 3)), commit(2, write("a", "1", 4, 5))]

    def lines() -> int:
        found = read_live(disk, "hub", commits, "a")
        return len(found.lines) if found else 0

    histories.publish([write("a", "1", 1, 2)])
    assert lines() == 5
    histories.publish([write("a", "1", 3, 4)])
    assert lines() == 5
    histories.publish([write("a", "1", 5, 7)])
    assert lines() == 7  # the engine went on after the journal was read
    histories.publish([write("a", "ff", 1, 1)])
    assert lines() == 1
    histories.remove([Purged("a", "ff")])
    assert lines() == 0
    assert read_live(disk, "hub", [commit(9, write("a", "9", 1, 3))], "a") is not None
    histories.publish([write("a", "1", 1, 2)])
    assert read_live(disk, "hub", [commit(9, purged=[Purged("a", "1")])], "a") is None


def test_a_refused_write_says_so_and_names_the_file() -> None:
    disk = FaultyDisk()
    _, histories = a_root(disk)
    histories.publish([write("a", "1", 1, 2)])
    disk.step = refusing(1, {"write", "sync", "unlink", "sync_all"})
    with pytest.raises(StorageError, match=r"a\.jsonl: Input/output error"):
        histories.publish([write("a", "1", 3, 3)])
    with pytest.raises(StorageError, match="Input/output error"):
        histories.sync(histories.touched())
    with pytest.raises(StorageError, match="Input/output error"):
        histories.remove([Purged("a", "1")])
