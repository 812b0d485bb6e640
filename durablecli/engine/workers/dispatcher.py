"""Dispatches the work that commits have decided to the worker pools, and matches the results to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic

from msgspec.structs import replace

from durablecli.config import ConcurrencyConfig
from durablecli.engine.workers.activity import ActivityCall, ActivityResult
from durablecli.engine.workers.activity_context import ENGINE_STOPS, Cancellation
from durablecli.engine.workers.app_location import AppLocation
from durablecli.engine.workers.deadlines import Deadlines, make_timed_out_result
from durablecli.engine.workers.decided_tasks import ActivityTask, EntityBatchTask, WorkKey
from durablecli.engine.workers.entity_batch import EntityBatchCall, EntityBatchResult
from durablecli.engine.workers.limited_calls import LimitedCalls, is_limited
from durablecli.engine.workers.pool import ReportResult, WorkerPool, WorkItem
from durablecli.engine.workers.pool_set import ENTITY, PoolSet
from durablecli.engine.workers.remote_calls import REMOTE, RemoteFunctions, make_remote_call
from durablecli.engine.workers.traced_calls import trace_below_execution
from durablecli.engine.workers.work_output import OutputLog
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.entity_id import parse_entity_name
from durablecli.registry import Function, Registry
from durablecli.store.rate_file import RateFile
from durablecli.telemetry.interface import Tracing

_ENDED = "the orchestration has ended"
_NO_APP = AppLocation()
_NO_TIMEOUTS = (None, None, None, None)


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
        tracing: Tracing | None = None,
        remote_work: WorkerPool | None = None,
        clock: Callable[[], float] = monotonic,
        rate_file: RateFile | None = None,
        *,
        use_threads: bool = True,
    ) -> None:
        """`remote_work` takes the calls of functions that aren't loaded here; without it they aren't dispatched.

        Rates and time-outs count by `clock`, and rates over restarts if there is a `rate_file`. Without `use_threads`,
        which another clock than the system's needs, time-outs are looked at in `maintain` only.
        """
        self._registry = registry
        self._remote = RemoteFunctions(are_served=remote_work is not None)
        self._payload_limit = payload_limit
        self._report = report
        self.output_log: OutputLog | None = None
        """Takes what the calls print and log."""
        self._tracing = tracing
        self._pools = PoolSet(report, limits, app, make_pool, remote_work)
        self.limited = LimitedCalls(self._start_calls, report, registry.find_activity, clock, rate_file)
        self._in_flight: dict[WorkKey, WorkItem] = {}
        self._by_execution: dict[tuple[str, str], dict[WorkKey, WorkItem]] = {}
        self._remote_by_execution: dict[tuple[str, str], dict[WorkKey, WorkItem]] = {}
        self._remote_count = 0
        self._pending_reruns: dict[WorkKey, ActivityTask] = {}
        """Tasks that are needed again, but whose earlier call, whose result doesn't count, is still in flight."""
        self._abandoned_count = 0
        self.deadlines = Deadlines(self._expire, clock, threaded=use_threads)
        self._paused = False

    @property
    def in_flight_count(self) -> int:
        """How many calls and batches are in flight."""
        return 0 if self._paused and not self._pools.is_any_busy else len(self._in_flight)

    @property
    def local_count(self) -> int:
        """How many calls and batches in flight run here."""
        return max(0, self.in_flight_count - self._remote_count)

    @property
    def executions_in_flight_count(self) -> int:
        """How many executions and entities have calls or batches in flight here."""
        return len(self._by_execution)

    @property
    def capacity(self) -> int:
        """How many calls could run here at once. Where calls are queued, no more than in their pool: others don't
        help."""
        return self._pools.capacity

    @property
    def awaited_count(self) -> int:
        """How many calls and batches in flight have a result that counts."""
        return max(0, self.in_flight_count - self._abandoned_count + len(self._pending_reruns))

    @property
    def pools(self) -> Mapping[str, WorkerPool]:
        """The pools that have been needed so far, by kind: thread, async, process, entity; and remote, if served."""
        return self._pools.by_kind

    def start_times(self) -> dict[WorkKey, float]:
        """Return the running calls and batches, each with the monotonic time of its start; the others are queued."""
        return self._pools.start_times()

    def iter_in_flight(self) -> Iterator[WorkItem]:
        """Yield the calls and batches in flight."""
        return iter(self._in_flight.values())

    def find(self, key: WorkKey) -> WorkItem | None:
        """Return a call or batch in flight, or None."""
        return self._in_flight.get(key)

    def dispatch_activities(self, tasks: Iterable[ActivityTask]) -> None:
        """Run the activities that a commit has decided."""
        batches: dict[str, list[ActivityCall]] = {}
        limited: list[ActivityCall] = []
        for task in tasks:
            key = (task.instance, task.execution, task.n)
            scheduled = task.task
            function = self._registry.find_activity(scheduled.name) or self._remote.find("activity", scheduled.name)
            if function is None:
                continue
            if (earlier := self._in_flight.get(key)) is not None:
                if earlier.cancellation.requested:
                    self._pending_reruns[key] = replace(task, redelivered=True)
                continue
            call = self._make_call(key, function, task)
            if function.executor == REMOTE:
                call = make_remote_call(call, task)
            elif task.trace is not None and self._tracing is not None:
                call = trace_below_execution(call, task.trace, self._tracing)
            self._register(call)
            if self._paused:
                continue
            if (options := function.options).max_concurrency is None and options.rate is None:
                batches.setdefault(function.executor, []).append(call)
            else:
                limited.append(call)
        self._start_batches(batches)
        if limited:
            self.limited.add(limited)

    def _start_calls(self, calls: Iterable[ActivityCall]) -> None:
        batches: dict[str, list[ActivityCall]] = {}
        for call in calls:
            batches.setdefault(call.function.executor, []).append(call)
        self._start_batches(batches)

    def _start_batches(self, batches: Mapping[str, list[ActivityCall]]) -> None:
        for kind, batch in batches.items():
            self._pools.get(kind).start(batch)

    def _make_call(self, key: WorkKey, function: Function, task: ActivityTask) -> ActivityCall:
        scheduled, options, cancellation = task.task, function.options, Cancellation()
        timeouts = options.timeout, options.heartbeat_timeout, scheduled.timeout, scheduled.heartbeat_timeout
        if timeouts != _NO_TIMEOUTS:
            remote = function.executor == REMOTE
            cancellation.timer = self.deadlines.make_timer(options, scheduled, remote=remote)
        return ActivityCall(
            key,
            function,
            scheduled.input,
            scheduled.attempt,
            task.redelivered,
            scheduled.retry_of or task.n,
            self._payload_limit,
            cancellation,
            self.output_log,
            priority=scheduled.priority,
        )

    def _expire(self, call: ActivityCall, text: str) -> None:
        """Stop a call that has timed out, and report that as its result. Called by the thread of the deadlines."""
        call.cancellation.expire(f"timed out: {text}")
        try:
            self._pools.get(pool_kind(call)).expire(call)
        finally:
            self._report(make_timed_out_result(call.key, text))

    def dispatch_entity_batches(self, tasks: Iterable[EntityBatchTask]) -> None:
        """Run the entity batches that a commit has decided. The caller has at most one of an entity in flight."""
        batches: dict[str, list[EntityBatchCall]] = {}
        for task in tasks:
            key = (task.entity, task.execution, task.operations[-1].n)
            name = parse_entity_name(task.entity)
            function = self._registry.find_entity(name) or self._remote.find(ENTITY, name)
            if key in self._in_flight or function is None:
                continue
            batch = EntityBatchCall(
                key,
                function,
                task.state,
                task.operations,
                self._payload_limit,
                Cancellation(),
                task.at,
                self.output_log,
                self._tracing,
            )
            self._register(batch)
            if not self._paused:
                batches.setdefault(pool_kind(batch), []).append(batch)
        for kind, calls in batches.items():
            self._pools.get(kind).start(calls)

    def _register(self, work: WorkItem) -> None:
        key = work.key
        self._in_flight[key] = work
        self._siblings_of(work).setdefault(key[:2], {})[key] = work
        self._remote_count += work.function.executor == REMOTE

    def _siblings_of(self, work: WorkItem) -> dict[tuple[str, str], dict[WorkKey, WorkItem]]:
        return self._remote_by_execution if work.function.executor == REMOTE else self._by_execution

    def _list_calls(self, instance: str, execution: str) -> list[WorkItem]:
        key = (instance, execution)
        found = [*self._by_execution.get(key, {}).values()]
        return [*found, *self._remote_by_execution.get(key, {}).values()] if self._remote_by_execution else found

    def complete(self, result: ActivityResult | EntityBatchResult) -> WorkItem | None:
        """Return the call or batch that a result belongs to; None if the result doesn't count any more."""
        has_result = type(result) is not ActivityResult or not result.must_rerun
        if not has_result and self._begin_again(result.key):
            return None
        call = self._unregister(result.key)
        if call is None:
            return None
        if (options := call.function.options).max_concurrency is not None or options.rate is not None:
            self.limited.leave(call.key)
        rerun = self._pending_reruns.pop(result.key, None) if self._pending_reruns else None
        if has_result and call.cancellation.result_counts:
            return call
        if rerun is not None:
            self.dispatch_activities([rerun])
        return None

    def _begin_again(self, key: WorkKey) -> bool:
        """Have a call whose worker has died wait for its limits once more, unless it is to stop. Its time-outs stay."""
        call = self._in_flight.get(key)
        if not isinstance(call, ActivityCall) or call.cancellation.requested:
            return False
        self.limited.leave(key)
        self.limited.add([replace(call, redelivered=True)])
        return True

    def abandon(self, keys: Iterable[WorkKey]) -> None:
        """Cancel these batches and wait for them no longer; their results don't count."""
        for key in keys:
            batch = self._unregister(key)
            if batch is not None:
                self._cancel_call(batch, "its result doesn't count any more")

    def _unregister(self, key: WorkKey) -> WorkItem | None:
        call = self._in_flight.pop(key, None)
        if call is not None:
            self._abandoned_count -= call.cancellation.abandoned
            if call.cancellation.timer is not None:
                call.cancellation.timer.settle()
            self._remote_count -= call.function.executor == REMOTE
            execution, by_execution = key[:2], self._siblings_of(call)
            siblings = by_execution[execution]
            del siblings[key]
            if not siblings:
                del by_execution[execution]
        return call

    def _cancel_call(self, call: WorkItem, reason: str) -> None:
        if call.key in self._in_flight and not call.cancellation.abandoned:
            self._abandoned_count += 1
        call.cancellation.abandon(reason)
        if is_limited(call.function):
            self.limited.limiter.note_cancelled(call.key)
        pool = self._pools.by_kind.get(pool_kind(call))
        if pool is not None:
            pool.cancel(call.key)

    def cancel(self, key: WorkKey, reason: str) -> None:
        """Cancel a call; its result doesn't count."""
        self._pending_reruns.pop(key, None)
        call = self._in_flight.get(key)
        if call is not None:
            self._cancel_call(call, reason)

    def cancel_execution(self, instance: str, execution: str, reason: str = "terminated") -> None:
        """Cancel all calls of an execution; their results don't count. `reason` is for their functions."""
        for call in self._list_calls(instance, execution):
            self._cancel_call(call, reason)

    def end_execution(self, instance: str, execution: str, abandoned: frozenset[int]) -> None:
        """Ask the calls of an ended execution to stop, and cancel the `abandoned` ones, which lost a race."""
        for call in self._list_calls(instance, execution):
            if call.key[2] in abandoned:
                self._cancel_call(call, _ENDED)
            elif not call.cancellation.requested:
                call.cancellation.request(_ENDED)
                pool = self._pools.by_kind.get(pool_kind(call))
                if pool is not None:
                    pool.notify_cancel(call.key)

    def pause(self) -> None:
        """Start nothing more, and ask running calls to stop, because the engine stops."""
        self._paused = True
        self.limited.pause()
        for call in self._in_flight.values():
            call.cancellation.request()
        self._pools.pause()

    def stop(self) -> None:
        for call in self._in_flight.values():
            call.cancellation.abandon(ENGINE_STOPS)
        self.deadlines.stop()
        self._pools.stop()
        self.limited.limiter.close()

    def maintain(self) -> None:
        """Start what a rate lets begin now and what couldn't be started for lack of threads, and offer the work of lost
        workers again. Without threads, expire what has timed out."""
        self.limited.maintain()
        self._pools.maintain()
        self.deadlines.maintain()

    def set_app(self, app: AppLocation) -> None:
        """Have worker processes load the app from here. Those that run finish their call before they are replaced."""
        self._pools.set_app(app)


def pool_kind(work: WorkItem) -> str:
    """Return the kind of pool that runs it: thread, async, process, entity or remote."""
    executor = work.function.executor
    return executor if isinstance(work, ActivityCall) or executor == REMOTE else ENTITY
