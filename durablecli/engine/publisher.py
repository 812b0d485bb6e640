"""Puts what is durable where people look: the histories at once or a moment later, the index every 200 ms.

While the engine is busy the lines of one instance gather and are appended together; when it is idle nothing waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic

from durablecli.engine.draft import Draft
from durablecli.engine.instances import Instance, Instances
from durablecli.model.status import Summary
from durablecli.replay import agenda
from durablecli.store.histories import Histories
from durablecli.store.index import Index
from durablecli.store.journal import Write

_GATHER = 0.05
_MOST = 1_000
_INDEX_EVERY = 0.2


class Publisher:
    """Knows what the journal holds and the histories, or the index, don't yet."""

    def __init__(self, histories: Histories, instances: Instances, index: Index, background: Background) -> None:
        self._histories = histories
        self._instances = instances
        self._index = index
        self._background = background
        self._writes: dict[str, list[Write]] = {}
        self._touched: dict[str, Instance] = {}
        self._since = 0.0
        self._commit = 0
        self._dirty: dict[str, Instance] = {}
        self._removed: set[str] = set()
        self._indexed = 0.0

    def add(self, draft: Draft) -> None:
        """A commit has become durable."""
        if not self._writes:
            self._since = monotonic()
        commit = draft.commit
        if commit.purged:
            self.flush()
            self._histories.remove(commit.purged)
            for purged in commit.purged:
                self._instances.gone.discard(purged.instance)
                self._dirty.pop(purged.instance, None)
                self._removed.add(purged.instance)
        for write in commit.writes:
            self._gather(write)
        self._touched.update(draft.touched)
        self._dirty.update(draft.touched)
        self._removed.difference_update(draft.touched)
        self._commit = commit.c

    def _gather(self, write: Write) -> None:
        waiting = self._writes.get(write.instance)
        if waiting is None or write.first == 1:
            self._writes[write.instance] = [write]
        elif waiting[-1].execution == write.execution:
            last = waiting[-1]
            waiting[-1] = Write(last.instance, last.execution, last.first, [*last.lines, *write.lines])
        else:
            waiting.append(write)

    def flush_if_due(self, *, idle: bool) -> None:
        """Write the histories when the engine has nothing better to do, or they have waited long enough."""
        if self._writes and (idle or len(self._writes) >= _MOST or monotonic() - self._since > _GATHER):
            self.flush()

    def flush(self) -> None:
        """Write every history up to the last durable commit."""
        writes, self._writes = self._writes, {}
        self._histories.publish(write for waiting in writes.values() for write in waiting)
        for instance in self._touched.values():
            instance.published(self._commit)
        self._touched.clear()

    @property
    def index_is_due(self) -> bool:
        """Whether rows have waited for 200 ms. They are made while nothing is under way to the disk."""
        return bool(self._dirty or self._removed) and monotonic() - self._indexed > _INDEX_EVERY

    def update_index(self) -> None:
        """Hand the rows of everything that has changed to the index's thread. Every commit is durable now."""
        rows = [agenda.summary(instance.ledger) for instance in self._dirty.values()]
        removed, commit = list(self._removed), self._commit
        self._dirty.clear()
        self._removed.clear()
        self._indexed = monotonic()
        self._background.do(lambda: self._index.apply(rows, removed, commit))

    def rows(self) -> list[Summary]:
        """What the index doesn't say yet."""
        return [agenda.summary(instance.ledger) for instance in self._dirty.values()]

    @property
    def has_rows(self) -> bool:
        """Whether the index lags behind."""
        return bool(self._dirty or self._removed)

    @property
    def unpublished(self) -> bool:
        return bool(self._writes)


class Background:
    """One thread for the slow things that nobody waits for: the index and the checkpoints, in order."""

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="durable-background", daemon=True)
            self._thread.start()
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
            except BaseException as error:
                self._report(error)
                return
