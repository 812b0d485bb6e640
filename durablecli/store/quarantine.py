"""The quarantine: instances that the engine skips, because their history is damaged or they fail unexpectedly.

Invariant: one bad instance never stops the hub: it is quarantined with a reason, and the rest of the hub runs.

`set-aside.json` lists them for readers. It is derived: the next engine that opens the hub retries each of them, and
lists those that still fail. Messages to such an instance are kept: see `kept`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.layout import QUARANTINE_FILE
from durablecli.store.list_file import read_list, write_list


class QuarantinedInstance(msgspec.Struct, frozen=True):
    """Why and since when an instance, or entity, is quarantined."""

    instance: str
    reason: str
    since: datetime


_decode = msgspec.json.Decoder(list[QuarantinedInstance]).decode


def read_quarantine(disk: Disk, root: str) -> dict[str, QuarantinedInstance]:
    """Read the instances in the list; none if there is no list, or no readable one."""
    return {each.instance: each for each in read_list(disk, f"{root}/{QUARANTINE_FILE}", _decode)}


class Quarantine:
    """The list of one hub, for its one engine. `save` writes it if it has changed."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._root = root
        self._entries = read_quarantine(disk, root)
        self._saved = dict(self._entries)
        self._unlisted: set[str] = set()

    def take_all(self) -> list[str]:
        """Empty the list; return the instances that were on it, which are to be retried."""
        found = sorted({*self._entries, *self._unlisted})
        self._entries.clear()
        self._unlisted.clear()
        return found

    def add_unlisted(self, instance: str) -> None:
        """Quarantine an instance until it is retried, without listing it: the messages kept for it come first."""
        self._unlisted.add(instance)

    def add(self, instance: str, reason: str) -> None:
        """Add an instance to the list; one already on it keeps its reason."""
        if instance not in self._entries:
            before = self._saved.get(instance)
            since = before.since if before is not None else datetime.now(UTC)
            self._entries[instance] = QuarantinedInstance(instance, reason, since)

    def discard(self, instance: str) -> None:
        """Remove an instance from the list."""
        self._entries.pop(instance, None)
        self._unlisted.discard(instance)

    def __contains__(self, instance: object) -> bool:
        return instance in self._entries or instance in self._unlisted

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries or self._unlisted)

    def save(self) -> None:
        """Write the list, durably, if it differs from the file."""
        if self._entries == self._saved:
            return
        write_list(self._disk, f"{self._root}/{QUARANTINE_FILE}", list(self._entries.values()))
        self._saved = dict(self._entries)
