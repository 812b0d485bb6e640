"""A private copy, in the system's temporary folder, of an index that can't be read in place.

Like the index itself this bypasses Disk: sqlite opens its files on its own.
"""

from __future__ import annotations

import os
import sqlite3

from durablecli.store.index import IndexReader, IndexUnusable, check_index_format
from durablecli.store.layout import INDEX_FILE

_MAX_ATTEMPTS = 3


def open_index_copy(path: str) -> IndexReader:
    """Open a private copy of the index, in which the journal of a dead engine may be rolled back; raises
    IndexUnusable."""
    import shutil  # imported here: rarely needed, and slow to import
    import tempfile

    folder = tempfile.mkdtemp(prefix="durablecli-")
    try:
        copy = f"{folder}/{INDEX_FILE}"
        for _ in range(_MAX_ATTEMPTS):
            before = _fingerprints(path)
            for ending in ("", "-journal"):
                if os.path.exists(path + ending):
                    shutil.copyfile(path + ending, copy + ending)
            if _fingerprints(path) == before:
                return _open_checked(copy)
            shutil.rmtree(folder)
            os.mkdir(folder, 0o700)
        raise IndexUnusable("the index changes faster than it can be copied")
    except (OSError, sqlite3.Error) as error:
        raise IndexUnusable(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the open file stays readable


def _open_checked(path: str) -> IndexReader:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        check_index_format(db)
    except BaseException:
        db.close()
        raise
    return IndexReader(db)


def _fingerprints(path: str) -> list[tuple[int, int, int] | None]:
    """Return values that change when a file is written or replaced; None for a missing file."""
    found: list[tuple[int, int, int] | None] = []
    for each in (path, f"{path}-journal"):
        try:
            stat = os.stat(each)
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found
