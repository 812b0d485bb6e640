"""Which histories a repair has cut: their last turn may lack decisions, as if a crash had torn it.

The next engine brings those turns to their end. The list goes when a hub is closed in which it has.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.layout import TRUNCATED_FILE
from durablecli.store.os_errors import translate_os_errors


def read_truncated(disk: Disk, root: str) -> set[str]:
    """The instances in the list; none when there is no list, or none that can be read."""
    try:
        return set(msgspec.json.decode(disk.read(f"{root}/{TRUNCATED_FILE}"), type=list[str]))
    except (FileNotFoundError, msgspec.MsgspecError):
        return set()


def add_truncated(disk: Disk, root: str, instances: Iterable[str]) -> None:
    """Put instances on the list, durably."""
    with translate_os_errors("nothing more is accepted"):
        disk.replace(
            f"{root}/{TRUNCATED_FILE}", msgspec.json.encode(sorted(read_truncated(disk, root) | set(instances)))
        )


def retain_truncated(disk: Disk, root: str, instances: Iterable[str]) -> None:
    """Take all others off the list; without any that is left the list goes."""
    before = read_truncated(disk, root)
    if left := before & set(instances):
        disk.replace(f"{root}/{TRUNCATED_FILE}", msgspec.json.encode(sorted(left)))
    elif before:
        with suppress(FileNotFoundError):
            disk.unlink(f"{root}/{TRUNCATED_FILE}")
