"""Remembers which history files exist: most ids that an engine looks up are new, and need no access to the disk."""

from __future__ import annotations

from collections import Counter

from durablecli.store.disk import Disk

_MIN_REMOVED = 64


class KnownFiles:
    """The history files, for the one process that creates them. A folder is listed when it is first asked about, and
    again when half of what is known of it has been removed."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._folders: dict[str, set[int]] = {}
        self._removed_counts: Counter[str] = Counter()

    def may_exist(self, path: str) -> bool:
        """Whether the file exists. Also true, seldom, for others."""
        folder, _, name = path.rpartition("/")
        return hash(name) in self._list_once(folder)

    def add(self, path: str) -> None:
        """Note that a file was created."""
        folder, _, name = path.rpartition("/")
        known = self._folders.get(folder)
        if known is not None:
            known.add(hash(name))

    def count_removed(self, path: str) -> None:
        """Note that a file was removed. It may still be reported to exist."""
        folder = path.rpartition("/")[0]
        self._removed_counts[folder] += 1
        if self._removed_counts[folder] > max(_MIN_REMOVED, len(self._folders.get(folder, ())) // 2):
            self._folders.pop(folder, None)
            del self._removed_counts[folder]

    def _list_once(self, folder: str) -> set[int]:
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = set(map(hash, self._disk.listdir(folder)))
        return known
