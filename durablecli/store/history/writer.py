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
from durablecli.store.journal.commits import Commit, Purged, Write

FOLDER = "instances"
ENTITIES = "entities"
_SYNC_ALL_ABOVE = 64


class History(NamedTuple):
    """The whole lines of one file; `good` counts the bytes up to the first bad line, `whole` says there is none.

    A file whose first line is bad has no instance and no execution. `broken` says that the bad line has an end: it
    isn't one that is just being written. `first` is the `n` of the first line.
    """

    instance: str
    execution: str
    lines: list[bytes]
    good: int
    whole: bool
    broken: bool = False
    first: int = 1

    @property
    def last(self) -> int:
        """The `n` of the last whole line, 0 if there is none."""
        return self.first - 1 + len(self.lines)


class Touched(NamedTuple):
    """Files and folders that were written and not synced."""

    files: set[str]
    folders: set[str]


class Claim(msgspec.Struct):
    """What the journal's tail says about one instance: the lines from `first` on, or that it is gone.

    `more` and `fresh` as in Write.
    """

    execution: str
    first: int
    lines: list[bytes]
    more: bool = False
    gone: bool = False
    fresh: bool = False

    @property
    def begins(self) -> bool:
        """Whether these lines are all that the file holds."""
        return self.first == 1 or self.fresh

    @property
    def last(self) -> int:
        return self.first - 1 + len(self.lines)


class _Head(msgspec.Struct):
    n: int
    instance: str
    execution: str


_decode_head = msgspec.json.Decoder(_Head).decode


@lru_cache(65536)
def _place(root: str, instance: str) -> tuple[str, str]:
    if is_entity_id(instance):
        folder, name = f"{root}/{ENTITIES}/{shard(instance)}", entity_file_name(instance)
    else:
        folder, name = f"{root}/{FOLDER}/{shard(instance)}", file_name(instance)
    return folder, f"{folder}/{name}.jsonl"


def path(root: str, instance: str) -> str:
    """Where the history of an instance, or the log of an entity, stands."""
    return _place(root, instance)[1]


