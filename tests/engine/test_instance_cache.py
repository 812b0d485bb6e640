"""The instance cache: what it reads from disk, and what it evicts."""

from __future__ import annotations

from typing import cast

import pytest

from durablecli.engine.instance_cache import CachedInstance, InstanceCache
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.store.history.file import History
from durablecli.store.history.known_files import KnownFiles
from durablecli.store.journal.commits import HistoryWrite
from durablecli.store.memory_disk import MemoryDisk
from durablecli.store.quarantine import Quarantine


def test_only_existing_histories_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read(id: str) -> History | None:
        asked.append(id)
        return None

    disk = MemoryDisk()
    for folder in ("hub", "hub/a", "hub/b"):
        disk.make_folder(folder)
    disk.create("hub/a/old.jsonl", b"", sync=False)
    instances = InstanceCache(
        read, lambda id: f"hub/{'b' if id == 'other' else 'a'}/{id}.jsonl", set(), 10, Quarantine(disk, "hub")
    )
    instances.get("any")
    assert asked == ["any"]  # the known files are not set yet
    listed: list[str] = []

    def list_folder(path: str) -> list[str]:
        listed.append(path)
        return MemoryDisk.listdir(disk, path)

    monkeypatch.setattr(disk, "listdir", list_folder)
    instances.set_known_files(KnownFiles(disk))
    instances.get("new")
    assert asked == ["any"]
    instances.get("old")
    assert asked == ["any", "old"]
    instances.add("new", "e")
    instances.evict("new")
    instances.get("new")
    assert asked == ["any", "old", "new"]
    assert listed == ["hub/a"]  # once, and not the folders of others
    instances.get("other")
    assert asked == ["any", "old", "new"]
    assert listed == ["hub/a", "hub/b"]


class CountingList(list[tuple[int, HistoryWrite]]):
    """The unpublished lines of an entry; counts how often anyone asks whether there are any."""

    looks = 0

    def __len__(self) -> int:
        CountingList.looks += 1
        return super().__len__()


def make_cache(max_size: int) -> InstanceCache:
    return InstanceCache(lambda id: None, lambda id: id, set(), max_size, Quarantine(MemoryDisk(), "hub"))


def add_unpublished(instances: InstanceCache, count: int) -> list[CachedInstance]:
    entries = [instances.add(f"i-{number}", "e") for number in range(count)]
    for entry in entries:
        entry.unpublished = CountingList([(1, HistoryWrite(entry.id, "1", 1, []))])
    return entries


def test_eviction_looks_at_unpublished_entries_only_once() -> None:
    instances = make_cache(10)
    entries = add_unpublished(instances, 2_000)
    instances.forbid_eviction(entry.id for entry in entries)
    CountingList.looks = 0
    for _ in range(100):
        instances.evict_unused()
    assert CountingList.looks <= 2_000
    for entry in entries:
        entry.unpublished.clear()
        instances.allow_eviction(entry)
        instances.evict_unused()
    assert CountingList.looks <= 6_000
    assert sum(map(instances.is_cached, entries)) == 10


def test_what_has_no_executor_is_evicted_first() -> None:
    """Reading it again costs no replay."""
    instances = make_cache(2)
    entries = [instances.add(id, "e") for id in "abc"]
    for entry in entries[:2]:
        entry.executor = cast("OrchestrationExecutor", object())
    for entry in entries:
        instances.allow_eviction(entry)
    instances.evict_unused()
    assert [entry for entry in entries if instances.is_cached(entry)] == entries[:2]


def test_the_least_recently_used_are_evicted() -> None:
    instances = make_cache(2)
    for id in "abc":
        instances.add(id, "e")
    instances.get("a")
    instances.evict_unused()
    assert [id for id in "abc" if instances.get_cached(id)] == ["a", "c"]


def test_what_is_pinned_may_be_evicted_once_it_is_unpinned() -> None:
    instances = make_cache(0)
    pinned = instances.add("a", "e")
    instances.pin(pinned)
    instances.evict_unused()
    assert instances.is_cached(pinned)
    instances.unpin()
    instances.evict_unused()
    assert not instances.is_cached(pinned)


def test_purged_instances_leave_nothing_in_memory() -> None:
    asked: list[str] = []

    def read(id: str) -> History | None:
        asked.append(id)
        return None

    disk = MemoryDisk()
    for folder in ("hub", "hub/a"):
        disk.make_folder(folder)
    disk.create("hub/a/old.jsonl", b"", sync=False)
    instances = InstanceCache(read, lambda id: f"hub/a/{id}.jsonl", set(), 10, Quarantine(disk, "hub"))
    files = KnownFiles(disk)
    instances.set_known_files(files)
    instances.get("old")
    instances.add("unpublished", "e")
    for at in range(1_000):
        instances.get(f"x-{at}")
        instances.add(f"x-{at}", "e")
        instances.evict(f"x-{at}")
        instances.finish_purge(f"x-{at}")
    assert len(files._folders["hub/a"]) < 200
    disk.create("hub/a/unpublished.jsonl", b"", sync=False)
    instances.evict("unpublished")
    asked.clear()
    instances.get("unpublished")
    instances.get("old")
    instances.get("x-0")
    assert asked == ["unpublished", "old"]
