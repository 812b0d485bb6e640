"""A folder as it was: compared before and after, it shows that nothing was written."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container
from pathlib import Path


def snapshot_files(
    root: str | Path, *, folders: bool = True, ignore: Container[str] = ()
) -> dict[str, tuple[object, ...]]:
    """Return all that writing would change, for each file and folder; leave out files with a name in `ignore`."""
    found: dict[str, tuple[object, ...]] = {}
    for folder, _, names in os.walk(root):
        paths = [os.path.join(folder, name) for name in names if name not in ignore]
        for path in (folder, *paths) if folders else paths:
            stat = os.lstat(path)
            content = hashlib.sha256(Path(path).read_bytes()).hexdigest() if os.path.isfile(path) else ""
            found[path] = (stat.st_ino, stat.st_mode, stat.st_size, stat.st_mtime_ns, stat.st_uid, content)
    return found
