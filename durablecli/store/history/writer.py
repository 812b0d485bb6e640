"""The writer of history files: appends the content of the journal, removes the files of purged instances, and completes
the files from the journal after a crash."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from durablecli.errors import DamagedHub
from durablecli.store.disk import Disk
from durablecli.store.history.file import locate_history, read_history
from durablecli.store.history.merge import JournalPart, is_contiguous, parts_by_instance
from durablecli.store.journal.commits import Commit, HistoryWrite, PurgedExecution
from durablecli.store.layout import INSTANCES_FOLDER
from durablecli.store.logs.log_files import remove_log
from durablecli.store.os_errors import make_fail_stop_error

_FILE_SYNC_LIMIT = 64


class UnsyncedFiles(NamedTuple):
    """Files and folders that were written but not synced."""

    files: set[str]
    folders: set[str]


class HistoryWriter:
    """Writes the histories of one hub. Only `sync` makes them durable; until then the journal holds their content."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self._known_shards: set[str] = set()
        self._unsynced = UnsyncedFiles(set(), set())
        # A checkpoint's thread swaps the set of unsynced files, and must not miss a write in progress.
        self._guard = threading.Lock()
        self.removal_seconds = 0.0
        """The time that `remove_purged` has taken in all: on some disks a removal takes far longer than a write."""

    def publish(self, writes: Iterable[HistoryWrite]) -> None:
        """Append lines that are in the journal to the files. Purges of the same commit come first."""
        with self._guard:
            for write in writes:
                folder, file = locate_history(self._root, write.instance)
                data = b"\n".join((*write.lines, b""))
                try:
                    if write.begins_file:
                        self._create_file(folder, file, data)
                    else:
                        self._disk.append_once(file, data, create=False)
                except OSError as error:
                    raise make_fail_stop_error(error, file) from error
                self._mark_unsynced(folder, file)

    def remove_purged(self, purged: Iterable[PurgedExecution]) -> None:
        """Remove histories whose purge is in the journal."""
        began = monotonic()
        with self._guard:
            for each in purged:
                folder, file = locate_history(self._root, each.instance)
                try:
                    with suppress(FileNotFoundError):
                        self._disk.unlink(file)
                except OSError as error:
                    raise make_fail_stop_error(error, file) from error
                self._mark_unsynced(folder, file)
        self.removal_seconds += monotonic() - began

    def take_unsynced(self) -> UnsyncedFiles:
        """Return the files written since the last call."""
        with self._guard:
            found, self._unsynced = self._unsynced, UnsyncedFiles(set(), set())
        return found

    def sync(self, unsynced: UnsyncedFiles) -> None:
        """Sync the files: their bytes, and the names created, replaced and removed."""
        try:
            if len(unsynced.files) > _FILE_SYNC_LIMIT and self._disk.can_sync_all:
                # One per folder of shards: they may be on different file systems.
                for above in {file.rsplit("/", 2)[0] for file in unsynced.files}:
                    self._disk.sync_all(above)
                return
            for file in unsynced.files:
                with suppress(FileNotFoundError):
                    self._disk.sync_file(file)
            for folder in unsynced.folders:
                with suppress(FileNotFoundError):
                    self._disk.sync_folder(folder)
        except OSError as error:
            raise make_fail_stop_error(error, f"{self._root}/{INSTANCES_FOLDER}") from error

    def restore(self, instance: str, part: JournalPart) -> None:
        """Bring one file to the state in the journal's tail, whatever it already contains.

        Everything is rewritten: data that a dead process left in the page cache may never reach the disk.
        """
        folder, file = locate_history(self._root, instance)
        data = b"\n".join((*part.lines, b""))
        try:
            if part.purged:
                with suppress(FileNotFoundError):
                    self._disk.unlink(file)
                with suppress(OSError):  # a log is an aid: the doctor finds one that stays
                    remove_log(self._disk, self._root, instance)
            elif part.begins_file:
                # Overwrite in place, since the journal holds everything: creating files is the slow part.
                self._make_shard(folder)
                missing = not self._disk.exists(file)
                if not missing:
                    self._disk.truncate(file, 0)
                self._disk.append_once(file, data, create=missing)
            else:
                self._disk.truncate(file, self._length_before(instance, file, part))
                self._disk.append_once(file, data, create=False)
        except OSError as error:
            raise make_fail_stop_error(error, file) from error
        self._mark_unsynced(folder, file)

    def append_missing(self, instance: str, part: JournalPart) -> None:
        """Append the lines of a part that a damaged file lacks, for a repair to find."""
        folder, file = locate_history(self._root, instance)
        try:
            self._make_shard(folder)
            data = self._disk.read(file) if self._disk.exists(file) else None
            known = set((data or b"").split(b"\n"))
            missing = [line for line in part.lines if line not in known]
            if missing:
                end = b"\n" if data and not data.endswith(b"\n") else b""
                self._disk.append_once(file, end + b"\n".join((*missing, b"")), create=data is None)
        except OSError as error:
            raise make_fail_stop_error(error, file) from error
        self._mark_unsynced(folder, file)

    def _length_before(self, instance: str, file: str, part: JournalPart) -> int:
        """Return the size of the lines before the first of the part; raise DamagedHub if they aren't all there."""
        found = read_history(self._disk, self._root, instance)
        if found is None:
            raise DamagedHub(f"{file} is missing, and the journal only has its records from n {part.first} on")
        if not is_contiguous(found, part):
            raise DamagedHub(
                f"{file}: byte {found.good_bytes}: record n {found.last + 1} of execution {part.execution} is damaged,"
                f" and the journal begins at n {part.first}; run: durable doctor"
            )
        keep = part.first - found.first
        return sum(map(len, found.lines[:keep])) + keep

    def _create_file(self, folder: str, file: str, data: bytes) -> None:
        try:
            if folder not in self._known_shards:
                self._make_shard(folder)
            self._disk.append_once(file, data, create=True)
        except FileExistsError:
            self._replace_file(file, data)

    def _replace_file(self, file: str, data: bytes) -> None:
        temporary = f"{file}.tmp"
        try:
            self._disk.create(temporary, data, sync=False)
        except FileExistsError:
            self._disk.unlink(temporary)
            self._disk.create(temporary, data, sync=False)
        self._disk.rename(temporary, file)

    def _make_shard(self, folder: str) -> None:
        if not self._disk.exists(folder):
            self._disk.make_folder(folder)
            self._unsynced.folders.add(folder.rpartition("/")[0])
        self._known_shards.add(folder)

    def _mark_unsynced(self, folder: str, file: str) -> None:
        self._unsynced.files.add(file)
        self._unsynced.folders.add(folder)


class CompletedFiles(NamedTuple):
    """The journal's part about each instance, and the reasons why some files can't be completed: they are damaged."""

    parts: dict[str, JournalPart]
    damaged: dict[str, str]


def complete_files(writer: HistoryWriter, commits: Iterable[Commit]) -> CompletedFiles:
    """Bring the files to the state in the commits; repeating this changes nothing.

    A file that is damaged before the first line in the journal keeps its content; all of its lines in the journal are
    appended.
    """
    found = parts_by_instance(commits)
    damaged: dict[str, str] = {}
    for instance, part in found.items():
        try:
            writer.restore(instance, part)
        except DamagedHub as error:
            damaged[instance] = str(error)
            writer.append_missing(instance, part)
    return CompletedFiles(found, damaged)
