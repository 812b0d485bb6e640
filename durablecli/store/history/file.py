"""The file of one history: a line per record, of an instance or an entity.

A file is good up to its first bad line. Where the journal reaches, it says what belongs behind; where it doesn't, a
bad line is damage. A file begins with record n 1; that of an entity may begin in the middle of its execution, with a
snapshot and whatever `n` that has.
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
from durablecli.store.disk import Disk
from durablecli.store.layout import ENTITIES_FOLDER, INSTANCES_FOLDER


class History(NamedTuple):
    """The whole lines of one file; `good_bytes` counts the bytes before the first bad line, `is_whole`: there is none.

    A file whose first line is bad has no instance and no execution. `is_damaged`: the bad line has an end, so it
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


class FirstRecord(msgspec.Struct):
    """The fields at the beginning of a file's first line."""

    n: int
    instance: str
    execution: str


_decode_first_record = msgspec.json.Decoder(FirstRecord).decode


def try_decode_first_record(line: bytes) -> FirstRecord | None:
    """Read the first line of a file, without checking its crc; None if that can't be done."""
    try:
        return _decode_first_record(b"%b}" % line[:-CRC_SUFFIX_LENGTH])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


@lru_cache(65536)
def locate_history(root: str, instance: str) -> tuple[str, str]:
    if is_entity_id(instance):
        folder, name = f"{root}/{ENTITIES_FOLDER}/{shard(instance)}", entity_file_name(instance)
    else:
        folder, name = f"{root}/{INSTANCES_FOLDER}/{shard(instance)}", file_name(instance)
    return folder, f"{folder}/{name}.jsonl"


def history_path(root: str, instance: str) -> str:
    """The path of the history of an instance, or of the log of an entity."""
    return locate_history(root, instance)[1]


def read_history(disk: Disk, root: str, instance: str) -> History | None:
    """The history of an instance as its file has it, None if there is none."""
    return read_history_file(disk, history_path(root, instance), instance)


def read_whole_history(disk: Disk, root: str, instance: str) -> History | None:
    """Read a history to append to it: raises DamagedHub where a line is bad.

    What is appended behind a bad line is never read again, and so would be lost.
    """
    found = read_history(disk, root, instance)
    if found is not None and not found.is_whole:
        raise make_damage_error(history_path(root, instance), found)
    return found


def make_damage_error(file: str, history: History) -> InstanceSetAside:
    """The error that names the first bad line of a file."""
    place = f"{file}: byte {history.good_bytes}: record n {history.last + 1}"
    return InstanceSetAside(f"{place} is damaged; stop the engine, then run: durable doctor --repair")


def instance_of_file(file: str, history: History) -> str | None:
    """Whose file this is, by its first line or its name; None if neither says so."""
    return history.instance or parse_file_name(file.rpartition("/")[2].removesuffix(".jsonl"))


def read_history_file(disk: Disk, file: str, instance: str | None = None) -> History | None:
    """The same by path; `instance` is whose it must be, if that is known."""
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