class Histories:
    """The writer. Nothing here is synced but by `sync`; the journal holds all of it until then."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self._shards: set[str] = set()
        self._touched = Touched(set(), set())
        # A checkpoint's thread swaps what was touched, and must not miss a write that is under way.
        self._guard = threading.Lock()

    def publish(self, writes: Iterable[Write]) -> None:
        """Append lines that are in the journal, so that everybody sees them. Purges of the same commit come first."""
        with self._guard:
            for write in writes:
                folder, file = _place(self._root, write.instance)
                data = b"\n".join((*write.lines, b""))
                try:
                    if write.begins:
                        self._begin(folder, file, data)
                    else:
                        self._disk.append_once(file, data, create=False)
                except OSError as error:
                    raise _refused(file, error) from error
                self._touch(folder, file)

    def remove(self, purged: Iterable[Purged]) -> None:
        """Take histories away whose purge is in the journal."""
        with self._guard:
            for each in purged:
                folder, file = _place(self._root, each.instance)
                try:
                    with suppress(FileNotFoundError):
                        self._disk.unlink(file)
                except OSError as error:
                    raise _refused(file, error) from error
                self._touch(folder, file)

    def touched(self) -> Touched:
        """What was written since the last call."""
        with self._guard:
            found, self._touched = self._touched, Touched(set(), set())
        return found

    def sync(self, touched: Touched) -> None:
        """Return when that is on disk: bytes, and names made, replaced and taken away."""
        try:
            if len(touched.files) > _SYNC_ALL_ABOVE and self._disk.can_sync_all:
                # One for each folder of shards: they may be on file systems of their own.
                for above in {file.rsplit("/", 2)[0] for file in touched.files}:
                    self._disk.sync_all(above)
                return
            for file in touched.files:
                with suppress(FileNotFoundError):
                    self._disk.sync_file(file)
            for folder in touched.folders:
                with suppress(FileNotFoundError):
                    self._disk.sync_folder(folder)
        except OSError as error:
            raise _refused(f"{self._root}/{FOLDER}", error) from error

    def restore(self, instance: str, claim: Claim) -> None:
        """Bring one file to what the journal's tail says, whatever of it is there already.

        All of it is written again, for what a dead process left in the page cache may never reach the disk.
        """
        folder, file = _place(self._root, instance)
        data = b"\n".join((*claim.lines, b""))
        try:
            if claim.gone:
                with suppress(FileNotFoundError):
                    self._disk.unlink(file)
            elif claim.begins:
                # In place, since the journal holds all of it: making files is what takes the time.
                self._make_shard(folder)
                missing = not self._disk.exists(file)
                if not missing:
                    self._disk.truncate(file, 0)
                self._disk.append_once(file, data, create=missing)
            else:
                self._disk.truncate(file, self._foundation(instance, file, claim))
                self._disk.append_once(file, data, create=False)
        except OSError as error:
            raise _refused(file, error) from error
        self._touch(folder, file)

    def append_missing(self, instance: str, claim: Claim) -> None:
        """Put the lines of a claim that a damaged file lacks behind it, for a repair to find them there."""
        folder, file = _place(self._root, instance)
        try:
            self._make_shard(folder)
            data = self._disk.read(file) if self._disk.exists(file) else None
            known = set((data or b"").split(b"\n"))
            missing = [line for line in claim.lines if line not in known]
            if missing:
                end = b"\n" if data and not data.endswith(b"\n") else b""
                self._disk.append_once(file, end + b"\n".join((*missing, b"")), create=data is None)
        except OSError as error:
            raise _refused(file, error) from error
        self._touch(folder, file)

    def _foundation(self, instance: str, file: str, claim: Claim) -> int:
        """The bytes of the lines before the claim's first; raises DamagedHub if they aren't all there."""
        found = read(self._disk, self._root, instance)
        if found is None:
            raise DamagedHub(f"{file} is missing, and the journal only has its records from n {claim.first} on")
        if not reaches(found, claim):
            raise DamagedHub(
                f"{file}: byte {found.good}: record n {found.last + 1} of execution {claim.execution} is damaged,"
                f" and the journal begins at n {claim.first}; see `durable doctor`"
            )
        keep = claim.first - found.first
        return sum(map(len, found.lines[:keep])) + keep

    def _begin(self, folder: str, file: str, data: bytes) -> None:
        try:
            if folder not in self._shards:
                self._make_shard(folder)
            self._disk.append_once(file, data, create=True)
        except FileExistsError:
            self._replace(file, data)

    def _replace(self, file: str, data: bytes) -> None:
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
            self._touched.folders.add(folder.rpartition("/")[0])
        self._shards.add(folder)

    def _touch(self, folder: str, file: str) -> None:
        self._touched.files.add(file)
        self._touched.folders.add(folder)


def _refused(file: str, error: OSError) -> StorageError:
    return StorageError(f"{file}: {error.strerror or error}; nothing more is accepted. Mend the disk, then start again")


def read(disk: Disk, root: str, instance: str) -> History | None:
    """The history of an instance as its file has it, None if there is none."""
    return read_file(disk, path(root, instance), instance)


def read_whole(disk: Disk, root: str, instance: str) -> History | None:
    """The same for whoever goes on behind it: raises DamagedHub where a line is bad.

    What is appended behind a bad line is never read again, and so would be lost.
    """
    found = read(disk, root, instance)
    if found is not None and not found.whole:
        raise damaged(path(root, instance), found)
    return found


def damaged(file: str, found: History) -> InstanceSetAside:
    """The error that names the first bad line of a file."""
    place = f"{file}: byte {found.good}: record n {found.last + 1}"
    return InstanceSetAside(f"{place} is damaged; stop the engine and run `durable doctor --repair`")


def owner(file: str, found: History) -> str | None:
    """Whose file this is, by its first line or its name; None if neither says so."""
    return found.instance or parse_file_name(file.rpartition("/")[2].removesuffix(".jsonl"))


def read_file(disk: Disk, file: str, instance: str | None = None) -> History | None:
    """The same by path; `instance` is whose it must be, if that is known."""
    try:
        data = disk.read(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        head = _decode_head(b"%b}" % data[: max(data.find(b"\n"), 0)][: -len(',"crc":"01234567"}')])
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


def files(disk: Disk, root: str) -> Iterator[str]:
    """The paths of the histories of all instances, and then of the logs of all entities."""
    for folder in folders(disk, root):
        for name in sorted(disk.listdir(folder)):
            if name.endswith(".jsonl"):
                yield f"{folder}/{name}"


def folders(disk: Disk, root: str) -> Iterator[str]:
    """The paths of the folders that they stand in."""
    for above in (FOLDER, ENTITIES):
        for name in sorted(disk.listdir(f"{root}/{above}")):
            yield f"{root}/{above}/{name}"


def claims(commits: Iterable[Commit]) -> dict[str, Claim]:
    """What commits say about each instance: only what follows its last beginning or purge counts."""
    found: dict[str, Claim] = {}
    for commit in commits:
        for gone in commit.purged:
            found[gone.instance] = Claim(gone.execution, 1, [], gone=True)
        for write in commit.writes:
            claim = found.get(write.instance)
            if write.first == 1 or claim is None:
                found[write.instance] = _claim(write)
                continue
            if claim.gone or claim.execution != write.execution or claim.last + 1 != write.first:
                raise DamagedHub(
                    f"the journal's commit {commit.c} writes n {write.first} of {write.instance!r}, execution"
                    f" {write.execution}, where it doesn't belong; restore the hub from a backup"
                )
            if write.fresh:
                found[write.instance] = _claim(write)
            else:
                claim.lines += write.lines
                claim.more = write.more
    return found


def _claim(write: Write) -> Claim:
    return Claim(write.execution, write.first, list(write.lines), write.more, fresh=write.fresh)


def reaches(found: History, claim: Claim) -> bool:
    """Whether a file holds every line between its beginning and the claim's first."""
    return found.execution == claim.execution and found.first <= claim.first <= found.last + 1


