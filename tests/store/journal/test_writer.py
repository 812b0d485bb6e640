"""The journal: what append promises, and what reading accepts."""

from __future__ import annotations

import errno
from datetime import UTC, datetime

import pytest

from durablecli.errors import DamagedHub, StorageError
from durablecli.model.codec import CorruptLine, crc_seed, encode_record
from durablecli.model.events import EventAwaited, Record
from durablecli.store.journal.commits import (
    Commit,
    ConsumedMessage,
    HistoryWrite,
    PurgedExecution,
    decode_commit,
    encode_commit,
)
from durablecli.store.journal.reader import JournalCheckpoint, read_tail, write_checkpoint
from durablecli.store.journal.writer import Journal
from durablecli.store.memory_disk import MemoryDisk
from tests.support.faulty_disk import FaultyDisk, fail_on

AT = datetime(2026, 11, 22, 9, 0, 0, 101, tzinfo=UTC)


def make_commit(c: int, size: int = 1) -> Commit:
    lines = [
        encode_record(Record(n, AT, EventAwaited(f'Ünï "{n}"')), crc_seed("a b", "2a")) for n in range(3, 3 + size)
    ]
    return Commit(
        c,
        3,
        AT,
        [HistoryWrite("a b", "2a", 3, lines)],
        [ConsumedMessage("m-1"), ConsumedMessage("m-2", 7)],
        [PurgedExecution("x", "1f")],
    )


def make_journal(first: int = 1) -> tuple[MemoryDisk, Journal]:
    disk = MemoryDisk()
    disk.make_folder("j")
    journal = Journal.open(disk, "j", hub="h", first=first)
    write_checkpoint(disk, "j", JournalCheckpoint(first, 1))
    return disk, journal


def commit_numbers(disk: MemoryDisk) -> list[int]:
    return [commit.c for commit in read_tail(disk, "j").commits]


def test_a_line_gives_back_its_commit_with_every_byte_of_its_records() -> None:
    assert decode_commit(encode_commit(make_commit(1, 3))) == make_commit(1, 3)
    more = Commit(2, 1, AT, [HistoryWrite("i", "1", 1, [], True), HistoryWrite("@e@k", "1", 7, [], rewrites_file=True)])
    assert decode_commit(encode_commit(more)) == more


def test_every_flipped_byte_of_a_line_is_refused() -> None:
    good = encode_commit(make_commit(1))
    for at in range(len(good)):
        with pytest.raises(CorruptLine):
            decode_commit(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])


def test_what_was_appended_is_read_again_across_segments() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1), make_commit(2)])
    journal.roll(3)
    journal.append([make_commit(3)])
    assert commit_numbers(disk) == [1, 2, 3]
    assert [each.last_durable for each in read_tail(disk, "j").commits] == [0, 0, 2]
    assert disk.listdir("j").count("00000002.jsonl") == 1


def test_a_checkpoint_drops_the_segments_below_it_and_keeps_the_rest() -> None:
    disk, journal = make_journal()
    for c in (1, 2, 3):
        journal.append([make_commit(c)])
        journal.roll(c + 1)
    journal.record_checkpoint(2)
    assert commit_numbers(disk) == [2, 3]
    journal.record_checkpoint(4)
    assert commit_numbers(disk) == []
    assert sorted(disk.listdir("j")) == ["00000004.jsonl", "checkpoint"]


def test_numbers_have_no_gaps() -> None:
    _, journal = make_journal()
    with pytest.raises(ValueError, match="can't follow"):
        journal.append([make_commit(2)])


def test_the_journal_cut_at_every_byte_gives_the_commits_before_the_cut() -> None:
    disk, journal = make_journal()
    ends = []
    for c in (1, 2, 3):
        journal.append([make_commit(c, c)])
        ends.append(journal.size)
    whole = disk.read("j/00000001.jsonl")
    for cut in range(len(whole) + 1):
        disk.truncate("j/00000001.jsonl", cut)
        found = read_tail(disk, "j")
        assert [each.c for each in found.commits] == [c for c, end in enumerate(ends, 1) if end <= cut]
        on_a_line = cut in (whole.index(b"\n") + 1, *ends)
        assert (found.torn is None) == on_a_line
        disk.truncate("j/00000001.jsonl", 0)
        disk.appender("j/00000001.jsonl", create=False).append(whole)


def test_a_run_of_zeroes_is_a_torn_tail() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    disk.appender("j/00000001.jsonl", create=False).append(b"\0" * 4096)
    assert commit_numbers(disk) == [1]


