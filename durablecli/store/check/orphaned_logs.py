"""Finds logs whose instance is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from durablecli.store.disk import Disk
from durablecli.store.logs.log_files import iter_log_files


def find_orphaned_logs(disk: Disk, root: str, histories: Iterable[str]) -> Iterator[str]:
    """Yield the paths of the logs of instances that have none of these histories, which are given by their paths."""
    known = {"/".join(path.removesuffix(".jsonl").rsplit("/", 2)[1:]) for path in histories}
    return (path for path, place in iter_log_files(disk, root) if place not in known)