class Completed(NamedTuple):
    """What the journal said about each instance, and why some of these can't be completed: their files are damaged."""

    claims: dict[str, Claim]
    damaged: dict[str, str]


def complete(histories: Histories, commits: Iterable[Commit]) -> Completed:
    """Bring the files to what the commits say; doing it again changes nothing.

    A file that is damaged before the first line that the journal has is left as it is, with all lines that the journal
    has of it behind.
    """
    found = claims(commits)
    damaged: dict[str, str] = {}
    for instance, claim in found.items():
        try:
            histories.restore(instance, claim)
        except DamagedHub as error:
            damaged[instance] = str(error)
            histories.append_missing(instance, claim)
    return Completed(found, damaged)


def read_live(disk: Disk, root: str, journal_commits: Iterable[Commit], instance: str) -> History | None:
    """The history while an engine may be writing: the file's whole prefix and the journal's lines beyond it.

    The journal must have been read before this reads the file, else lines could fall in between.
    """
    return merge(read(disk, root, instance), claims(journal_commits).get(instance), instance)


def merge(found: History | None, claim: Claim | None, instance: str) -> History | None:
    """What a file holds and what the journal said a moment before, together.

    By now the file may be a later one than the journal spoke of: of a later execution, or begun anew in the same one.
    """
    if claim is None or (found is not None and found.lines and _age(found.execution) > _age(claim.execution)):
        return found
    if claim.gone:
        return None
    if found is None or found.execution != claim.execution or (claim.fresh and found.first < claim.first):
        if not claim.begins:
            return found
        return History(instance, claim.execution, claim.lines, 0, True, first=claim.first)
    if not reaches(found, claim) or found.last >= claim.last:
        return found
    lines = found.lines + claim.lines[found.last + 1 - claim.first :]
    return History(instance, claim.execution, lines, found.good, True, first=found.first)


def _age(execution: str) -> int:
    return int(execution, 16)
