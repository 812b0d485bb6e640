"""Publishing: durable records go from the journal to the history files, purged files are removed,
and summaries go to the index.

An idle engine publishes histories at once. A busy one first publishes those of ended instances, which are complete, and
gathers the lines of others for two seconds, to append them together; the journal has them meanwhile. Where files are
written slowly, writing takes the more of each cycle the more waits, and at a limit the engine waits for the disk.

The index is updated five times a second, or less often if that would take more than a twentieth of the time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic, thread_time

from durablecli.engine.background import BackgroundThread
from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.instance_cache import CachedEntity, CachedInstance, InstanceCache
from durablecli.limits import MIB
from durablecli.model.entity_id import is_entity_id
from durablecli.model.status import InstanceSummary
from durablecli.replay.summary import summarize_entity, summarize_instance
from durablecli.store.hub import Hub, use_index
from durablecli.store.journal.commits import HistoryWrite

_FLUSH_BUDGET = 0.003
_IDLE_FLUSH_BUDGET = 0.009
_GATHER_INTERVAL = 2.0
MAX_UNPUBLISHED_BYTES = 16 * MIB
"""The engine holds about four times as much for them, and a slow disk needs minutes to write them when it stops."""
MAX_UNPUBLISHED_HISTORIES = 10_000
"""The instances of short histories take far more memory than their lines."""
_DISK_WARNING_INTERVAL = 60.0
_INDEX_INTERVAL = 0.2
_MAX_INDEX_SHARE = 0.05
_MAX_CHANGED_ROWS = 10_000


@dataclass(slots=True)
class _UnpublishedHistory:
    """Lines of one instance that aren't in its file yet, from `first` on; `first_commit` is that of the oldest."""

    first_commit: int
    since: float
    instance: CachedInstance | CachedEntity
    first: HistoryWrite
    lines: list[bytes]
    size: int

    def to_write(self) -> HistoryWrite:
        first = self.first
        return HistoryWrite(
            first.instance, first.execution, first.first, [*self.lines], rewrites_file=first.rewrites_file
        )


