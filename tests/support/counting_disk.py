"""A disk that notes its operations, so that tests can count instead of measuring time."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from durablecli.store.disk import LocalDisk

_OPERATIONS = (
    *(
        "append_once",
        "appender",
        "create",
        "exists",
        "listdir",
        "lock",
        "make_folder",
        "read_from",
        "rename",
        "replace",
    ),
    *("size", "stat", "sync_all", "sync_file", "sync_folder", "truncate", "unlink"),
)


class CountingDisk(LocalDisk):
    """The local disk. `operations` holds the name and the path of each operation."""

    def __init__(self) -> None:
        self.operations: list[tuple[str, str]] = []

    def count(self, *names: str, within: str = "") -> int:
        """Count operations with one of these names, or with any, on the paths that begin with `within`."""
        return sum((not names or name in names) and path.startswith(within) for name, path in self.operations)


def _make_counted(name: str) -> Callable[..., Any]:
    original = getattr(LocalDisk, name)

    def counted(self: CountingDisk, path: str, *arguments: Any, **options: Any) -> Any:
        self.operations.append((name, path))
        return original(self, path, *arguments, **options)

    return counted


for _name in _OPERATIONS:
    setattr(CountingDisk, _name, _make_counted(_name))


def count_syncs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the descriptor of each sync from now on, except for those of sqlite."""
    synced: list[int] = []
    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, _make_noted(synced, getattr(os, name)))
    return synced


def _make_noted(synced: list[int], sync: Callable[[int], None]) -> Callable[[int], None]:
    def noted(descriptor: int) -> None:
        synced.append(descriptor)
        sync(descriptor)

    return noted
