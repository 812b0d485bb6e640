"""The files of logs: their size, their names, damage, and a disk that fails."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durablecli.model.log_entry import LogEntry
from durablecli.store.check.checker import check_hub
from durablecli.store.check.repair import repair_hub
from durablecli.store.disk import LocalDisk
from durablecli.store.history.file import history_path
from durablecli.store.history.merge import JournalPart
from durablecli.store.history.writer import HistoryWriter
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.journal.commits import PurgedExecution
from durablecli.store.logs.log_files import locate_log
from durablecli.store.logs.log_reader import LogReader
from durablecli.store.logs.log_writer import LogWriter

AT = datetime(2026, 11, 29, 9, tzinfo=UTC)
IDS = ["a", "A", "a.old", "a.jsonl", "%41", "@counter@a", "@counter@A", "x" * 200, "x" * 201, "Ω", "..", "CON"]


@pytest.fixture
def root(tmp_path: Path) -> str:
    folder = tmp_path / "hub"
    folder.mkdir(mode=0o700)
    return str(folder)


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def writer(root: str, warnings: list[str]) -> Iterator[LogWriter]:
    made = LogWriter(LocalDisk(), root, 4096, warnings.append)
    yield made
    made.close()


def make_entry(text: str, seconds: int = 0, execution: str = "1") -> LogEntry:
    return LogEntry(AT + timedelta(seconds=seconds), "INFO", text, "orchestrator", "f", execution=execution)


def read_texts(root: str, instance: str) -> list[str]:
    return [entry.text for entry in LogReader(LocalDisk(), root, instance).read_new()]


def test_different_ids_have_different_logs(writer: LogWriter, root: str) -> None:
    for id in IDS:
        writer.append(id, [make_entry(id)])
    assert {id: read_texts(root, id) for id in IDS} == {id: [id] for id in IDS}
    assert len({path for id in IDS for path in locate_log(root, id)[1:]}) == 2 * len(IDS)


def test_entries_come_in_the_order_of_their_times(writer: LogWriter, root: str) -> None:
    writer.append("a", [make_entry("late", 2)])
    writer.append("a", [make_entry("early", 1), make_entry("also late", 2)])
    assert read_texts(root, "a") == ["early", "late", "also late"]


def test_a_full_log_drops_its_older_half_and_says_so(writer: LogWriter, root: str) -> None:
    files = locate_log(root, "a")
    for number in range(500):
        writer.append("a", [make_entry(f"line {number:03}", number)])
        assert sum(os.path.getsize(path) for path in files[1:] if os.path.exists(path)) < 4096 + 300
    texts = read_texts(root, "a")
    kept = [text for text in texts if text.startswith("line")]
    assert kept == [f"line {number:03}" for number in range(500 - len(kept), 500)]
    assert len(kept) > 10
    assert "older lines were dropped: a log holds 4,096 bytes at most" in texts


def test_a_follower_misses_and_repeats_nothing_while_files_are_replaced(root: str) -> None:
    writer = LogWriter(LocalDisk(), root, 40_000, print)
    reader, found, done = LogReader(LocalDisk(), root, "a"), list[str](), threading.Event()

    def follow() -> None:
        while not done.is_set():
            found.extend(entry.text for entry in reader.read_new())

    thread = threading.Thread(target=follow)
    thread.start()
    for number in range(2_000):
        writer.append("a", [make_entry(f"{number}", number)])
        if number % 100 == 99:  # no more than a file between two reads
            wanted = number + 1
            for _ in range(1_000):
                if len([text for text in found if text.isdecimal()]) == wanted:
                    break
                done.wait(0.01)
    done.set()
    thread.join()
    assert [text for text in found if text.isdecimal()] == [f"{number}" for number in range(2_000)]


def test_damaged_and_unfinished_lines_are_left_out(writer: LogWriter, root: str) -> None:
    writer.append("a", [make_entry("one")])
    path = Path(locate_log(root, "a").current)
    path.write_bytes(path.read_bytes() + b'\xff\n\0\0\n{"at":1}\n\n{"at":"2026')
    assert read_texts(root, "a") == ["one"]
    writer.close()
    writer.append("a", [make_entry("two")])
    assert read_texts(root, "a") == ["one", "two"]


def test_a_purge_removes_both_files_for_good(writer: LogWriter, root: str) -> None:
    for number in range(100):
        writer.append("a", [make_entry(f"line {number}")])
    files = locate_log(root, "a")
    assert [os.path.exists(path) for path in files[1:]] == [True, True]
    writer.remove_purged([PurgedExecution("a", "1")])
    writer.append("a", [make_entry("of a call that still runs")])
    assert [os.path.exists(path) for path in files[1:]] == [False, False]
    writer.append("a", [make_entry("of the next execution", execution="2")])
    assert read_texts(root, "a") == ["of the next execution"]


def test_a_removed_folder_is_made_again(writer: LogWriter, root: str) -> None:
    writer.append("a", [make_entry("one")])
    writer.close()
    files = locate_log(root, "a")
    os.unlink(files.current)
    os.rmdir(files.folder)
    writer.append("a", [make_entry("two")])
    assert read_texts(root, "a") == ["two"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_failing_disk_is_reported_once_and_raises_nothing(
    root: str, warnings: list[str], monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    disk = LocalDisk()
    writer = LogWriter(disk, root, 4096, warnings.append)
    writer.append("a", [make_entry("before")])
    writer.close()

    def fail(path: str, *, create: bool) -> None:
        raise OSError(code, os.strerror(code), path)

    monkeypatch.setattr(disk, "appender", fail)
    for id in ("a", "b"):
        writer.append(id, [make_entry("lost")])
    monkeypatch.undo()
    monkeypatch.setattr("durablecli.store.logs.log_writer.monotonic", lambda: float("inf"))
    writer.append("a", [make_entry("after")])
    assert read_texts(root, "a") == ["before", "after"]
    (warning,) = warnings
    assert os.strerror(code) in warning


def test_a_link_is_not_followed(writer: LogWriter, root: str, warnings: list[str], tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept\n")
    files = locate_log(root, "a")
    os.makedirs(files.folder)
    os.symlink(target, files.current)
    writer.append("a", [make_entry("one")])
    writer.append("b", [make_entry("two")])
    assert target.read_text() == "kept\n"
    assert len(warnings) == 1
    assert read_texts(root, "a") == []
    assert read_texts(root, "b") == ["two"]


def test_a_linked_folder_is_not_followed(writer: LogWriter, root: str, warnings: list[str], tmp_path: Path) -> None:
    close_hub(open_hub(root))
    target, files = tmp_path / "target", locate_log(root, "a")
    target.mkdir()
    kept = target / os.path.basename(files.current)
    kept.write_text("kept\n")
    os.makedirs(os.path.dirname(files.folder), mode=0o700)
    os.symlink(target, files.folder)
    writer.append("a", [make_entry("one")])
    assert len(warnings) == 1
    assert repair_hub(root).repaired == []
    assert kept.read_text() == "kept\n"


def test_a_file_among_the_folders_is_left_alone(root: str) -> None:
    close_hub(open_hub(root))
    os.makedirs(f"{root}/logs", mode=0o700)
    Path(f"{root}/logs/notes.txt").write_text("mine\n")
    assert check_hub(root).notes == []


def test_a_log_that_cannot_be_removed_does_not_keep_a_hub_from_opening(root: str) -> None:
    close_hub(open_hub(root))
    files = locate_log(root, "a")
    os.makedirs(files.current)
    HistoryWriter(LocalDisk(), root).restore("a", JournalPart("1", 1, [], purged=True))
    assert os.path.isdir(files.current)


def test_the_doctor_notes_logs_of_no_instance_and_moves_them(root: str, warnings: list[str]) -> None:
    close_hub(open_hub(root))
    writer = LogWriter(LocalDisk(), root, 4096, warnings.append)
    for id in ("a", "@counter@a"):
        writer.append(id, [make_entry("one")])
    writer.close()
    notes = check_hub(root).notes
    assert [note for note in notes if "is the log of no instance; --repair moves it to damaged/" in note] == notes
    assert len(notes) == 2
    assert len([text for text in repair_hub(root).repaired if "moved to damaged/" in text]) == 2
    assert check_hub(root).notes == []
    assert not os.path.exists(history_path(root, "a"))
