"""All the executors, and what runs in them: from a committed decision to the outcome that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from durablecli.config import ConcurrencyConfig
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import Cancellation
from durablecli.engine.workers.concurrency_limiter import ConcurrencyLimiter
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult
from durablecli.engine.workers.pool import ReportResult, WorkerPool, WorkItem
from durablecli.engine.workers.thread_pool import ThreadPool
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.entity_id import parse_entity_name
from durablecli.registry import Registry

_ENTITY = "entity"


class Dispatcher:
    """Starts each owed activity once. What is in flight isn't started a second time, whoever asks.

    Batches of entities have executors of their own: neither they nor activities ever wait for the others.
    """

    def __init__(
        self,
        registry: Registry,
        report: ReportResult,
        limits: ConcurrencyConfig,
        targets: Sequence[str] = (),
        base: str = ".",
        payload_limit: int = PAYLOAD_LIMIT,
        make_pool: Callable[[str], WorkerPool] | None = None,
        folder: str = ".",
    ) -> None:
        self._registry = registry
        self._payload_limit = payload_limit
        self._report = report
        self._limits = limits
        self._targets = targets
        self._base = base
        self._folder = folder
        self._make_pool = make_pool or self._make_default_pool
        self._pools: dict[str, WorkerPool] = {}
        self._limiter = ConcurrencyLimiter()
        self._in_flight: dict[WorkKey, WorkItem] = {}
        self._by_execution: dict[tuple[str, str], dict[WorkKey, WorkItem]] = {}
        self._pending_reruns: dict[WorkKey, ActivityTask] = {}
        """Work that is needed again while an earlier call of it, whose outcome doesn't count, hasn't come back yet."""
        self._abandoned_count = 0
        self._paused = False

    @property
    def in_flight_count(self) -> int:
        """How many calls and batches haven't come back."""
        return 0 if self._paused and not self._is_any_pool_busy() else len(self._in_flight)

    @property
    def awaited_count(self) -> int:
        """How many of them have an outcome that counts."""
        return max(0, self.in_flight_count - self._abandoned_count + len(self._pending_reruns))

    def _is_any_pool_busy(self) -> bool:
        return any(executor.is_busy for executor in self._pools.values())

    @property
    def pools(self) -> Mapping[str, WorkerPool]:
        """Those that were needed so far: thread, async, process, entity."""
        return self._pools

    def start_times(self) -> dict[WorkKey, float]:
        """The calls and batches that run, with the monotonic time at which each began; the others are queued."""
        found: dict[WorkKey, float] = {}
        for executor in self._pools.values():
            found |= executor.start_times()
        return found

    def iter_in_flight(self) -> Iterator[WorkItem]:
        """What is in flight."""
        return iter(self._in_flight.values())

    def find(self, key: WorkKey) -> WorkItem | None:
        """One call or batch; None where it isn't in flight."""
        return self._in_flight.get(key)

    def dispatch_activities(self, tasks: Iterable[ActivityTask]) -> None:
        """Run what a commit has decided."""
        batches: dict[str, list[ActivityCall]] = {}
        for job in tasks:
            key = (job.instance, job.execution, job.n)
            function = self._registry.find_activity(job.task.name)
            if function is None:
                continue
            if (earlier := self._in_flight.get(key)) is not None:
                if earlier.cancellation.requested:
                    self._pending_reruns[key] = job._replace(redelivered=True)
                continue
            first = job.task.retry_of or job.n
            task, limit = job.task, self._payload_limit
            call = ActivityCall(key, function, task.input, task.attempt, job.redelivered, first, limit, Cancellation())
            self._register(call)
            if not self._paused and self._limiter.try_enter(call):
                batches.setdefault(function.executor, []).append(call)
        for kind, calls in batches.items():
            self._get_pool(kind).start(calls)

    def dispatch_entity_batches(self, tasks: Iterable[EntityBatchTask]) -> None:
        """Run operations that a commit holds. An entity has one batch in flight at most: who asks sees to that."""
        batches: list[EntityBatchCall] = []
        for job in tasks:
            key = (job.entity, job.execution, job.operations[-1].n)
            function = self._registry.find_entity(parse_entity_name(job.entity))
            if key in self._in_flight or function is None:
                continue
            batch = EntityBatchCall(
                key, function, job.state, job.operations, self._payload_limit, Cancellation(), job.at
            )
            self._register(batch)
            if not self._paused:
                batches.append(batch)
        if batches:
            self._get_pool(_ENTITY).start(batches)

    def _register(self, work: WorkItem) -> None:
        self._in_flight[work.key] = work
        self._by_execution.setdefault(work.key[:2], {})[work.key] = work

    def complete(self, result: ActivityResult | EntityBatchResult) -> WorkItem | None:
        """An outcome has come in: what it belongs to, or None when nobody waits for it any more."""
        call = self._unregister(result.key)
        if call is None:
            return None
        following = self._limiter.leave(call.function)
        if following is not None and not self._paused:
            self._get_pool(following.function.executor).start([following])
        again = self._pending_reruns.pop(result.key, None)
        if call.cancellation.result_counts:
            return call
        if again is not None:
            self.dispatch_activities([again])
        return None

    def abandon(self, keys: Iterable[WorkKey]) -> None:
        """Wait for these batches no more: their outcomes don't count, whether they come or not."""
        for key in keys:
            batch = self._unregister(key)
            if batch is not None:
                self._cancel_call(batch)

    def _unregister(self, key: WorkKey) -> WorkItem | None:
        call = self._in_flight.pop(key, None)
        if call is not None:
            self._abandoned_count -= call.cancellation.abandoned
            siblings = self._by_execution[key[:2]]
            del siblings[key]
            if not siblings:
                del self._by_execution[key[:2]]
        return call

    def _cancel_call(self, call: WorkItem) -> None:
        if call.key in self._in_flight and not call.cancellation.abandoned:
            self._abandoned_count += 1
        call.cancellation.abandon()
        executor = self._pools.get(pool_kind(call))
        if executor is not None:
            executor.cancel(call.key)

    def cancel_execution(self, instance: str, execution: str) -> None:
        """Tell every call of one execution to stop; their outcomes are dropped."""
        for call in self._by_execution.get((instance, execution), {}).values():
            self._cancel_call(call)

    def end_execution(self, instance: str, execution: str, abandoned: frozenset[int]) -> None:
        """An execution has ended: all its calls see that, and those that lost a race are stopped."""
        for call in self._by_execution.get((instance, execution), {}).values():
            if call.key[2] in abandoned:
                self._cancel_call(call)
            elif not call.cancellation.requested:
                call.cancellation.request()
                executor = self._pools.get(pool_kind(call))
                if executor is not None:
                    executor.notify_cancel(call.key)

    def pause(self) -> None:
        """Start nothing more, and let what runs know: the engine is stopping."""
        self._paused = True
        for call in self._in_flight.values():
            call.cancellation.request()
        for executor in self._pools.values():
            executor.pause()

    def stop(self) -> None:
        for call in self._in_flight.values():
            call.cancellation.abandon()
        for executor in self._pools.values():
            executor.stop()

    def maintain(self) -> None:
        """Go on with what couldn't be started for want of threads."""
        for executor in self._pools.values():
            executor.maintain()

    def _get_pool(self, kind: str) -> WorkerPool:
        executor = self._pools.get(kind)
        if executor is None:
            executor = self._pools[kind] = self._make_pool(kind)
        return executor

    def _make_default_pool(self, kind: str) -> WorkerPool:
        if kind == "async":
            from durablecli.engine.workers.async_pool import AsyncPool

            return AsyncPool(self._limits.async_activities, self._report)
        if kind == "process":
            from durablecli.engine.workers.process_pool import ProcessPool

            return ProcessPool(self._limits.process_workers, self._report, self._targets, self._base, self._folder)
        if kind == _ENTITY:
            return ThreadPool(self._limits.entities, self._report, "entity")
        return ThreadPool(self._limits.activities, self._report)


def pool_kind(work: WorkItem) -> str:
    """The executor that runs it: thread, async, process or entity."""
    return work.function.executor if isinstance(work, ActivityCall) else _ENTITY
