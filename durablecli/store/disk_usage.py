"""How much disk space a hub uses, by its parts."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from durablecli.store import layout

_INDEX = "index"
_OTHER = "other"
_INTERVAL = 15.0
_PAUSE_FACTOR = 100
DISK_PARTS = (
    layout.INSTANCES_FOLDER,
    layout.ENTITIES_FOLDER,
    layout.PAYLOADS_FOLDER,
    layout.JOURNAL_FOLDER,
    layout.INBOX_FOLDER,
    "logs",
    _INDEX,
    layout.DAMAGED_FOLDER,
    _OTHER,
)


@dataclass(frozen=True)
class DiskUsage:
    """The size of the files of each part of a hub, and the space that is free on its file system; all in bytes."""

    parts: Mapping[str, int]
    free: int

    @property
    def total(self) -> int:
        return sum(self.parts.values())


class DiskUsageMeter:
    """Measures the disk usage of a hub again after 15 seconds, or after a hundred times the time that measuring takes.

    So asking often costs little. Any thread may ask; it may have to wait.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._guard = threading.Lock()
        self._last: DiskUsage | None = None
        self._next_at = 0.0

    def read(self) -> DiskUsage:
        """Return the disk usage as of a moment ago."""
        with self._guard:
            began = monotonic()
            if self._last is None or began >= self._next_at:
                self._last = measure_disk_usage(self._root)
                now = monotonic()
                self._next_at = now + max(_INTERVAL, _PAUSE_FACTOR * (now - began))
            return self._last


def measure_disk_usage(root: str) -> DiskUsage:
    """Add up the sizes of all files: about a second for each 200,000 files. Files that vanish meanwhile don't count."""
    sizes: Counter[str] = Counter(dict.fromkeys(DISK_PARTS, 0))
    with suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    sizes[entry.name if entry.name in sizes else _OTHER] += _measure_folder(entry.path)
                else:
                    part = _INDEX if entry.name.startswith(layout.INDEX_FILE) else _OTHER
                    sizes[part] += entry.stat(follow_symlinks=False).st_size
    return DiskUsage(dict(sizes), _measure_free_space(root))


def _measure_folder(path: str) -> int:
    size, folders = 0, [path]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
    return size


def _measure_free_space(root: str) -> int:
    try:
        found = os.statvfs(root)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize
