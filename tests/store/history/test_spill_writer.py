"""The writer of spilled records: an error of the disk stops it, and it leaves alone what isn't of the hub."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec import Raw

from durablecli.errors import StorageError
from durablecli.model import events as ev
from durablecli.model.codec import crc_seed, encode_record
from durablecli.store.disk import LocalDisk
from durablecli.store.history.spill_writer import SpillWriter
from durablecli.store.history.spilled_files import (
    iter_spilled_folders,
    measure_spilled_files,
    read_line,
    spilled_folder,
)
from durablecli.store.journal.commits import Commit, PurgedExecution
from durablecli.store.memory_disk import MemoryDisk
from tests.support.faulty_disk import FaultyDisk, fail_on

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
SEED = crc_seed("i", "1")
LINE = encode_record(ev.Record(2, AT, ev.EventRaised("E", Raw(b'"%b"' % (b"x" * 1000)))), SEED)


def write_one(disk: MemoryDisk | LocalDisk, root: str) -> tuple[SpillWriter, bytes]:
    writer = SpillWriter(disk, root)
    stub = writer.add(LINE, "i", "1", 3, SEED).line
    assert writer.read_line(stub) == LINE
    writer.enqueue_current(3)
    assert writer.read_line(stub) == LINE
    writer.write_queued(2)
    assert list(iter_spilled_folders(disk, root)) == []
    writer.write_queued(3)
    return writer, stub


def purge(writer: SpillWriter) -> None:
    writer.note_removed(Commit(4, 1, AT, [], purged=[PurgedExecution("i", "1")]))
    writer.remove(writer.take_removable())


def test_a_file_is_written_with_its_commit_and_removed_with_its_execution(tmp_path: Path) -> None:
    disk, root = LocalDisk(), str(tmp_path)
    writer, stub = write_one(disk, root)
    assert read_line(disk, root, stub) == LINE
    assert measure_spilled_files(disk, root, "i") == len(LINE) + 1
    purge(writer)
    assert list(iter_spilled_folders(disk, root)) == []
    assert measure_spilled_files(disk, root, "i") == 0


@pytest.mark.parametrize("operation", ["write", "sync", "rename", "sync_folder", "make_folder"])
def test_the_first_error_of_the_disk_is_raised_and_names_the_path(operation: str) -> None:
    disk = FaultyDisk()
    disk.make_folder("hub")
    disk.step = fail_on(operation, "payloads", errno.ENOSPC)
    with pytest.raises(StorageError, match=r"hub/payloads.*No space left on device"):
        write_one(disk, "hub")


def test_a_link_among_the_folders_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    writer, _ = write_one(LocalDisk(), str(tmp_path / "other"))
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / "payloads").symlink_to(other / "payloads")
    root = str(tmp_path / "hub")
    assert list(iter_spilled_folders(LocalDisk(), root)) == []
    again = SpillWriter(LocalDisk(), root)
    again.remove_uncommitted(1)
    purge(again)
    assert len(list(Path(spilled_folder(str(other), "i")).iterdir())) == 1
    with pytest.raises(StorageError, match="payloads"):
        write_one(LocalDisk(), root)
    purge(writer)


def test_what_a_crash_has_left_is_removed_and_the_rest_stays(tmp_path: Path) -> None:
    disk, root = LocalDisk(), str(tmp_path)
    _, stub = write_one(disk, root)
    folder = Path(spilled_folder(root, "i"))
    (file,) = folder.iterdir()
    (folder / f"{file.name}.tmp").write_bytes(b"x")
    (folder / "notes").write_bytes(b"x")
    SpillWriter(disk, root).remove_uncommitted(4)
    assert {each.name for each in folder.iterdir()} == {file.name, "notes"}
    assert read_line(disk, root, stub) == LINE
    SpillWriter(disk, root).remove_uncommitted(3)
    assert {each.name for each in folder.iterdir()} == {"notes"}