def test_a_batch_of_which_only_the_end_reached_the_disk_is_a_torn_tail() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    size = journal.size
    journal.append([make_commit(2), make_commit(3)])
    disk.files["j/00000001.jsonl"].data[size : size + 40] = b"\0" * 40
    assert commit_numbers(disk) == [1]


def test_a_bad_line_that_later_lines_call_durable_is_damage_with_its_place() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    size = journal.size
    journal.append([make_commit(2)])
    journal.append([make_commit(3)])
    disk.files["j/00000001.jsonl"].data[size + 9] ^= 1
    with pytest.raises(DamagedHub, match=rf"j/00000001.jsonl: byte {size}: the crc"):
        read_tail(disk, "j")


def test_a_bad_line_in_an_earlier_segment_is_damage() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    journal.roll(2)
    disk.files["j/00000001.jsonl"].data[-9] ^= 1
    with pytest.raises(DamagedHub, match="commits 1 to 1 are missing"):
        read_tail(disk, "j")


def test_a_bad_line_in_what_an_opening_copied_is_damage() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    Journal.resume(disk, "j", hub="h", tail=read_tail(disk, "j")).close()
    disk.files["j/00000002.jsonl"].data[-9] ^= 1
    with pytest.raises(DamagedHub, match="were on disk"):
        read_tail(disk, "j")


def test_a_missing_segment_and_a_missing_line_are_damage() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    journal.roll(2)
    journal.append([make_commit(2)])
    journal.roll(3)
    data = disk.read("j/00000002.jsonl")
    disk.unlink("j/00000002.jsonl")
    with pytest.raises(DamagedHub, match="commits 2 to 2 are missing"):
        read_tail(disk, "j")
    disk.create("j/00000002.jsonl", data, sync=True)
    disk.unlink("j/00000001.jsonl")
    with pytest.raises(DamagedHub, match=r"00000001\.jsonl is missing"):
        read_tail(disk, "j")


def test_a_damaged_or_missing_checkpoint_is_damage() -> None:
    disk, _ = make_journal()
    disk.files["j/checkpoint"].data[3] ^= 1
    with pytest.raises(DamagedHub, match="j/checkpoint: byte 0"):
        read_tail(disk, "j")
    disk.unlink("j/checkpoint")
    with pytest.raises(DamagedHub, match="j/checkpoint is missing"):
        read_tail(disk, "j")


def test_continuing_after_a_torn_tail_copies_the_complete_lines() -> None:
    disk, journal = make_journal()
    journal.append([make_commit(1)])
    disk.appender("j/00000001.jsonl", create=False).append(b'{"c":2,"epo')
    journal = Journal.resume(disk, "j", hub="h", tail=read_tail(disk, "j"))
    journal.append([make_commit(2)])
    assert commit_numbers(disk) == [1, 2]
    assert sorted(disk.listdir("j")) == ["00000002.jsonl", "checkpoint"]


def test_continuing_twice_with_nothing_to_copy_leaves_torn_heads() -> None:
    disk, _ = make_journal()
    Journal.resume(disk, "j", hub="h", tail=read_tail(disk, "j"))
    disk.truncate("j/00000002.jsonl", 10)
    journal = Journal.resume(disk, "j", hub="h", tail=read_tail(disk, "j"))
    journal.append([make_commit(1)])
    assert commit_numbers(disk) == [1]
    journal.roll(2)
    journal.record_checkpoint(2)
    assert sorted(disk.listdir("j")) == ["00000004.jsonl", "checkpoint"]


@pytest.mark.parametrize(("operation", "code"), [("write", errno.ENOSPC), ("sync", errno.EIO)])
def test_after_the_first_error_everything_is_refused(operation: str, code: int) -> None:
    disk = FaultyDisk()
    disk.make_folder("j")
    journal = Journal.open(disk, "j", hub="h", first=1)
    journal.append([make_commit(1)])
    disk.step = fail_on(operation, "", code)
    with pytest.raises(StorageError, match=r"00000001\.jsonl: .*nothing more is accepted"):
        journal.append([make_commit(2)])
    disk.step = lambda operation, path: None
    assert journal.last_durable == 1
    with pytest.raises(StorageError):
        journal.append([make_commit(2)])
    with pytest.raises(StorageError):
        journal.roll(2)
    with pytest.raises(StorageError):
        journal.sync()
