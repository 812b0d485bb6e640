"""Puts what is durable where people look: the histories at once or a moment later, the index five times a second, or
less often where that would take more than a twentieth of the time.

An idle engine has nothing waiting. A busy one lets the lines of an instance gather for half a second, or longer where
that would take more than a share of each cycle, and appends them together. The journal holds them meanwhile.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from time import monotonic

from durablecli.engine.commit_builder import Draft
from durablecli.engine.instance_cache import Entity, Instance, Instances
from durablecli.engine.thread_start import start_thread
from durablecli.model.entity_id import is_entity_id
from durablecli.model.status import InstanceSummary
from durablecli.replay import pending
from durablecli.replay.entity_state import summarize_entity
from durablecli.store.hub import Hub, use_index
from durablecli.store.journal.writer import HistoryWrite

_SHARE = 0.003
_GATHER = 0.5
_MOST_BYTES = 64 * 1024 * 1024
_INDEX_EVERY = 0.2
_INDEX_SHARE = 0.05


@dataclass
class _Unpublished:
    """Lines of one instance that are in the journal and not yet in its file; `first` is the commit of the oldest."""

    first: int
    since: float
    instance: Instance | Entity
    writes: list[HistoryWrite]


class Publisher:
    """Knows what the journal holds and the histories, or the index, don't yet."""

    def __init__(self, hub: Hub, instances: Instances, background: Background) -> None:
        self._hub = hub
        self._histories = hub.history_writer
        self._instances = instances
        self._background = background
        # An OrderedDict, as a plain dict takes longer and longer to find its first entry while that one is removed.
        self._waiting: OrderedDict[str, _Unpublished] = OrderedDict()
        self._bytes = 0
        self._commit = hub.last_commit
        self._dirty: dict[str, Instance | Entity] = {}
        self._removed: set[str] = set()
        self._indexed = 0.0
        self._index_every = _INDEX_EVERY

    def add(self, draft: Draft) -> None:
        """A commit has become durable."""
        commit = draft.commit
        purged = {each.instance for each in commit.purged}
        # First of all: from here on whoever reads one of these looks into the journal too.
        for write in commit.writes:
            self._gather(write, draft, anew=write.instance in purged)
            purged.discard(write.instance)
        if commit.purged:
            # What has begun anew takes the place of the old file when it is published. Until then that file has to
            # stay, for a reader who was told before that the file is enough.
            self._histories.remove(each for each in commit.purged if each.instance in purged)
            for id in purged:
                self._waiting.pop(id, None)  # what isn't written yet need not be
                self._dirty.pop(id, None)
                self._removed.add(id)
            for each in commit.purged:
                self._instances.gone.discard(each.instance)
        self._bytes += draft.size
        self._dirty.update(draft.touched)
        self._removed.difference_update(draft.touched)
        self._commit = commit.c

    def _gather(self, write: HistoryWrite, draft: Draft, *, anew: bool) -> None:
        """`anew`: what waits is of a history that this commit has taken away."""
        waiting = self._waiting.get(write.instance)
        if waiting is None or anew:
            self._waiting[write.instance] = _Unpublished(draft.c, monotonic(), draft.touched[write.instance], [write])
            self._waiting.move_to_end(write.instance)  # the oldest come first
        elif write.begins_file:
            waiting.writes = [write]
        elif waiting.writes[-1].execution == write.execution:
            waiting.writes[-1].lines.extend(write.lines)
        else:
            waiting.writes.append(write)

    def flush_share(self, *, idle: bool) -> None:
        """Write histories for a while: longer when the engine has nothing better to do, or far too many wait."""
        if not self._waiting:
            return
        now = monotonic()
        hurry = idle or self._bytes > _MOST_BYTES
        until = now + (_SHARE * 3 if hurry else _SHARE)
        while self._waiting and monotonic() <= until:
            id, oldest = next(iter(self._waiting.items()))
            if not hurry and now - oldest.since <= _GATHER:
                break
            self._publish(id)

    def flush(self) -> None:
        """Write every history up to the last durable commit."""
        while self._waiting:
            self._publish(next(iter(self._waiting)))

    def _publish(self, id: str) -> None:
        waiting = self._waiting[id]
        self._histories.publish(waiting.writes)
        del self._waiting[id]  # not before: whoever sees it gone reads the file alone
        instance = waiting.instance
        instance.published(self._commit)
        ended = isinstance(instance, Instance) and instance.ledger.ended
        if ended and not instance.recent and self._instances.is_current(instance):
            self._instances.forget(id)  # whoever asks for it once more reads its file
        if not self._waiting:
            self._bytes = 0

    def is_published(self, id: str) -> bool:
        """Whether the history in the file is all that is durable; any thread may ask."""
        return id not in self._waiting

    @property
    def floor(self) -> int | None:
        """The first commit that some history still lacks."""
        return next(iter(self._waiting.values())).first if self._waiting else None

    @property
    def index_is_due(self) -> bool:
        """Whether rows have waited long enough. They are made while nothing is under way to the disk."""
        return bool(self._dirty or self._removed) and monotonic() - self._indexed > self._index_every

    def update_index(self) -> None:
        """Hand the rows of everything that has changed to the index's thread. Every commit is durable now."""
        began = monotonic()
        rows = [_row(each) for each in self._dirty.values()]
        removed, commit = list(self._removed), self._commit
        self._dirty.clear()
        self._removed.clear()
        self._indexed = monotonic()
        self._index_every = max(_INDEX_EVERY, (self._indexed - began) / _INDEX_SHARE)
        self._background.do(lambda: use_index(self._hub, lambda index: index.update(rows, removed, commit)))

    def reread_rows(self) -> None:
        """Take the rows that wait for the index from the files; what was cached is no longer what was committed."""
        instances = self._instances
        for id in list(self._dirty):
            current = instances.entity(id) if is_entity_id(id) else instances.get(id)
            if current is not None:
                self._dirty[id] = current

    @property
    def has_rows(self) -> bool:
        """Whether the index lags behind."""
        return bool(self._dirty or self._removed)

    @property
    def unpublished(self) -> bool:
        return bool(self._waiting)


def _row(each: Instance | Entity) -> InstanceSummary:
    return summarize_entity(each.ledger) if isinstance(each, Entity) else pending.summarize_instance(each.ledger)


class Background:
    """One thread for the slow things that nobody waits for: the index and the checkpoints, in order."""

    def __init__(self, report: Callable[[BaseException], None], *, threaded: bool = True) -> None:
        self._report = report
        self._threaded = threaded
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        if not self._threaded:
            work()
            return
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="durable-background", daemon=True)
            if not start_thread(thread):
                work()
                return
            self._thread = thread
        self._work.put(work)

    def stop(self) -> None:
        """Finish what was given, then end."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - user code may raise anything
                self._report(error)
                return
