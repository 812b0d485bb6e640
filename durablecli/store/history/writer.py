"""The histories: one file per instance and entity, a line per record, written behind the journal, completed from it.

A file is good up to its first bad line. Where the journal reaches, it says what stands behind; where it doesn't, a
bad line is damage. A file begins with record n 1; that of an entity may begin anew in the middle of its execution,
with a snapshot and whatever `n` that has.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import msgspec

from durablecli.errors import DamagedHub, InstanceSetAside, StorageError
from durablecli.model.codec import CorruptLine, crc_seed, verify_crc
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import entity_file_name, file_name, parse_file_name, shard
from durablecli.store.disk import Disk
from durablecli.store.journal.commits import Commit, HistoryWrite, PurgedExecution

INSTANCES_FOLDER = "instances"
ENTITIES_FOLDER = "entities"
_FILE_SYNC_LIMIT = 64


class History(NamedTuple):
    """The whole lines of one file; `good` counts the bytes up to the first bad line, `whole` says there is none.

    A file whose first line is bad has no instance and no execution. `broken` says that the bad line has an end: it
    isn't one that is just being written. `first` is the `n` of the first line.
    """

    instance: str
    execution: str
    lines: list[bytes]
    good_bytes: int
    is_whole: bool
    is_damaged: bool = False
    first: int = 1

    @property
    def last(self) -> int:
        """The `n` of the last whole line, 0 if there is none."""
        return self.first - 1 + len(self.lines)


class UnsyncedFiles(NamedTuple):
    """Files and folders that were written and not synced."""

    files: set[str]
    folders: set[str]


class JournalPart(msgspec.Struct):
    """What the journal's tail says about one instance: the lines from `first` on, or that it is gone.

    `more` and `fresh` as in Write.
    """

    execution: str
    first: int
    lines: list[bytes]
    continues: bool = False
    purged: bool = False
    rewrites_file: bool = False

    @property
    def begins_file(self) -> bool:
        """Whether these lines are all that the file holds."""
        return self.first == 1 or self.rewrites_file

    @property
    def last(self) -> int:
        return self.first - 1 + len(self.lines)


class _FirstRecord(msgspec.Struct):
    n: int
    instance: str
    execution: str


_decode_first_record = msgspec.json.Decoder(_FirstRecord).decode


@lru_cache(65536)
def _locate(root: str, instance: str) -> tuple[str, str]:
    if is_entity_id(instance):
        folder, name = f"{root}/{ENTITIES_FOLDER}/{shard(instance)}", entity_file_name(instance)
    else:
        folder, name = f"{root}/{INSTANCES_FOLDER}/{shard(instance)}", file_name(instance)
    return folder, f"{folder}/{name}.jsonl"


def history_path(root: str, instance: str) -> str:
    """Where the history of an instance, or the log of an entity, stands."""
    return _locate(root, instance)[1]


class HistoryWriter:
    """The writer. Nothing here is synced but by `sync`; the journal holds all of it until then."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self._known_shards: set[str] = set()
        self._unsynced = UnsyncedFiles(set(), set())
        # A checkpoint's thread swaps what was touched, and must not miss a write that is under way.
        self._guard = threading.Lock()

    def publish(self, writes: Iterable[HistoryWrite]) -> None:
        """Append lines that are in the journal, so that everybody sees them. Purges of the same commit come first."""
        with self._guard:
            for write in writes:
                folder, file = _locate(self._root, write.instance)
                data = b"\n".join((*write.lines, b""))
                try:
                    if write.begins_file:
                        self._create_file(folder, file, data)
                    else:
                        self._disk.append_once(file, data, create=False)
                except OSError as error:
                    raise _storage_error(file, error) from error
                self._mark_unsynced(folder, file)

    def remove(self, purged: Iterable[PurgedExecution]) -> None:
        """Take histories away whose purge is in the journal."""
        with self._guard:
            for each in purged:
                folder, file = _locate(self._root, each.instance)
                try:
                    with suppress(FileNotFoundError):
                        self._disk.unlink(file)
                except OSError as error:
                    raise _storage_error(file, error) from error
                self._mark_unsynced(folder, file)

    def take_unsynced(self) -> UnsyncedFiles:
        """What was written since the last call."""
        with self._guard:
            found, self._unsynced = self._unsynced, UnsyncedFiles(set(), set())
        return found

    def sync(self, unsynced: UnsyncedFiles) -> None:
        """Return when that is on disk: bytes, and names made, replaced and taken away."""
        try:
            if len(unsynced.files) > _FILE_SYNC_LIMIT and self._disk.can_sync_all:
                # One for each folder of shards: they may be on file systems of their own.
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
            raise _storage_error(f"{self._root}/{INSTANCES_FOLDER}", error) from error

    def restore(self, instance: str, part: JournalPart) -> None:
        """Bring one file to what the journal's tail says, whatever of it is there already.

        All of it is written again, for what a dead process left in the page cache may never reach the disk.
        """
        folder, file = _locate(self._root, instance)
        data = b"\n".join((*part.lines, b""))
        try:
            if part.purged:
                with suppress(FileNotFoundError):
                    self._disk.unlink(file)
            elif part.begins_file:
                # In place, since the journal holds all of it: making files is what takes the time.
                self._make_shard(folder)
                missing = not self._disk.exists(file)
                if not missing:
                    self._disk.truncate(file, 0)
                self._disk.append_once(file, data, create=missing)
            else:
                self._disk.truncate(file, self._length_before(instance, file, part))
                self._disk.append_once(file, data, create=False)
        except OSError as error:
            raise _storage_error(file, error) from error
        self._mark_unsynced(folder, file)

    def append_missing(self, instance: str, part: JournalPart) -> None:
        """Put the lines of a claim that a damaged file lacks behind it, for a repair to find them there."""
        folder, file = _locate(self._root, instance)
        try:
            self._make_shard(folder)
            data = self._disk.read(file) if self._disk.exists(file) else None
            known = set((data or b"").split(b"\n"))
            missing = [line for line in part.lines if line not in known]
            if missing:
                end = b"\n" if data and not data.endswith(b"\n") else b""
                self._disk.append_once(file, end + b"\n".join((*missing, b"")), create=data is None)
        except OSError as error:
            raise _storage_error(file, error) from error
        self._mark_unsynced(folder, file)

    def _length_before(self, instance: str, file: str, part: JournalPart) -> int:
        """The bytes of the lines before the claim's first; raises DamagedHub if they aren't all there."""
        found = read_history(self._disk, self._root, instance)
        if found is None:
            raise DamagedHub(f"{file} is missing, and the journal only has its records from n {part.first} on")
        if not is_contiguous(found, part):
            raise DamagedHub(
                f"{file}: byte {found.good_bytes}: record n {found.last + 1} of execution {part.execution} is damaged,"
                f" and the journal begins at n {part.first}; see `durable doctor`"
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


def _storage_error(file: str, error: OSError) -> StorageError:
    return StorageError(f"{file}: {error.strerror or error}; nothing more is accepted. Mend the disk, then start again")


def read_history(disk: Disk, root: str, instance: str) -> History | None:
    """The history of an instance as its file has it, None if there is none."""
    return read_history_file(disk, history_path(root, instance), instance)


def read_whole_history(disk: Disk, root: str, instance: str) -> History | None:
    """The same for whoever goes on behind it: raises DamagedHub where a line is bad.

    What is appended behind a bad line is never read again, and so would be lost.
    """
    found = read_history(disk, root, instance)
    if found is not None and not found.is_whole:
        raise make_damage_error(history_path(root, instance), found)
    return found


def make_damage_error(file: str, history: History) -> InstanceSetAside:
    """The error that names the first bad line of a file."""
    place = f"{file}: byte {history.good_bytes}: record n {history.last + 1}"
    return InstanceSetAside(f"{place} is damaged; stop the engine and run `durable doctor --repair`")


def instance_of_file(file: str, history: History) -> str | None:
    """Whose file this is, by its first line or its name; None if neither says so."""
    return history.instance or parse_file_name(file.rpartition("/")[2].removesuffix(".jsonl"))


def read_history_file(disk: Disk, file: str, instance: str | None = None) -> History | None:
    """The same by path; `instance` is whose it must be, if that is known."""
    try:
        data = disk.read(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        head = _decode_first_record(b"%b}" % data[: max(data.find(b"\n"), 0)][: -len(',"crc":"01234567"}')])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return History("", "", [], 0, False)
    if instance is not None and head.instance != instance:
        return History("", "", [], 0, False)
    first = head.n if is_entity_id(head.instance) else 1
    lines, good = _whole_lines(data, crc_seed(head.instance, head.execution), first)
    if not lines:
        return History("", "", [], 0, False)
    broken = data.find(b"\n", good) >= 0
    return History(head.instance, head.execution, lines, good, good == len(data), broken, first)


def _whole_lines(data: bytes, start: int, first: int) -> tuple[list[bytes], int]:
    """The lines up to the first that is bad by crc or by number, and their bytes."""
    lines: list[bytes] = []
    good = 0
    pieces = data.split(b"\n")
    pieces.pop()  # what stands behind the last line feed: nothing, or a line that was never ended
    for n, line in enumerate(pieces, first):
        try:
            verify_crc(line, start)
        except CorruptLine:
            break
        if not line.startswith(b'{"n":%d,' % n):
            break
        lines.append(line)
        good += len(line) + 1
    return lines, good


def history_files(disk: Disk, root: str) -> Iterator[str]:
    """The paths of the histories of all instances, and then of the logs of all entities."""
    for folder in history_folders(disk, root):
        for name in sorted(disk.listdir(folder)):
            if name.endswith(".jsonl"):
                yield f"{folder}/{name}"


def history_folders(disk: Disk, root: str) -> Iterator[str]:
    """The paths of the folders that they stand in."""
    for above in (INSTANCES_FOLDER, ENTITIES_FOLDER):
        for name in sorted(disk.listdir(f"{root}/{above}")):
            yield f"{root}/{above}/{name}"


def parts_by_instance(commits: Iterable[Commit]) -> dict[str, JournalPart]:
    """What commits say about each instance: only what follows its last beginning or purge counts."""
    found: dict[str, JournalPart] = {}
    for commit in commits:
        for purged in commit.purged:
            found[purged.instance] = JournalPart(purged.execution, 1, [], purged=True)
        for write in commit.writes:
            part = found.get(write.instance)
            if write.first == 1 or part is None:
                found[write.instance] = _to_part(write)
                continue
            if part.purged or part.execution != write.execution or part.last + 1 != write.first:
                raise DamagedHub(
                    f"the journal's commit {commit.c} writes n {write.first} of {write.instance!r}, execution"
                    f" {write.execution}, where it doesn't belong; restore the hub from a backup"
                )
            if write.rewrites_file:
                found[write.instance] = _to_part(write)
            else:
                part.lines += write.lines
                part.continues = write.continues
    return found


def _to_part(write: HistoryWrite) -> JournalPart:
    return JournalPart(
        write.execution, write.first, list(write.lines), write.continues, rewrites_file=write.rewrites_file
    )


def is_contiguous(history: History, part: JournalPart) -> bool:
    """Whether a file holds every line between its beginning and the claim's first."""
    return history.execution == part.execution and history.first <= part.first <= history.last + 1


class CompletedFiles(NamedTuple):
    """What the journal said about each instance, and why some of these can't be completed: their files are damaged."""

    parts: dict[str, JournalPart]
    damaged: dict[str, str]


def complete_files(writer: HistoryWriter, commits: Iterable[Commit]) -> CompletedFiles:
    """Bring the files to what the commits say; doing it again changes nothing.

    A file that is damaged before the first line that the journal has is left as it is, with all lines that the journal
    has of it behind.
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


def read_live_history(disk: Disk, root: str, journal_commits: Iterable[Commit], instance: str) -> History | None:
    """The history while an engine may be writing: the file's whole prefix and the journal's lines beyond it.

    The journal must have been read before this reads the file, else lines could fall in between.
    """
    return merge_with_journal(
        read_history(disk, root, instance), parts_by_instance(journal_commits).get(instance), instance
    )


def merge_with_journal(history: History | None, part: JournalPart | None, instance: str) -> History | None:
    """What a file holds and what the journal said a moment before, together.

    By now the file may be a later one than the journal spoke of: of a later execution, or begun anew in the same one.
    """
    if part is None or (
        history is not None
        and history.lines
        and _execution_number(history.execution) > _execution_number(part.execution)
    ):
        return history
    if part.purged:
        return None
    if history is None or history.execution != part.execution or (part.rewrites_file and history.first < part.first):
        if not part.begins_file:
            return history
        return History(instance, part.execution, part.lines, 0, True, first=part.first)
    if not is_contiguous(history, part) or history.last >= part.last:
        return history
    lines = history.lines + part.lines[history.last + 1 - part.first :]
    return History(instance, part.execution, lines, history.good_bytes, True, first=history.first)


def _execution_number(execution: str) -> int:
    return int(execution, 16)
