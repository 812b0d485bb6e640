"""Which histories a repair has cut: their last turn may lack decisions, as if a crash had torn it.

The next engine brings those turns to their end. The list goes when a hub is closed in which it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from durablecli.store.disk import Disk

_FILE = "cut.json"


def read(disk: Disk, root: str) -> set[str]:
    """The instances in the list; none when there is no list, or none that can be read."""
    try:
        return set(msgspec.json.decode(disk.read(f"{root}/{_FILE}"), type=list[str]))
    except (FileNotFoundError, msgspec.MsgspecError):
        return set()


def add(disk: Disk, root: str, instances: Iterable[str]) -> None:
    """Put instances on the list, durably."""
    disk.replace(f"{root}/{_FILE}", msgspec.json.encode(sorted(read(disk, root) | set(instances))))


def clear(disk: Disk, root: str) -> None:
    """Take the list away."""
    with suppress(FileNotFoundError):
        disk.unlink(f"{root}/{_FILE}")
