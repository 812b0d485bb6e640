"""The writer of spilled records: files that are on disk before the commit that refers to them, and removed once the
history that refers to them is purged or replaced on disk.

A crash before the commit leaves files of commits that the journal doesn't have; they are removed when the hub is
opened. A crash after it leaves the purge or the replacement in the journal, so that it is noted again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import suppress

from durablecli.model.spilled_line import Stub, is_stub, make_stub, parse_stub
from durablecli.store.disk import Disk
from durablecli.store.history.spilled_files import (
    iter_spilled_folders,
    parse_spilled_name,
    read_line,
    spilled_folder,
    spilled_path,
)
from durablecli.store.journal.commits import Commit
from durablecli.store.layout import PAYLOADS_FOLDER
from durablecli.store.os_errors import make_fail_stop_error

RemovableFiles = dict[str, tuple[int, int]]
"""By folder, the execution and the `n` of the first record whose file is still needed."""


class SpillWriter:
    """Writes and removes the spilled records of one hub."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self._above = f"{root}/{PAYLOADS_FOLDER}"
        self._current: dict[str, bytes] = {}
        """By path, the files of the commit that is being built."""
        self._queued: deque[tuple[int, dict[str, bytes]]] = deque()
        """Those of commits that are to be written, by the number of the commit."""
        self._folders = set(iter_spilled_folders(disk, root))
        self._known_folders: set[str] = set()
        self._removable: RemovableFiles = {}
        # Files are written by the journal's thread, and removed by that of checkpoints.
        self._guard = threading.Lock()

    @property
    def has_current(self) -> bool:
        """Whether the commit that is being built has spilled records."""
        return bool(self._current)

    # ── writing ────────────────────────────────────────────────────────────────────────────────────────────────

    def discard_current(self) -> None:
        """Forget the files of a commit that was given up."""
        if self._current:
            self._current = {}

    def add(self, line: bytes, instance: str, execution: str, commit: int, seed: int) -> Stub:
        """Spill the line of a record of the commit that is being built; return the stub to write in its place."""
        stub = make_stub(line, instance, execution, commit, seed)
        self._current[spilled_path(self._root, stub.record)] = line + b"\n"
        return stub

    def enqueue_current(self, commit: int) -> None:
        """Have the files of the commit that is being built written before that commit."""
        self._queued.append((commit, self._current))
        self._current = {}

    def write_queued(self, upto: int) -> None:
        """Write the files of commits up to this number; on return they are on disk. Raises StorageError."""
        while self._queued and self._queued[0][0] <= upto:
            files = self._queued[0][1]
            self._write(files)
            self._queued.popleft()  # not before: until then the content is read from here

    def _write(self, files: dict[str, bytes]) -> None:
        path = self._above
        try:
            with self._guard:
                folders: set[str] = set()
                for path, data in files.items():
                    folder = path.rpartition("/")[0]
                    self._make_folder(folder)
                    folders.add(folder)
                    with suppress(FileNotFoundError):
                        self._disk.unlink(f"{path}.tmp")
                    self._disk.create(f"{path}.tmp", data, sync=True)
                    self._disk.rename(f"{path}.tmp", path)
                for folder in folders:
                    self._disk.sync_folder(folder)
        except OSError as error:
            raise make_fail_stop_error(error, path) from error

    def _make_folder(self, folder: str) -> None:
        """Create the folder of an instance, durably, with those above it."""
        shard = folder.rpartition("/")[0]
        for each, above in ((self._above, self._root), (shard, self._above), (folder, shard)):
            if each not in self._known_folders:
                self._disk.make_folder(each)
                self._disk.sync_folder(above)  # even if it existed: a process that created it may have died before this
                self._known_folders.add(each)
        self._folders.add(folder)

    # ── reading ────────────────────────────────────────────────────────────────────────────────────────────────

    def read_line(self, line: bytes) -> bytes:
        """Return the line of a record, as `spilled_files.read_line`; its file may not be written yet."""
        if not is_stub(line):
            return line
        path = spilled_path(self._root, parse_stub(line))
        for files in (self._current, *(files for _, files in tuple(self._queued))):
            if path in files:
                return files[path][:-1]
        return read_line(self._disk, self._root, line)

    # ── removing ───────────────────────────────────────────────────────────────────────────────────────────────

    def note_removed(self, commit: Commit) -> None:
        """Note which files a commit makes superfluous: those of purged and replaced histories. It must be on disk."""
        if not self._folders:
            return
        for purged in commit.purged:
            # A damaged history may not even tell its execution; every earlier one is purged then.
            first = int(purged.execution, 16) + 1 if purged.execution else commit.c
            self._keep_from(purged.instance, first, 0)
        for write in commit.writes:
            if write.begins_file:
                self._keep_from(write.instance, int(write.execution, 16), write.first)

    def _keep_from(self, instance: str, execution: int, n: int) -> None:
        folder = spilled_folder(self._root, instance)
        if folder in self._folders:
            self._removable[folder] = max(self._removable.get(folder, (0, 0)), (execution, n))

    def take_removable(self) -> RemovableFiles:
        """Return which files are superfluous since the last call."""
        found, self._removable = self._removable, {}
        return found

    def remove(self, removable: RemovableFiles) -> None:
        """Remove superfluous files, durably. Raises StorageError.

        The commits that make them superfluous must be on disk, and stay in the journal until this returns.
        """
        for folder, needed in removable.items():
            with self._guard:
                try:
                    self._clean_folder(folder, self._list_superfluous(folder, needed))
                except OSError as error:
                    raise make_fail_stop_error(error, folder) from error

    def _list_superfluous(self, folder: str, needed: tuple[int, int]) -> list[str]:
        return [
            name
            for name in self._disk.listdir(folder)
            if (found := parse_spilled_name(name)) is not None and (found.execution, found.n) < needed
        ]

    def remove_uncommitted(self, next_commit: int) -> None:
        """Remove what a crash has left: files of commits that aren't in the journal, and unfinished ones."""
        for folder in list(self._folders):
            names = self._disk.listdir(folder)
            left = [
                name
                for name in names
                if name.endswith(".tmp")
                or ((found := parse_spilled_name(name)) is not None and found.commit >= next_commit)
            ]
            if left or not names:
                self._clean_folder(folder, left)

    def _clean_folder(self, folder: str, names: Iterable[str]) -> None:
        """Remove files of an instance, and its folder if that is empty then."""
        for name in names:
            with suppress(FileNotFoundError):
                self._disk.unlink(f"{folder}/{name}")
        if self._disk.listdir(folder):
            self._disk.sync_folder(folder)
            return
        with suppress(FileNotFoundError):
            self._disk.remove_folder(folder)
        self._folders.discard(folder)
        self._known_folders.discard(folder)
        self._disk.sync_folder(folder.rpartition("/")[0])
