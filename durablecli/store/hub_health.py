"""The health of a hub, as its files show it: what waits for an engine, and what can't be used until it is repaired."""

from __future__ import annotations

from itertools import islice

import msgspec

from durablecli.errors import DamagedHub, NewerHub
from durablecli.store import layout
from durablecli.store.disk import Disk
from durablecli.store.hub_file import read_hub_file
from durablecli.store.inbox.failed_messages import FailedMessages, MessageFailure
from durablecli.store.inbox.undelivered import UndeliveredMessage, read_last_undelivered
from durablecli.store.quarantine import QuarantinedInstance, read_quarantine

_MAX_LISTED = 50
_MAX_UNDELIVERED = 10


class HubHealth(msgspec.Struct, frozen=True):
    """The health of a hub. `epoch` counts the engines that have run on it, 0 if unknown.

    `waiting_messages` counts the files in the inbox, `unreadable_messages` those that could not be read. Of the failed
    messages and the quarantined instances, only the first 50 are listed. `undelivered` are the last messages without
    effect: their target had ended or didn't exist, the latest first.
    """

    epoch: int
    waiting_messages: int
    unreadable_messages: int
    failed_count: int
    failed: tuple[MessageFailure, ...]
    quarantined_count: int
    quarantined: tuple[QuarantinedInstance, ...]
    undelivered: tuple[UndeliveredMessage, ...]

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to repair."""
        return not (self.failed_count or self.quarantined_count or self.unreadable_messages)


def read_hub_health(disk: Disk, root: str) -> HubHealth:
    """Read the health of a hub; the cost doesn't grow with the number of its instances."""
    failed = FailedMessages(disk, root)
    names = failed.names()
    quarantined = read_quarantine(disk, root)
    return HubHealth(
        _read_epoch(disk, root),
        _count_messages(disk, f"{root}/{layout.NEW_MESSAGES_FOLDER}"),
        _count_messages(disk, f"{root}/{layout.UNREADABLE_MESSAGES_FOLDER}"),
        len(names),
        tuple(found for name in names[:_MAX_LISTED] if (found := failed.read_failure(name)) is not None),
        len(quarantined),
        tuple(islice(quarantined.values(), _MAX_LISTED)),
        tuple(read_last_undelivered(disk, root, _MAX_UNDELIVERED)),
    )


def _read_epoch(disk: Disk, root: str) -> int:
    try:
        return read_hub_file(disk, root).epoch
    except (OSError, DamagedHub, NewerHub):
        return 0


def _count_messages(disk: Disk, folder: str) -> int:
    return sum(name.endswith(".json") for name in disk.listdir(folder))
