"""Dispatches the work that commits have decided to the worker pools, and matches the results to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec.structs import replace

from durablecli.config import ConcurrencyConfig
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.concurrency_limiter import ConcurrencyLimiter
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult
from durablecli.engine.workers.pool import ReportResult, WorkerPool, WorkItem
from durablecli.engine.workers.thread_pool import ThreadPool
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.entity_id import parse_entity_name
from durablecli.registry import Function, Registry

_ENTITY = "entity"
_NO_APP = AppLocation()


class Dispatcher:
    """Starts each activity and each entity batch once; one that is in flight isn't started a second time.

    Entity batches have a pool of their own, so neither they nor activities wait for the others.
    """

    def __init__(
        self,
        registry: Registry,
        report: ReportResult,
        limits: ConcurrencyConfig,
        app: AppLocation = _NO_APP,
        payload_limit: int = PAYLOAD_LIMIT,
        make_pool: Callable[[str], WorkerPool] | None = None,
    ) -> None:
        self._registry = registry
        self._payload_limit = payload_limit
        self._report = report
        self._limits = limits
        self._app = app
        self._make_pool = make_pool or self._make_default_pool
        self._pools: dict[str, WorkerPool] = {}
        self._limiter = ConcurrencyLimiter()
        self._in_flight: dict[WorkKey, WorkItem] = {}
        self._by_execution: dict[tuple[str, str], dict[WorkKey, WorkItem]] = {}
        self._pending_reruns: dict[WorkKey, ActivityTask] = {}
        """Tasks that are needed again, but whose earlier call, whose result doesn't count, is still in flight."""
        self._abandoned_count = 0
        self._paused = False

    @property
    def in_flight_count(self) -> int:
        """How many calls and batches are in flight."""
        return 0 if self._paused and not self._is_any_pool_busy() else len(self._in_flight)

    @property
    def executions_in_flight_count(self) -> int:
        """How many executions and entities have calls or batches in flight."""
        return len(self._by_execution)

    @property
    def capacity(self) -> int:
        """How many calls could run at once. Where calls are queued, no more than in their pool: others don't help."""
        full = [pool.capacity for pool in self._pools.values() if pool.queue_length]
        return min(full) if full else sum(pool.capacity for pool in self._pools.values())

    @property
    def awaited_count(self) -> int:
        """How many calls and batches in flight have a result that counts."""
        return max(0, self.in_flight_count - self._abandoned_count + len(self._pending_reruns))

    def _is_any_pool_busy(self) -> bool:
        return any(pool.is_busy for pool in self._pools.values())

    @property
    def pools(self) -> Mapping[str, WorkerPool]:
        """The pools that have been needed so far, by kind: thread, async, process, entity."""
        return self._pools

    def start_times(self) -> dict[WorkKey, float]:
        """Return the running calls and batches, each with the monotonic time of its start; the others are queued."""
        times: dict[WorkKey, float] = {}
        for pool in self._pools.values():
            times |= pool.start_times()
        return times

    def iter_in_flight(self) -> Iterator[WorkItem]:
        """Yield the calls and batches in flight."""
        return iter(self._in_flight.values())

    def find(self, key: WorkKey) -> WorkItem | None:
        """Return a call or batch in flight, or None."""
        return self._in_flight.get(key)

    def dispatch_activities(self, tasks: Iterable[ActivityTask]) -> None:
        """Run the activities that a commit has decided."""
        batches: dict[str, list[ActivityCall]] = {}
        for task in tasks:
            key = (task.instance, task.execution, task.n)
            scheduled = task.task
            function = self._registry.find_activity(scheduled.name)
            if function is None:
                continue
            if (earlier := self._in_flight.get(key)) is not None:
                if earlier.cancellation.requested:
                    self._pending_reruns[key] = replace(task, redelivered=True)
                continue
            call = ActivityCall(
                key,
                function,
                scheduled.input,
                scheduled.attempt,
                task.redelivered,
                scheduled.retry_of or task.n,
                self._payload_limit,
                Cancellation(),
            )
            self._register(call)
            if not self._paused and (function.max_concurrency is None or self._limiter.try_enter(call)):
                batches.setdefault(function.executor, []).append(call)
        for kind, calls in batches.items():
            self._get_pool(kind).start(calls)

    def dispatch_entity_batches(self, tasks: Iterable[EntityBatchTask]) -> None:
        """Run the entity batches that a commit has decided. The caller has at most one of an entity in flight."""
        batches: list[EntityBatchCall] = []
        for task in tasks:
            key = (task.entity, task.execution, task.operations[-1].n)
            function = self._registry.find_entity(parse_entity_name(task.entity))
            if key in self._in_flight or function is None:
                continue
            batch = EntityBatchCall(
                key, function, task.state, task.operations, self._payload_limit, Cancellation(), task.at
            )
            self._register(batch)
            if not self._paused:
                batches.append(batch)
        if batches:
            self._get_pool(_ENTITY).start(batches)

    def _register(self, work: WorkItem) -> None:
        key = work.key
        self._in_flight[key] = work
        self._by_execution.setdefault(key[:2], {})[key] = work

    def complete(self, result: ActivityResult | EntityBatchResult) -> WorkItem | None:
        """Return the call or batch that a result belongs to; None if the result doesn't count any more."""
        call = self._unregister(result.key)
        if call is None:
            return None
        if call.function.max_concurrency is not None:
            self._start_next(call.function)
        rerun = self._pending_reruns.pop(result.key, None) if self._pending_reruns else None
        if call.cancellation.result_counts:
            return call
        if rerun is not None:
            self.dispatch_activities([rerun])
        return None

    def _start_next(self, function: Function) -> None:
        """Start the call that a limit has held back, now that one has ended."""
        next_call = self._limiter.leave(function)
        if next_call is not None and not self._paused:
            self._get_pool(next_call.function.executor).start([next_call])

    def abandon(self, keys: Iterable[WorkKey]) -> None:
        """Cancel these batches and wait for them no longer; their results don't count."""
        for key in keys:
            batch = self._unregister(key)
            if batch is not None:
                self._cancel_call(batch)

    def _unregister(self, key: WorkKey) -> WorkItem | None:
        call = self._in_flight.pop(key, None)
        if call is not None:
            self._abandoned_count -= call.cancellation.abandoned
            execution = key[:2]
            siblings = self._by_execution[execution]
            del siblings[key]
            if not siblings:
                del self._by_execution[execution]
        return call

    def _cancel_call(self, call: WorkItem) -> None:
        if call.key in self._in_flight and not call.cancellation.abandoned:
            self._abandoned_count += 1
        call.cancellation.abandon()
        pool = self._pools.get(pool_kind(call))
        if pool is not None:
            pool.cancel(call.key)

    def cancel_execution(self, instance: str, execution: str) -> None:
        """Cancel all calls of an execution; their results don't count."""
        for call in self._by_execution.get((instance, execution), {}).values():
            self._cancel_call(call)

    def end_execution(self, instance: str, execution: str, abandoned: frozenset[int]) -> None:
        """Ask the calls of an ended execution to stop, and cancel the `abandoned` ones, which lost a race."""
        for call in self._by_execution.get((instance, execution), {}).values():
            if call.key[2] in abandoned:
                self._cancel_call(call)
            elif not call.cancellation.requested:
                call.cancellation.request()
                pool = self._pools.get(pool_kind(call))
                if pool is not None:
                    pool.notify_cancel(call.key)

    def pause(self) -> None:
        """Start nothing more, and ask running calls to stop, because the engine stops."""
        self._paused = True
        for call in self._in_flight.values():
            call.cancellation.request()
        for pool in self._pools.values():
            pool.pause()

    def stop(self) -> None:
        for call in self._in_flight.values():
            call.cancellation.abandon()
        for pool in self._pools.values():
            pool.stop()

    def maintain(self) -> None:
        """Retry what couldn't be started for lack of threads."""
        for pool in self._pools.values():
            pool.maintain()

    def _get_pool(self, kind: str) -> WorkerPool:
        pool = self._pools.get(kind)
        if pool is None:
            pool = self._pools[kind] = self._make_pool(kind)
        return pool

    def _make_default_pool(self, kind: str) -> WorkerPool:
        if kind == "async":
            from durablecli.engine.workers.async_pool import AsyncPool

            return AsyncPool(self._limits.async_activities, self._report)
        if kind == "process":
            from durablecli.engine.workers.process_pool import ProcessPool

            return ProcessPool(self._limits.process_workers, self._report, self._app)
        if kind == _ENTITY:
            return ThreadPool(self._limits.entities, self._report, "entity")
        return ThreadPool(self._limits.activities, self._report)


def pool_kind(work: WorkItem) -> str:
    """Return the kind of pool that runs it: thread, async, process or entity."""
    return work.function.executor if isinstance(work, ActivityCall) else _ENTITY
