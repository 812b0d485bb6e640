"""Finds the files of an app that have changed since it was loaded."""

from __future__ import annotations

import os

from durablecli.apps.modules import LoadedApp


class SourceChanges:
    """Compares the files that an app was loaded from with the disk; reads one only if its time or size has changed."""

    def __init__(self, app: LoadedApp) -> None:
        self._contents = app.contents
        self._compared: dict[str, tuple[int, int, int]] = {}
        self._changed: set[str] = set()

    def find(self) -> list[str]:
        """Return the absolute paths of the files that have changed or are gone."""
        for path, data in list(self._contents.items()):
            try:
                stat = os.stat(path)
                now = stat.st_mtime_ns, stat.st_size, stat.st_ino
                if self._compared.get(path) == now:
                    continue
                is_same = stat.st_size == len(data) and _read(path) == data
            except OSError:
                is_same, now = False, (0, 0, 0)
            self._compared[path] = now
            (self._changed.discard if is_same else self._changed.add)(path)
        return sorted(self._changed)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
