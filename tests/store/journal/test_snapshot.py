"""What a reader sees of the journal while an engine may be writing it."""

from __future__ import annotations

from datetime import UTC, datetime

from durablecli.model.codec import crc_seed, encode_record
from durablecli.model.events import EventAwaited, ExecutionStarted, Record
from durablecli.store.history.merge import read_live_history
from durablecli.store.journal.commits import Commit, HistoryWrite, PurgedExecution
from durablecli.store.journal.reader import JournalCheckpoint, write_checkpoint
from durablecli.store.journal.snapshot import read_journal_snapshot
from durablecli.store.journal.writer import Journal
from durablecli.store.memory_disk import MemoryDisk

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def make_write(instance: str, n: int) -> HistoryWrite:
    event = ExecutionStarted(instance, "1", "f") if n == 1 else EventAwaited(f"e{n}")
    return HistoryWrite(instance, "1", n, [encode_record(Record(n, AT, event), crc_seed(instance, "1"))])


def make_journal(*commits: Commit) -> MemoryDisk:
    disk = MemoryDisk()
    disk.make_folder("hub")
    disk.make_folder("hub/journal")
    write_checkpoint(disk, "hub/journal", JournalCheckpoint(1, 1))
    Journal.open(disk, "hub/journal", hub="h", first=1).append(commits)
    return disk


def test_commits_for_one_instance_omit_the_others() -> None:
    disk = make_journal(
        Commit(1, 1, AT, [make_write("a", 1), make_write("b", 1)]),
        Commit(2, 1, AT, [make_write("b", 2)]),
        Commit(3, 1, AT, [make_write("a", 2), make_write("b", 3)], purged=[PurgedExecution("c", "1")]),
    )
    commits = read_journal_snapshot(disk, "hub/journal").for_instance("a")
    assert [(commit.c, [each.instance for each in commit.writes], commit.purged) for commit in commits] == [
        (1, ["a"], []),
        (3, ["a"], []),
    ]
    found = read_live_history(disk, "hub", commits, "a")
    assert found is not None
    assert len(found.lines) == 2
