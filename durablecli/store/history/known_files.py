"""Remembers which history files exist: most ids that an engine looks up are new, and need no access to the disk."""

from __future__ import annotations

from durablecli.store.disk import Disk


class KnownFiles:
    """The history files, for the one process that creates them. A folder is listed when it is first asked about."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._folders: dict[str, set[int]] = {}

    def may_exist(self, path: str) -> bool:
        """Whether the file exists. Also true, seldom, for others."""
        folder, _, name = path.rpartition("/")
        return hash(name) in self._list_once(folder)

    def add(self, path: str) -> None:
        """Note that a file is about to be created."""
        folder, _, name = path.rpartition("/")
        self._list_once(folder).add(hash(name))

    def _list_once(self, folder: str) -> set[int]:
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = set(map(hash, self._disk.listdir(folder)))
        return known
