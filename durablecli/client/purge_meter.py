"""Measures what the purge of instances has freed, from their files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from durablecli.client.polling import Poller
from durablecli.model.status import ENDED_STATUSES, InstanceSummary
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.file import history_path
from durablecli.store.history.spilled_files import measure_spilled_files
from durablecli.store.logs.log_files import measure_log

_PARENTS_PER_QUERY = 1_000
_ALL = 1_000_000_000
_REMOVAL_TIMEOUT = 0.5
"""The seconds that an engine is given in all to remove the files of instances whose purge it has accepted."""

FindChildren = Callable[[Sequence[str], int], dict[str, list[InstanceSummary]]]


@dataclass(frozen=True)
class Freed:
    """How many instances are gone, and the bytes that their histories and logs had."""

    count: int
    bytes: int


class PurgeMeter:
    """Measures some instances and the ended sub-orchestrations below them, and later which of them are gone.

    A sub-orchestration counts for the instance that it is deleted with, unless it was itself chosen.
    """

    def __init__(self, root: str, find_children: FindChildren, chosen: Iterable[str], disk: Disk | None = None) -> None:
        self._root = root
        self._disk = disk or LocalDisk()
        self._sizes: dict[str, int] = {}
        self._poller: Poller | None = None
        self._trees: dict[str, list[str]] = {id: [id] for id in chosen}
        owners = {id: id for id in self._trees}
        waiting = list(owners)
        while waiting:
            parents, waiting = waiting[:_PARENTS_PER_QUERY], waiting[_PARENTS_PER_QUERY:]
            for parent, children in find_children(parents, _ALL).items():
                for child in children:
                    if child.id not in owners and child.status in ENDED_STATUSES:
                        owners[child.id] = owners[parent]
                        self._trees[owners[parent]].append(child.id)
                        waiting.append(child.id)
        for id in owners:
            with suppress(OSError):
                size = self._disk.size(history_path(root, id)) + measure_log(self._disk, root, id)
                self._sizes[id] = size + measure_spilled_files(self._disk, root, id)

    def measure_freed(self, id: str) -> Freed:
        """Return what the purge of a chosen instance has freed until now."""
        gone = [each for each in self._trees.get(id, ()) if each in self._sizes and not self._exists(each)]
        return Freed(len(gone), sum(self._sizes[each] for each in gone))

    def measure_all_freed(self) -> Freed:
        """Return what the purges of all chosen instances have freed until now."""
        each = [self.measure_freed(id) for id in self._trees]
        return Freed(sum(freed.count for freed in each), sum(freed.bytes for freed in each))

    def _exists(self, id: str) -> bool:
        path = history_path(self._root, id)
        self._poller = poller = self._poller or Poller(_REMOVAL_TIMEOUT)
        while self._disk.exists(path):
            if poller.is_expired():
                return True
            poller.pause()
        return False
