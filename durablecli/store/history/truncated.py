"""The list of histories that a repair has truncated: their last turn may lack decisions, as after a crash.

The next engine completes those turns. The list is removed when a hub is closed after that.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.layout import TRUNCATED_FILE
from durablecli.store.list_file import read_list, write_list

_decode = msgspec.json.Decoder(list[str]).decode


def read_truncated(disk: Disk, root: str) -> set[str]:
    """Read the instances in the list; none if it can't be read."""
    return set(read_list(disk, f"{root}/{TRUNCATED_FILE}", _decode))


def add_truncated(disk: Disk, root: str, instances: Iterable[str]) -> None:
    """Add instances to the list, durably."""
    write_list(disk, f"{root}/{TRUNCATED_FILE}", sorted(read_truncated(disk, root) | set(instances)))


def retain_truncated(disk: Disk, root: str, instances: Iterable[str]) -> None:
    """Remove all other instances from the list."""
    if before := read_truncated(disk, root):
        write_list(disk, f"{root}/{TRUNCATED_FILE}", sorted(before & set(instances)))