class Publisher:
    """Writes to history files and to the index what only the journal has."""

    def __init__(
        self,
        hub: Hub,
        instances: InstanceCache,
        background: BackgroundThread[Callable[[], None]],
        echo: Callable[[str], None],
    ) -> None:
        self._hub = hub
        self._histories = hub.history_writer
        self._instances = instances
        self._background = background
        self._echo = echo
        # An OrderedDict, as a plain dict takes longer and longer to find its first entry while that one is removed.
        self._unpublished: OrderedDict[str, _UnpublishedHistory] = OrderedDict()
        self.unpublished_bytes = 0
        """The size of the lines that wait to be written to their files."""
        self._ended: OrderedDict[str, None] = OrderedDict()
        """Those of them whose instance has ended, so that they are complete."""
        self._waited_at = float("-inf")
        self._last_commit = hub.last_commit
        self._changed: dict[str, CachedInstance | CachedEntity | InstanceSummary] = {}
        """What the index doesn't have yet: rows of instances that have ended and left the cache, else the instance."""
        self._removed: set[str] = set()
        self._indexed_at = 0.0
        self._index_interval = _INDEX_INTERVAL
        self._updates_begun = self._updates_done = 0

    def add_commit(self, builder: CommitBuilder) -> None:
        """Take over a commit that is on disk."""
        commit = builder.commit
        self._make_room()
        self._hub.spill_writer.note_removed(commit)
        purged = {each.instance for each in commit.purged}
        now = monotonic()
        # This comes first: from here on, readers in this process find these lines here.
        for write in commit.writes:
            self._add_write(write, builder, now, replaces_purged=write.instance in purged)
            purged.discard(write.instance)
        if commit.purged:
            # A history that begins again replaces the old file when it is published. Until then the old file stays, for
            # a reader who has seen that the file is complete.
            self._histories.remove_purged(each for each in commit.purged if each.instance in purged)
            for id in purged:
                self._drop(id)  # it needn't be written any more
                self._changed.pop(id, None)
                self._removed.add(id)
            for each in commit.purged:
                self._instances.finish_purge(each.instance)
        self._changed.update(builder.changed)
        self._removed.difference_update(builder.changed)
        self._last_commit = commit.c

    def _add_write(self, write: HistoryWrite, builder: CommitBuilder, now: float, *, replaces_purged: bool) -> None:
        """Add lines to those that wait; `replaces_purged` drops these, as the commit has purged their history."""
        id, c, lines = write.instance, builder.commit_number, write.lines
        size = sum(map(len, lines)) + len(lines)
        waiting = self._unpublished.get(id)
        if waiting is None or replaces_purged:
            self._replace(id, _UnpublishedHistory(c, now, builder.changed[id], write, [*lines], size))
            self._unpublished.move_to_end(id)  # the oldest come first
        elif write.begins_file:
            self._replace(id, replace(waiting, first=write, lines=[*lines], size=size))
        else:
            waiting.lines += lines
            waiting.size += size
            self.unpublished_bytes += size
        instance = builder.changed[id]
        if type(instance) is CachedInstance and instance.runtime_state.ended and instance.write_commit == c:
            self._ended[id] = None

    def _replace(self, id: str, new: _UnpublishedHistory) -> None:
        """Put `new` in place of what waits; readers in other threads must find the one or the other."""
        old = self._unpublished.get(id)
        self._unpublished[id] = new
        self._ended.pop(id, None)
        self.unpublished_bytes += new.size - (old.size if old is not None else 0)

    def _drop(self, id: str) -> None:
        dropped = self._unpublished.pop(id, None)
        if dropped is not None:
            self._ended.pop(id, None)
            self.unpublished_bytes -= dropped.size

    # ── histories ──────────────────────────────────────────────────────────────────────────────────────────────

    def _make_room(self) -> None:
        """Write histories until no more than the limits wait: from there on the engine is as fast as its disk."""
        if self._fill <= 1:
            return
        now = monotonic()
        waits_for_bytes = self.unpublished_bytes > MAX_UNPUBLISHED_BYTES
        if waits_for_bytes and now - self._waited_at > _DISK_WARNING_INTERVAL:
            limit = MAX_UNPUBLISHED_BYTES // MIB
            self._echo(f"the engine waits for the disk: {limit} MiB of histories are still to be written")
        while self._fill > 1:
            self._publish(self._choose_next(now, hurry=True) or next(iter(self._unpublished)))
        if waits_for_bytes:
            self._waited_at = monotonic()

    @property
    def _fill(self) -> float:
        """How much waits, as a share of the limits."""
        return max(self.unpublished_bytes / MAX_UNPUBLISHED_BYTES, len(self._unpublished) / MAX_UNPUBLISHED_HISTORIES)

    def flush_some(self, *, idle: bool) -> None:
        """Write histories for a few milliseconds: longer if the engine is idle, or much waits."""
        now = monotonic()
        until = now + (_IDLE_FLUSH_BUDGET if idle else _FLUSH_BUDGET * (1 + 3 * self._fill))
        while monotonic() <= until and (id := self._choose_next(now, hurry=idle)) is not None:
            self._publish(id)

    def _choose_next(self, now: float, *, hurry: bool) -> str | None:
        """The history to write next: one that has waited long enough, or that is complete, or with `hurry` any."""
        if not self._unpublished:
            return None
        id, oldest = next(iter(self._unpublished.items()))
        if now - oldest.since > _GATHER_INTERVAL:
            return id
        if self._ended:
            return next(iter(self._ended))
        return id if hurry else None

    def flush(self) -> None:
        """Write every history up to the last durable commit."""
        while self._unpublished:
            self._publish(next(iter(self._unpublished)))

    def _publish(self, id: str) -> None:
        waiting = self._unpublished[id]
        self._histories.publish((waiting.to_write(),))
        self._drop(id)  # not before: a reader that finds no entry reads only the file
        instance = waiting.instance
        instance.mark_published(self._last_commit)
        if not instance.unpublished and self._instances.is_cached(instance):
            if type(instance) is CachedInstance and instance.runtime_state.ended:
                if self._changed.get(id) is instance:
                    self._changed[id] = summarize_instance(instance.runtime_state)
                self._instances.evict(id)  # it is read from its file again if need be
            else:
                self._instances.allow_eviction(instance)

    def list_unpublished(self, id: str) -> list[HistoryWrite]:
        """Return what is durable of this history and not in its file yet; any thread may ask."""
        waiting = self._unpublished.get(id)
        return [] if waiting is None else [waiting.to_write()]

    @property
    def oldest_needed_commit(self) -> int | None:
        """The first commit with lines that aren't in their history file; None if there is none."""
        return next(iter(self._unpublished.values())).first_commit if self._unpublished else None

    # ── the index ──────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_index_due(self) -> bool:
        """Whether summaries have waited long enough, or too many wait. They are made while every commit is on disk."""
        if self._is_indexing or not self.has_unindexed_rows:
            return False
        return len(self._changed) >= _MAX_CHANGED_ROWS or monotonic() - self._indexed_at > self._index_interval

    @property
    def must_wait_for_index(self) -> bool:
        """Whether the engine has to wait until the background thread has updated the index."""
        return self._is_indexing and len(self._changed) >= _MAX_CHANGED_ROWS

    @property
    def _is_indexing(self) -> bool:
        return self._updates_begun != self._updates_done

    def update_index(self) -> None:
        """Have the background thread index everything that has changed. Every commit must be on disk."""
        began = monotonic()
        rows = [each if isinstance(each, InstanceSummary) else _make_row(each) for each in self._changed.values()]
        removed, commit = list(self._removed), self._last_commit
        self._changed.clear()
        self._removed.clear()
        self._indexed_at = monotonic()
        self._updates_begun += 1
        time_for_rows = self._indexed_at - began

        def update() -> None:
            before = thread_time()
            use_index(self._hub, lambda index: index.update(rows, removed, commit))
            took = time_for_rows + thread_time() - before
            self._index_interval = max(_INDEX_INTERVAL, took / _MAX_INDEX_SHARE)
            self._updates_done += 1

        self._background.submit(update)

    def reread_rows(self) -> None:
        """Read what waits for the index from the files again, as the cache was dropped."""
        instances = self._instances
        for id, each in list(self._changed.items()):
            if not isinstance(each, InstanceSummary):
                current = instances.get_entity(id) if is_entity_id(id) else instances.get(id)
                if current is not None:
                    self._changed[id] = current

    @property
    def has_unindexed_rows(self) -> bool:
        """Whether the index lags behind the commits."""
        return bool(self._changed or self._removed)

    @property
    def has_unpublished(self) -> bool:
        return bool(self._unpublished)


def _make_row(each: CachedInstance | CachedEntity) -> InstanceSummary:
    return (
        summarize_entity(each.runtime_state)
        if isinstance(each, CachedEntity)
        else summarize_instance(each.runtime_state)
    )
