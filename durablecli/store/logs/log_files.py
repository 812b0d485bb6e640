"""The files of a log: the current one, and the one before it, which the next rotation replaces.

They have the name of the instance's history, so a log without a history is recognized without being read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from durablecli.model.entity_id import is_entity_id
from durablecli.model.ids import entity_file_name, file_name, shard
from durablecli.store.disk import Disk
from durablecli.store.layout import LOGS_FOLDER

_SUFFIX = ".jsonl"
_OLD_SUFFIX = ".old.jsonl"


class LogFiles(NamedTuple):
    """The paths of one log. A file name of an id has no dot, so `old` is never the log of another instance."""

    folder: str
    current: str
    old: str


@lru_cache(8192)
def locate_log(root: str, instance: str) -> LogFiles:
    """Return the paths of the log of an instance or entity."""
    name = entity_file_name(instance) if is_entity_id(instance) else file_name(instance)
    folder = f"{root}/{LOGS_FOLDER}/{shard(instance)}"
    return LogFiles(folder, f"{folder}/{name}{_SUFFIX}", f"{folder}/{name}{_OLD_SUFFIX}")


def remove_log(disk: Disk, root: str, instance: str) -> None:
    """Remove the files of a log, if there are any."""
    files = locate_log(root, instance)
    for path in (files.current, files.old):
        with suppress(FileNotFoundError, NotADirectoryError):
            disk.unlink(path)


def measure_log(disk: Disk, root: str, instance: str) -> int:
    """Return the size of the files of a log; 0 if there are none."""
    size, files = 0, locate_log(root, instance)
    for path in (files.current, files.old):
        with suppress(FileNotFoundError, NotADirectoryError):
            size += disk.size(path)
    return size


def iter_log_files(disk: Disk, root: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each file of a log, with `SHARD/NAME` as in the path of its instance's history."""
    above = f"{root}/{LOGS_FOLDER}"
    for name in sorted(_list_folder(disk, above)):
        for file in sorted(_list_folder(disk, f"{above}/{name}")):
            if file.endswith(_SUFFIX):
                yield f"{above}/{name}/{file}", f"{name}/{file.removesuffix(_SUFFIX).removesuffix('.old')}"


def _list_folder(disk: Disk, path: str) -> list[str]:
    """Return the names in a folder; none in a file, and none behind a link, which are not of this hub."""
    info = disk.stat(path)
    return disk.listdir(path) if info is not None and info.kind == "folder" else []
