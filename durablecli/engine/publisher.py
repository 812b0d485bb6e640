"""Publishing: durable records go from the journal to the history files, purged files are removed,
and summaries go to the index.

An idle engine publishes histories at once. A busy one gathers the lines of an instance for half a second, or longer if
writing would take too much of each cycle, and appends them together; the journal has them meanwhile. The index is
updated five times a second, or less often if that would take more than a twentieth of the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from msgspec.structs import replace

from durablecli.engine.background import BackgroundThread
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.instance_cache import CachedEntity, CachedInstance, InstanceCache
from durablecli.model.entity_id import is_entity_id
from durablecli.model.status import InstanceSummary
from durablecli.replay.summary import summarize_entity, summarize_instance
from durablecli.store.hub import Hub, use_index
from durablecli.store.journal.commits import HistoryWrite

_FLUSH_BUDGET = 0.003
_GATHER_INTERVAL = 0.5
_MAX_UNPUBLISHED_BYTES = 64 * 1024 * 1024
_INDEX_INTERVAL = 0.2
_MAX_INDEX_SHARE = 0.05


@dataclass
class _UnpublishedHistory:
    """Lines of one instance that aren't in its file yet. `first` is the commit of the oldest line."""

    first: int
    since: float
    instance: CachedInstance | CachedEntity
    writes: list[HistoryWrite]


class Publisher:
    """Writes to history files and to the index what only the journal has."""

    def __init__(self, hub: Hub, instances: InstanceCache, background: BackgroundThread[Callable[[], None]]) -> None:
        self._hub = hub
        self._histories = hub.history_writer
        self._instances = instances
        self._background = background
        # An OrderedDict, as a plain dict takes longer and longer to find its first entry while that one is removed.
        self._unpublished: OrderedDict[str, _UnpublishedHistory] = OrderedDict()
        self._unpublished_bytes = 0
        self._last_commit = hub.last_commit
        self._dirty: dict[str, CachedInstance | CachedEntity] = {}
        self._removed: set[str] = set()
        self._indexed_at = 0.0
        self._index_interval = _INDEX_INTERVAL

    def add_commit(self, builder: CommitBuilder) -> None:
        """Take over a commit that is on disk."""
        commit = builder.commit
        purged = {each.instance for each in commit.purged}
        # This comes first: from here on, readers of these histories also read the journal.
        for write in commit.writes:
            self._add_write(write, builder, replaces_purged=write.instance in purged)
            purged.discard(write.instance)
        if commit.purged:
            # A history that begins again replaces the old file when it is published. Until then the old file stays, for
            # a reader who has seen that the file is complete.
            self._histories.remove_purged(each for each in commit.purged if each.instance in purged)
            for id in purged:
                self._unpublished.pop(id, None)  # it needn't be written any more
                self._dirty.pop(id, None)
                self._removed.add(id)
            for each in commit.purged:
                self._instances.purged.discard(each.instance)
        self._unpublished_bytes += builder.size
        self._dirty.update(builder.changed)
        self._removed.difference_update(builder.changed)
        self._last_commit = commit.c

    def _add_write(self, write: HistoryWrite, builder: CommitBuilder, *, replaces_purged: bool) -> None:
        """Add lines to those that wait; `replaces_purged` drops these, as the commit has purged their history."""
        waiting = self._unpublished.get(write.instance)
        if waiting is None or replaces_purged:
            self._unpublished[write.instance] = _UnpublishedHistory(
                builder.commit_number, monotonic(), builder.changed[write.instance], [write]
            )
            self._unpublished.move_to_end(write.instance)  # the oldest come first
        elif write.begins_file:
            waiting.writes = [write]
        elif waiting.writes[-1].execution == write.execution:
            waiting.writes[-1].lines.extend(write.lines)
        else:
            waiting.writes.append(write)

    def flush_some(self, *, idle: bool) -> None:
        """Write histories for a few milliseconds: longer if the engine is idle, or too many wait."""
        if not self._unpublished:
            return
        now = monotonic()
        hurry = idle or self._unpublished_bytes > _MAX_UNPUBLISHED_BYTES
        until = now + (_FLUSH_BUDGET * 3 if hurry else _FLUSH_BUDGET)
        while self._unpublished and monotonic() <= until:
            id, oldest = next(iter(self._unpublished.items()))
            if not hurry and now - oldest.since <= _GATHER_INTERVAL:
                break
            self._publish(id)

    def flush(self) -> None:
        """Write every history up to the last durable commit."""
        while self._unpublished:
            self._publish(next(iter(self._unpublished)))

    def _publish(self, id: str) -> None:
        waiting = self._unpublished[id]
        self._histories.publish(waiting.writes)
        del self._unpublished[id]  # not before: a reader that finds no entry reads only the file
        instance = waiting.instance
        instance.mark_published(self._last_commit)
        if not instance.unpublished and self._instances.is_cached(instance):
            if isinstance(instance, CachedInstance) and instance.runtime_state.ended:
                self._instances.evict(id)  # it is read from its file again if need be
            else:
                self._instances.allow_eviction(instance)
        if not self._unpublished:
            self._unpublished_bytes = 0

    def list_unpublished(self, id: str) -> list[HistoryWrite]:
        """Return what is durable of this history and not in its file yet; any thread may ask."""
        waiting = self._unpublished.get(id)
        return [] if waiting is None else [replace(write, lines=[*write.lines]) for write in waiting.writes]

    @property
    def oldest_needed_commit(self) -> int | None:
        """The first commit with lines that aren't in their history file; None if there is none."""
        return next(iter(self._unpublished.values())).first if self._unpublished else None

    @property
    def is_index_due(self) -> bool:
        """Whether summaries have waited long enough. They are made while every commit is on disk."""
        return bool(self._dirty or self._removed) and monotonic() - self._indexed_at > self._index_interval

    def update_index(self) -> None:
        """Have the background thread index everything that has changed. Every commit must be on disk."""
        began = monotonic()
        rows = [_make_row(each) for each in self._dirty.values()]
        removed, commit = list(self._removed), self._last_commit
        self._dirty.clear()
        self._removed.clear()
        self._indexed_at = monotonic()
        self._index_interval = max(_INDEX_INTERVAL, (self._indexed_at - began) / _MAX_INDEX_SHARE)
        self._background.submit(lambda: use_index(self._hub, lambda index: index.update(rows, removed, commit)))

    def reread_rows(self) -> None:
        """Read what waits for the index from the files again, as the cache was dropped."""
        instances = self._instances
        for id in list(self._dirty):
            current = instances.get_entity(id) if is_entity_id(id) else instances.get(id)
            if current is not None:
                self._dirty[id] = current

    @property
    def has_unindexed_rows(self) -> bool:
        """Whether the index lags behind the commits."""
        return bool(self._dirty or self._removed)

    @property
    def has_unpublished(self) -> bool:
        return bool(self._unpublished)


def _make_row(each: CachedInstance | CachedEntity) -> InstanceSummary:
    return (
        summarize_entity(each.runtime_state)
        if isinstance(each, CachedEntity)
        else summarize_instance(each.runtime_state)
    )
