"""The instance cache: an id that is known to have no file is not looked up on disk."""

from __future__ import annotations

from durablecli.engine.instance_cache import InstanceCache
from durablecli.store.history.file import History
from durablecli.store.memory_disk import MemoryDisk
from durablecli.store.quarantine import Quarantine


def test_only_existing_histories_are_read() -> None:
    asked: list[str] = []

    def read(id: str) -> History | None:
        asked.append(id)
        return None

    instances = InstanceCache(read, lambda id: f"instances/{id}.jsonl", set(), 10, Quarantine(MemoryDisk(), "hub"))
    instances.get("any")
    assert asked == ["any"]  # the known files are not set yet
    instances.set_known_files(["instances/old.jsonl"])
    instances.get("new")
    assert asked == ["any"]
    instances.get("old")
    assert asked == ["any", "old"]
    instances.add("new")
    instances.evict("new")
    instances.get("new")
    assert asked == ["any", "old", "new"]
