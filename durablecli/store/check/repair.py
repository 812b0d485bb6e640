"""Repairing a damaged hub: keep everything intact and report everything lost.

Removed data is moved to `damaged/` first. Commit numbers and epochs, and therefore executions, are never reused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

from durablecli.errors import DamagedHub
from durablecli.model.codec import CorruptLine
from durablecli.model.status import InstanceSummary
from durablecli.store import layout
from durablecli.store.check import checker
from durablecli.store.check.checker import CheckReport
from durablecli.store.check.history_repair import HistoryRepair
from durablecli.store.check.orphaned_logs import find_orphaned_logs
from durablecli.store.check.superfluous_payloads import find_superfluous_files, list_referenced_files
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.file import history_files, read_history, read_history_file
from durablecli.store.history.merge import JournalPart, is_contiguous, parts_by_instance
from durablecli.store.history.writer import HistoryWriter
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.hub_creation import create_folders, missing_folders
from durablecli.store.hub_file import FORMAT, SPILLED_FORMAT, HubFile, read_hub_file, write_hub_file
from durablecli.store.inbox.failed_messages import FailedMessages
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.index import IndexUnusable, open_index_readonly
from durablecli.store.journal.commits import Commit, HistoryWrite, decode_commit
from durablecli.store.journal.reader import (
    JournalCheckpoint,
    SegmentHeader,
    decode_header,
    read_checkpoint,
    read_tail,
    segment_numbers,
    segment_path,
    write_checkpoint,
)
from durablecli.store.journal.writer import Journal
from durablecli.store.layout import CHECKPOINT_FILE, QUARANTINE_FILE
from durablecli.store.lock import EngineLock
from durablecli.store.os_errors import translate_os_errors
from durablecli.store.permissions import check_permissions


def repair_hub(root: str, disk: Disk | None = None) -> CheckReport:
    """Repair the hub and return the remaining findings; raise HubLocked while an engine is running."""
    disk = disk or LocalDisk()
    if disk.stat(root, follow_symlinks=True) is None:
        return checker.check_hub(root, disk)
    check_permissions(disk, root)
    lock = EngineLock(disk, root)
    lock.acquire()
    try:
        with translate_os_errors("the repair isn't finished; run it again"):
            repaired = list(_HubRepair(disk, root).run())
    finally:
        lock.release()
    close_hub(open_hub(root, disk))
    report = checker.check_hub(root, disk)
    report.repaired = repaired
    return report


class _HubRepair:
    def __init__(self, disk: Disk, root: str) -> None:
        self.disk = disk
        self.root = root
        self.journal_folder = f"{root}/{layout.JOURNAL_FOLDER}"
        self.history_writer = HistoryWriter(disk, root)

    def run(self) -> Iterator[str]:
        yield from self._repair_folders()
        yield from self._repair_hub_file()
        yield from self._repair_journal()
        # Afterwards the history files contain everything that the journal knows, in damaged files after the damage.
        close_hub(open_hub(self.root, self.disk, lock=False))
        yield from self._repair_histories()
        yield from self._move_orphaned_logs()
        yield from self._move_superfluous_payloads()
        yield from self._retry_messages()
        # Opening the hub rebuilds the index, and an engine retries every instance.
        for name in (layout.INDEX_FILE, f"{layout.INDEX_FILE}-journal", QUARANTINE_FILE):
            with suppress(FileNotFoundError):
                self.disk.unlink(f"{self.root}/{name}")

    def _repair_histories(self) -> Iterator[str]:
        try:
            index = open_index_readonly(f"{self.root}/{layout.INDEX_FILE}")
        except IndexUnusable:
            yield from HistoryRepair(self.disk, self.root, self._preserve).run()
            return

        def read_row(instance: str) -> InstanceSummary | None:
            with suppress(IndexUnusable):
                return index.get(instance)
            return None

        try:
            yield from HistoryRepair(self.disk, self.root, self._preserve, read_row).run()
        finally:
            index.close()

    def _move_orphaned_logs(self) -> Iterator[str]:
        for path in list(find_orphaned_logs(self.disk, self.root, history_files(self.disk, self.root))):
            self._preserve(path)
            yield f"{path}: the log of no instance, moved to {layout.DAMAGED_FOLDER}/"

    def _move_superfluous_payloads(self) -> Iterator[str]:
        histories = (read_history_file(self.disk, file) for file in history_files(self.disk, self.root))
        lines = (line for history in histories if history is not None for line in history.lines)
        referenced = set(list_referenced_files(self.root, lines))
        for path in list(find_superfluous_files(self.disk, self.root, referenced)):
            self._preserve(path)
            yield f"{path}: it belongs to no record, moved to {layout.DAMAGED_FOLDER}/"

    def _repair_folders(self) -> Iterator[str]:
        missing = missing_folders(self.disk, self.root)
        create_folders(self.disk, self.root)
        yield from (f"{folder} was created again" for folder in missing)

    # ── messages ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _retry_messages(self) -> Iterator[str]:
        """Move failed messages back to the inbox, once; move those that failed again or can't be read to `damaged/`."""
        failed = FailedMessages(self.disk, self.root)
        for name in failed.names():
            why = failed.read_failure(name)
            if why is not None and why.is_final:
                failed.move_away(name, f"{self.root}/{layout.DAMAGED_FOLDER}")
                yield f"{name}, which failed twice, was moved to {self.root}/{layout.DAMAGED_FOLDER}"
            else:
                failed.retry(name)
                yield f"{name} was put back into the inbox"
        bad = f"{self.root}/{layout.UNREADABLE_MESSAGES_FOLDER}"
        unreadable = InboxReader(self.disk, self.root).unreadable_files()
        for file in [*(f"{bad}/{name}" for name in sorted(self.disk.listdir(bad))), *unreadable]:
            self._preserve(file)
            yield f"{file}, which can't be read, was moved to {self.root}/{layout.DAMAGED_FOLDER}"

    # ── hub.json ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _repair_hub_file(self) -> Iterator[str]:
        try:
            read_hub_file(self.disk, self.root)
        except (DamagedHub, FileNotFoundError):
            hubs = [
                header.hub
                for number in segment_numbers(self.disk, self.journal_folder)
                if (header := self._read_header(number))
            ]
            epoch = max((commit.epoch for commit in self._read_commits().values()), default=0)
            # The journal only has the latest epochs; a large step exceeds all epochs used before.
            has_payloads = self.disk.exists(f"{self.root}/{layout.PAYLOADS_FOLDER}")
            format = SPILLED_FORMAT if has_payloads else FORMAT
            content = HubFile(format, hubs[-1] if hubs else uuid4().hex, "repaired", epoch + 1000, clean=False)
            content.last_seen = datetime.now(UTC)
            if self.disk.exists(f"{self.root}/{layout.HUB_FILE}"):
                self._preserve(f"{self.root}/{layout.HUB_FILE}", copy=True)
            write_hub_file(self.disk, self.root, content)
            yield f"{self.root}/{layout.HUB_FILE} was created again"

    def _read_header(self, number: int) -> SegmentHeader | None:
        data = self.disk.read(segment_path(self.journal_folder, number))
        with suppress(CorruptLine):
            return decode_header(data)
        return None

    # ── the journal ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _repair_journal(self) -> Iterator[str]:
        try:
            tail = read_tail(self.disk, self.journal_folder)
            parts_by_instance(tail.commits)  # raises DamagedHub if they contradict each other
            if self._last_indexed_commit() >= tail.next_commit:
                raise DamagedHub(f"{self.journal_folder} ends with commit {tail.next_commit - 1}, the index knows more")
        except DamagedHub as error:
            yield str(error)
            yield self._recreate_journal()

    def _recreate_journal(self) -> str:
        first = self._first_needed_commit()
        found = self._read_commits()
        wanted = [found[c] for c in sorted(found) if c >= first]
        lost = sum(not self._replay_commit(commit) for commit in wanted)
        self.history_writer.sync(self.history_writer.take_unsynced())
        InboxConsumer(self.disk, self.root).remove(each.message for commit in wanted for each in commit.consumed)
        following = self._next_unused_commit(first, found)
        old = segment_numbers(self.disk, self.journal_folder)
        if self.disk.exists(f"{self.journal_folder}/{CHECKPOINT_FILE}"):
            self._preserve(f"{self.journal_folder}/{CHECKPOINT_FILE}")
        hub = read_hub_file(self.disk, self.root).hub
        journal = Journal.open(self.disk, self.journal_folder, hub=hub, first=following)
        journal.close()
        write_checkpoint(self.disk, self.journal_folder, JournalCheckpoint(following, journal.segment))
        for number in old:
            self._preserve(segment_path(self.journal_folder, number))
        text = f"{len(wanted) - lost} commits were carried over, {lost} no longer fit their histories"
        kept = f"{self.root}/{layout.DAMAGED_FOLDER}"
        return f"the journal was restarted at commit {following}; {text}; the old one is kept in {kept}"

    def _last_indexed_commit(self) -> int:
        with suppress(IndexUnusable):
            reader = open_index_readonly(f"{self.root}/{layout.INDEX_FILE}")
            try:
                return reader.last_commit
            finally:
                reader.close()
        return 0

    def _first_needed_commit(self) -> int:
        with suppress(DamagedHub):
            return read_checkpoint(self.disk, self.journal_folder).first
        return 1

    def _read_commits(self) -> dict[int, Commit]:
        """Read every intact commit of every segment."""
        found: dict[int, Commit] = {}
        for number in segment_numbers(self.disk, self.journal_folder):
            for line in self.disk.read(segment_path(self.journal_folder, number)).split(b"\n"):
                with suppress(CorruptLine):
                    commit = decode_commit(line)
                    found[commit.c] = commit
        return found

    def _next_unused_commit(self, first: int, found: dict[int, Commit]) -> int:
        """Return a number above all that were ever used; each unreadable line may have been a commit of its own."""
        lines = sum(
            self.disk.read(segment_path(self.journal_folder, number)).count(b"\n") + 1
            for number in segment_numbers(self.disk, self.journal_folder)
        )
        histories = (
            history.execution
            for file in history_files(self.disk, self.root)
            if (history := read_history_file(self.disk, file))
        )
        return (
            max(
                [
                    first,
                    self._last_indexed_commit(),
                    *found,
                    *(int(execution, 16) for execution in histories if execution),
                ]
            )
            + lines
            + 1
        )

    def _replay_commit(self, commit: Commit) -> bool:
        """Apply a commit to the histories that end exactly where it begins, and to no others."""
        for purged in commit.purged:
            history = read_history(self.disk, self.root, purged.instance)
            if history is not None and history.execution == purged.execution:
                self.history_writer.remove_purged([purged])
        fitted = [self._replay_write(write) for write in commit.writes]
        return all(fitted)

    def _replay_write(self, write: HistoryWrite) -> bool:
        history = read_history(self.disk, self.root, write.instance)
        part = JournalPart(write.execution, write.first, write.lines, rewrites_file=write.rewrites_file)
        if history is not None and history.lines and int(history.execution, 16) > int(write.execution, 16):
            return True
        same = history is not None and history.execution == write.execution
        if history is not None and same and history.last >= part.last:
            return True
        if not part.begins_file and (history is None or not is_contiguous(history, part)):
            self.history_writer.append_missing(write.instance, part)
            return False
        self.history_writer.restore(write.instance, part)
        return True

    def _preserve(self, file: str, *, copy: bool = False) -> None:
        """Move or copy a file to `damaged/`."""
        folder = f"{self.root}/{layout.DAMAGED_FOLDER}"
        self.disk.make_folder(folder)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        name = file.rpartition("/")[2]
        number = 0
        while self.disk.exists(kept := f"{folder}/{stamp}-{number}-{name}"):
            number += 1
        if copy:
            self.disk.create(kept, self.disk.read(file), sync=True)
        else:
            self.disk.rename(file, kept)
            self.disk.sync_folder(file.rpartition("/")[0])
        self.disk.sync_folder(folder)
