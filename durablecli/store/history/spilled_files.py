"""The files of spilled records: their paths, and reading what the stubs in a history refer to.

Each instance has a folder of its own, `payloads/3f/ID/`, with one file per spilled record. Its name has the execution,
the `n` and the commit of the record, and the SHA-256 of its content. All of them come from checked fields, so that no
stub can name a file elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from durablecli.model.codec import CorruptLine
from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import entity_file_name, file_name, shard
from durablecli.model.spilled_line import SpilledRecord, is_stub, matches_content, parse_stub
from durablecli.store.disk import Disk
from durablecli.store.layout import PAYLOADS_FOLDER

_NAME_PATTERN = re.compile(r"([0-9a-f]{1,32})-(\d{1,18})-([0-9a-f]{1,16})-[0-9a-f]{64}\.json")


class SpilledFileName(NamedTuple):
    """What the name of a file says about its record."""

    execution: int
    n: int
    commit: int


@lru_cache(8192)
def spilled_folder(root: str, instance: str) -> str:
    """Return the folder with the spilled records of an instance or entity."""
    name = entity_file_name(instance) if is_entity_id(instance) else file_name(instance)
    return f"{root}/{PAYLOADS_FOLDER}/{shard(instance)}/{name}"


def spilled_path(root: str, record: SpilledRecord) -> str:
    """Return the path of the file of a spilled record."""
    content = record.spilled
    name = f"{record.execution}-{record.n}-{content.commit:x}-{content.sha256}.json"
    return f"{spilled_folder(root, record.instance)}/{name}"


def parse_spilled_name(name: str) -> SpilledFileName | None:
    """Parse the name of a file of a spilled record; None if it is no such name."""
    found = _NAME_PATTERN.fullmatch(name)
    return SpilledFileName(int(found[1], 16), int(found[2]), int(found[3], 16)) if found else None


def iter_spilled_folders(disk: Disk, root: str) -> Iterator[str]:
    """Yield the folders of all instances that have spilled records."""
    above = f"{root}/{PAYLOADS_FOLDER}"
    for name in sorted(_list_folder(disk, above)):
        for inner in sorted(_list_folder(disk, f"{above}/{name}")):
            yield f"{above}/{name}/{inner}"


def measure_spilled_files(disk: Disk, root: str, instance: str) -> int:
    """Return the size of the files of an instance's spilled records; 0 if there are none."""
    size, folder = 0, spilled_folder(root, instance)
    for name in _list_folder(disk, folder):
        with suppress(FileNotFoundError):
            size += disk.size(f"{folder}/{name}")
    return size


def _list_folder(disk: Disk, path: str) -> list[str]:
    """Return the names in a folder; none in a file, and none behind a link, which are not of this hub."""
    info = disk.stat(path)
    return disk.listdir(path) if info is not None and info.kind == "folder" else []


def read_line(disk: Disk, root: str, line: bytes) -> bytes:
    """Return the line of a record: the given one, or the one that it is the stub of.

    Raises CorruptLine, naming the file, if that is missing or differs from what was written.
    """
    if not is_stub(line):
        return line
    record = parse_stub(line)
    path = spilled_path(root, record)
    try:
        data = disk.read(path) if disk.size(path) == record.spilled.bytes else b""
    except (FileNotFoundError, NotADirectoryError):
        raise CorruptLine(f"its file {path} is missing") from None
    if not matches_content(data, record.spilled):
        raise CorruptLine(f"its file {path} was altered")
    return data[:-1]


class ResolvedLines(NamedTuple):
    """Lines with the spilled records in the place of their stubs, up to the first that can't be read.

    `spilled_bytes` is the size of the files; `damage` says why a record can't be read, and is empty if all can.
    """

    lines: list[bytes]
    spilled_bytes: int
    damage: str


def resolve_lines(disk: Disk, root: str, lines: Iterable[bytes]) -> ResolvedLines:
    """Read the spilled records among lines."""
    resolved: list[bytes] = []
    size = 0
    for line in lines:
        try:
            full = read_line(disk, root, line)
        except CorruptLine as error:
            return ResolvedLines(resolved, size, str(error))
        if full is not line:
            size += len(full) + 1
        resolved.append(full)
    return ResolvedLines(resolved, size, "")


def measure_lines(lines: Iterable[bytes]) -> int:
    """Return the size of the lines of a history in bytes, with that of the files of spilled records."""
    size = 0
    for line in lines:
        size += len(line) + 1
        if is_stub(line):
            size += parse_stub(line).spilled.bytes
    return size
