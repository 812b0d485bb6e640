"""The history file of one instance or entity: one record per line.

A file is valid up to its first bad line. If the journal has the records that belong there, the file is completed from
it; otherwise a bad line is damage. A file begins with record n 1; that of an entity may begin in the middle of its
execution, with a snapshot that has any `n`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import msgspec

from durablecli.errors import InstanceSetAside
from durablecli.model.codec import CRC_SUFFIX_LENGTH, CorruptLine, crc_seed, verify_crc
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import entity_file_name, file_name, parse_file_name, shard
from durablecli.model.spilled_line import is_stub
from durablecli.store.disk import Disk
from durablecli.store.history.spilled_files import resolve_lines
from durablecli.store.layout import ENTITIES_FOLDER, INSTANCES_FOLDER


class History(NamedTuple):
    """The intact lines of one file. `good_bytes` counts the bytes before the first bad line; `is_whole`: there is none.

    A file whose first line is bad has no instance and no execution. `is_damaged`: the bad line is terminated, so it
    isn't just being written. `first` is the `n` of the first line.

    `lines` may have stubs in the place of spilled records, unless `resolve_history` has read these: `spilled_bytes` is
    their size then, and `damage` says why one can't be read.
    """

    instance: str
    execution: str
    lines: list[bytes]
    good_bytes: int
    is_whole: bool
    is_damaged: bool = False
    first: int = 1
    damage: str = ""
    spilled_bytes: int = 0

    @property
    def last(self) -> int:
        """The `n` of the last intact line, 0 if there is none."""
        return self.first - 1 + len(self.lines)

    @property
    def size(self) -> int:
        """The size of the good lines of the file and of their spilled records, in bytes."""
        return self.good_bytes + self.spilled_bytes


class FirstRecord(msgspec.Struct):
    """The fields at the beginning of a file's first line."""

    n: int
    instance: str
    execution: str


_decode_first_record = msgspec.json.Decoder(FirstRecord).decode


def try_decode_first_record(line: bytes) -> FirstRecord | None:
    """Decode the first line of a file without checking its crc; None if that fails."""
    try:
        return _decode_first_record(b"%b}" % line[:-CRC_SUFFIX_LENGTH])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


@lru_cache(8192)
def locate_history(root: str, instance: str) -> tuple[str, str]:
    """Return the folder and the path of a history."""
    if is_entity_id(instance):
        folder, name = _shard_folder(root, ENTITIES_FOLDER, shard(instance)), entity_file_name(instance)
    else:
        folder, name = _shard_folder(root, INSTANCES_FOLDER, shard(instance)), file_name(instance)
    return folder, f"{folder}/{name}.jsonl"


@lru_cache(1024)
def _shard_folder(root: str, above: str, name: str) -> str:
    return f"{root}/{above}/{name}"


def history_path(root: str, instance: str) -> str:
    """Return the path of the history of an instance, or of the log of an entity."""
    return locate_history(root, instance)[1]


def read_history(disk: Disk, root: str, instance: str) -> History | None:
    """Read the history of an instance from its file; None if there is none."""
    return read_history_file(disk, history_path(root, instance), instance)


def read_whole_history(disk: Disk, root: str, instance: str) -> History | None:
    """Read a history in order to append to it, with its spilled records; raise DamagedHub if a line is bad.

    Records appended after a bad line would never be read again.
    """
    found = resolve_history(disk, root, read_history(disk, root, instance))
    if found is not None and not found.is_whole:
        raise make_damage_error(history_path(root, instance), found)
    return found


def resolve_history(disk: Disk, root: str, history: History | None) -> History | None:
    """Read the spilled records of a history in the place of their stubs.

    One whose file is missing or altered ends the history like a bad line.
    """
    if history is None or not any(map(is_stub, history.lines)):
        return history
    found = resolve_lines(disk, root, history.lines)
    if not found.damage:
        return history._replace(lines=found.lines, spilled_bytes=found.spilled_bytes)
    good = history.lines[: len(found.lines)]
    return history._replace(
        lines=found.lines,
        good_bytes=sum(map(len, good)) + len(good),
        is_whole=False,
        is_damaged=True,
        damage=found.damage,
        spilled_bytes=found.spilled_bytes,
    )


def make_damage_error(file: str, history: History) -> InstanceSetAside:
    """Make the error that names the first bad line of a file."""
    place = f"{file}: byte {history.good_bytes}: record n {history.last + 1}"
    damage = f" is damaged: {history.damage}" if history.damage else " is damaged"
    return InstanceSetAside(f"{place}{damage}; stop the engine, then run: durable doctor --repair")


def instance_of_file(file: str, history: History) -> str | None:
    """Return the instance that a file belongs to, by its first line or its name; None if neither identifies it."""
    return history.instance or parse_file_name(file.rpartition("/")[2].removesuffix(".jsonl"))


def read_history_file(disk: Disk, file: str, instance: str | None = None) -> History | None:
    """Read a history by path; `instance` is the expected owner, if known."""
    try:
        data = disk.read(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    head = try_decode_first_record(data[: max(data.find(b"\n"), 0)])
    if head is None or (instance is not None and head.instance != instance):
        return History("", "", [], 0, False)
    first = head.n if is_entity_id(head.instance) else 1
    lines, good = _whole_lines(data, crc_seed(head.instance, head.execution), first)
    if not lines:
        return History("", "", [], 0, False)
    broken = data.find(b"\n", good) >= 0
    return History(head.instance, head.execution, lines, good, good == len(data), broken, first)


def _whole_lines(data: bytes, start: int, first: int) -> tuple[list[bytes], int]:
    """Return the lines before the first one with a bad crc or number, and their size in bytes."""
    lines: list[bytes] = []
    good = 0
    pieces = data.split(b"\n")
    pieces.pop()  # the text after the last line feed: empty, or an unterminated line
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
    """Yield the paths of the histories of all instances, and then of the logs of all entities."""
    for folder in history_folders(disk, root):
        for name in sorted(disk.listdir(folder)):
            if name.endswith(".jsonl"):
                yield f"{folder}/{name}"


def history_folders(disk: Disk, root: str) -> Iterator[str]:
    """Yield the paths of the folders that contain them."""
    for above in (INSTANCES_FOLDER, ENTITIES_FOLDER):
        for name in sorted(disk.listdir(f"{root}/{above}")):
            yield f"{root}/{above}/{name}"
