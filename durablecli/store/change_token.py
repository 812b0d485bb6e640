"""Values that are cheap to poll and change whenever a hub, or one instance of it, may have changed."""

from __future__ import annotations

from durablecli.store import layout
from durablecli.store.disk import Disk
from durablecli.store.history.file import history_path
from durablecli.store.publication import PublicationStatus


def hub_token(disk: Disk, root: str) -> tuple[object, ...]:
    """Return a value that changes whenever a history may have, or the messages that wait."""
    folder = f"{root}/{layout.JOURNAL_FOLDER}"
    journal = sorted(disk.listdir(folder))
    live = max((name for name in journal if name.endswith(".jsonl")), default=None)
    size = disk.size(f"{folder}/{live}") if live else 0
    return tuple(journal), size, _count_messages(disk, root), _count_index_changes(disk, root)


def instance_token(disk: Disk, root: str, instance: str, engine: PublicationStatus | None) -> tuple[object, ...]:
    """Return a value that changes whenever the history of an instance may have, or the messages that wait.

    An engine in this process says what it has written to this history; of another one, every commit counts.
    """
    path = history_path(root, instance)
    facts = disk.stat(path)
    file = facts, disk.size(path) if facts else 0
    if engine is None or not engine.is_running:
        return *file, *hub_token(disk, root)
    writes = tuple((write.execution, write.first, len(write.lines)) for write in engine.list_unpublished(instance))
    return *file, engine.is_on_its_way(instance), writes, _count_messages(disk, root)


def _count_index_changes(disk: Disk, root: str) -> bytes:
    """Return sqlite's counter of the transactions that have changed the index."""
    path = f"{root}/{layout.INDEX_FILE}"
    return disk.read_from(path, 24, 4) if disk.exists(path) else b""


def _count_messages(disk: Disk, root: str) -> int:
    return len(disk.listdir(f"{root}/{layout.NEW_MESSAGES_FOLDER}"))
