"""Finds the files of spilled records that no history refers to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress

from durablecli.model.codec import CorruptLine
from durablecli.model.spilled_line import is_stub, parse_stub
from durablecli.store.disk import Disk
from durablecli.store.history.spilled_files import iter_spilled_folders, spilled_path


def list_referenced_files(root: str, lines: Iterable[bytes]) -> Iterator[str]:
    """Yield the paths of the files that lines of histories refer to."""
    for line in filter(is_stub, lines):
        with suppress(CorruptLine):
            yield spilled_path(root, parse_stub(line))


def find_superfluous_files(disk: Disk, root: str, referenced: set[str]) -> Iterator[str]:
    """Yield the paths of the files in the folders of spilled records that aren't among `referenced`."""
    for folder in iter_spilled_folders(disk, root):
        for name in sorted(disk.listdir(folder)):
            if (path := f"{folder}/{name}") not in referenced:
                yield path
