"""The worker pools of a dispatcher, by kind; each is made when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from durablecli.config import ConcurrencyConfig
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.pool import ReportResult, WorkerPool
from durablecli.engine.workers.remote_calls import REMOTE
from durablecli.engine.workers.thread_pool import ThreadPool

if TYPE_CHECKING:  # few apps need it
    from durablecli.engine.workers.process_pool import ProcessPool

ENTITY = "entity"
"""The kind of the pool that runs the operations of entities."""


class PoolSet:
    """The pools: thread, async, process, entity; and remote, if workers are served."""

    def __init__(
        self,
        report: ReportResult,
        limits: ConcurrencyConfig,
        app: AppLocation,
        make_pool: Callable[[str], WorkerPool] | None,
        remote_work: WorkerPool | None,
    ) -> None:
        self._report = report
        self._limits = limits
        self._app = app
        self._process_pool: ProcessPool | None = None
        self._make_pool = make_pool or self._make_default_pool
        self._pools: dict[str, WorkerPool] = {} if remote_work is None else {REMOTE: remote_work}

    @property
    def by_kind(self) -> Mapping[str, WorkerPool]:
        """The pools that have been needed so far."""
        return self._pools

    def get(self, kind: str) -> WorkerPool:
        """Return the pool of a kind."""
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = self._make_pool(kind)
        return pool

    @property
    def is_any_busy(self) -> bool:
        """Whether any of them runs a call."""
        return any(pool.is_busy for pool in self._pools.values())

    @property
    def capacity(self) -> int:
        """How many calls could run here at once. Where calls are queued, no more than in their pool: others don't
        help."""
        pools = [pool for kind, pool in self._pools.items() if kind != REMOTE]
        full = [pool.capacity for pool in pools if pool.queue_length]
        return min(full) if full else sum(pool.capacity for pool in pools)

    def start_times(self) -> dict[WorkKey, float]:
        """Return the running calls and batches, each with the monotonic time of its start; the others are queued."""
        times: dict[WorkKey, float] = {}
        for pool in self._pools.values():
            times |= pool.start_times()
        return times

    def pause(self) -> None:
        """Start nothing more."""
        for pool in self._pools.values():
            pool.pause()

    def stop(self) -> None:
        """End the threads and processes."""
        for pool in self._pools.values():
            pool.stop()

    def maintain(self) -> None:
        """Retry what couldn't be started for lack of threads, and offer the work of lost workers again."""
        for pool in self._pools.values():
            pool.maintain()

    def set_app(self, app: AppLocation) -> None:
        """Have worker processes load the app from here, from their next start on."""
        self._app = app
        if self._process_pool is not None:
            self._process_pool.set_app(app)

    def _make_default_pool(self, kind: str) -> WorkerPool:
        if kind == "async":
            from durablecli.engine.workers.async_pool import AsyncPool

            return AsyncPool(self._limits.async_activities, self._report)
        if kind == "process":
            from durablecli.engine.workers.process_pool import ProcessPool

            self._process_pool = pool = ProcessPool(self._limits.process_workers, self._report, self._app)
            return pool
        if kind == ENTITY:
            return ThreadPool(self._limits.entities, self._report, "entity")
        return ThreadPool(self._limits.activities, self._report)
