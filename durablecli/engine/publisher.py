"""Puts what is durable where people look: the histories at once or a moment later, the index five times a second, or
less often where that would take more than a twentieth of the time.

An idle engine has nothing waiting. A busy one lets the lines of an instance gather for half a second, or longer where
that would take more than a share of each cycle, and appends them together. The journal holds them meanwhile.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from durablecli.engine.background import BackgroundThread
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.instance_cache import CachedEntity, CachedInstance, InstanceCache
from durablecli.model.entity_id import is_entity_id
from durablecli.model.status import InstanceSummary
from durablecli.replay import pending
from durablecli.replay.entity_state import summarize_entity
from durablecli.store.hub import Hub, use_index
from durablecli.store.journal.commits import HistoryWrite

_FLUSH_BUDGET = 0.003
_GATHER_INTERVAL = 0.5
_MAX_UNPUBLISHED_BYTES = 64 * 1024 * 1024
_INDEX_INTERVAL = 0.2
_MAX_INDEX_SHARE = 0.05


@dataclass
class _UnpublishedHistory:
    """Lines of one instance that are in the journal and not yet in its file; `first` is the commit of the oldest."""

    first: int
    since: float
    instance: CachedInstance | CachedEntity
    writes: list[HistoryWrite]


class Publisher:
    """Knows what the journal holds and the histories, or the index, don't yet."""

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
        """A commit has become durable."""
        commit = builder.commit
        purged = {each.instance for each in commit.purged}
        # First of all: from here on whoever reads one of these looks into the journal too.
        for write in commit.writes:
            self._add_write(write, builder, replaces_purged=write.instance in purged)
            purged.discard(write.instance)
        if commit.purged:
            # What has begun anew takes the place of the old file when it is published. Until then that file has to
            # stay, for a reader who was told before that the file is enough.
            self._histories.remove(each for each in commit.purged if each.instance in purged)
            for id in purged:
                self._unpublished.pop(id, None)  # what isn't written yet need not be
                self._dirty.pop(id, None)
                self._removed.add(id)
            for each in commit.purged:
                self._instances.purged.discard(each.instance)
        self._unpublished_bytes += builder.size
        self._dirty.update(builder.changed)
        self._removed.difference_update(builder.changed)
        self._last_commit = commit.c

    def _add_write(self, write: HistoryWrite, builder: CommitBuilder, *, replaces_purged: bool) -> None:
        """`anew`: what waits is of a history that this commit has taken away."""
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
        """Write histories for a while: longer when the engine has nothing better to do, or far too many wait."""
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
        del self._unpublished[id]  # not before: whoever sees it gone reads the file alone
        instance = waiting.instance
        instance.mark_published(self._last_commit)
        ended = isinstance(instance, CachedInstance) and instance.runtime_state.ended
        if ended and not instance.unpublished and self._instances.is_cached(instance):
            self._instances.evict(id)  # whoever asks for it once more reads its file
        if not self._unpublished:
            self._unpublished_bytes = 0

    def is_published(self, id: str) -> bool:
        """Whether the history in the file is all that is durable; any thread may ask."""
        return id not in self._unpublished

    @property
    def oldest_needed_commit(self) -> int | None:
        """The first commit that some history still lacks."""
        return next(iter(self._unpublished.values())).first if self._unpublished else None

    @property
    def is_index_due(self) -> bool:
        """Whether rows have waited long enough. They are made while nothing is under way to the disk."""
        return bool(self._dirty or self._removed) and monotonic() - self._indexed_at > self._index_interval

    def update_index(self) -> None:
        """Hand the rows of everything that has changed to the index's thread. Every commit is durable now."""
        began = monotonic()
        rows = [_make_row(each) for each in self._dirty.values()]
        removed, commit = list(self._removed), self._last_commit
        self._dirty.clear()
        self._removed.clear()
        self._indexed_at = monotonic()
        self._index_interval = max(_INDEX_INTERVAL, (self._indexed_at - began) / _MAX_INDEX_SHARE)
        self._background.submit(lambda: use_index(self._hub, lambda index: index.update(rows, removed, commit)))

    def reread_rows(self) -> None:
        """Take the rows that wait for the index from the files; what was cached is no longer what was committed."""
        instances = self._instances
        for id in list(self._dirty):
            current = instances.get_entity(id) if is_entity_id(id) else instances.get(id)
            if current is not None:
                self._dirty[id] = current

    @property
    def has_unindexed_rows(self) -> bool:
        """Whether the index lags behind."""
        return bool(self._dirty or self._removed)

    @property
    def has_unpublished(self) -> bool:
        return bool(self._unpublished)


def _make_row(each: CachedInstance | CachedEntity) -> InstanceSummary:
    return (
        summarize_entity(each.runtime_state)
        if isinstance(each, CachedEntity)
        else pending.summarize_instance(each.runtime_state)
    )
