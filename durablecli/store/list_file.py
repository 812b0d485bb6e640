"""Files that hold one list as JSON, and exist only while the list isn't empty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.os_errors import FAIL_STOP, translate_os_errors

_T = TypeVar("_T")


def read_list(disk: Disk, path: str, decode: Callable[[bytes], list[_T]]) -> list[_T]:
    """Read the list; empty if there is no file, or none that can be read."""
    try:
        return decode(disk.read(path))
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return []


def write_list(disk: Disk, path: str, values: Sequence[object]) -> None:
    """Replace the list, durably; an empty one is removed."""
    with translate_os_errors(FAIL_STOP, path):
        if values:
            disk.replace(path, msgspec.json.encode(values))
        else:
            with suppress(FileNotFoundError):
                disk.unlink(path)
