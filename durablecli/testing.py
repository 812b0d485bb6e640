"""For tests of workflows: the real engine on a hub in memory, with a clock that only the test moves.

    with testing.hub(my_orchestrator, my_activity) as hub:
        instance = hub.client.start_new(my_orchestrator, client_input=1)
        status = hub.finish(instance)

There are no threads, no files and no waiting. Activities and entity operations run one after another, in the order in
which they were scheduled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from durablecli.apps import function_registry
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.builtin.schedule_entity import DeclaredSchedules, make_schedule_entity
from durablecli.client import Client, DurableOrchestrationStatus
from durablecli.client.entity_waits import EntityWait
from durablecli.config import ConcurrencyConfig
from durablecli.engine.clock import VirtualClock
from durablecli.engine.engine import Engine
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.workers.activity import ActivityCall
from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.pool import ReportResult, WorkItem
from durablecli.errors import TimedOut
from durablecli.registry import Registry
from durablecli.store.hub import open_hub
from durablecli.store.inbox.messages import MessageItem, Receipt
from durablecli.store.index import Index
from durablecli.store.memory_disk import MemoryDisk
from durablecli.store.rate_file import RateFile

__all__ = ["TestEnvironment", "hub"]

START = datetime(2026, 1, 1, tzinfo=UTC)
_ROOT = "hub"
_MAX_STEPS = 1_000_000


def hub(*functions: Any, start: datetime = START, replay_always: bool = False) -> TestEnvironment:
    """Create a hub with these functions: decorated ones, modules that contain some, a DFApp or a Blueprint.

    Functions for the durabletask SDK need no decorator, if their contexts are annotated.

    `start` is the first time of its clock. With `replay_always` each turn replays the history from its beginning.
    """
    options = EngineOptions(replay_always=replay_always, use_threads=False, turn_budget=timedelta.max)
    is_registry = len(functions) == 1 and isinstance(functions[0], Registry)
    return TestEnvironment(functions[0] if is_registry else build_registry(*functions), start, options)


def build_registry(*functions: Any) -> Registry:
    """Create a registry of these functions, apps and modules."""
    registry = function_registry.build_registry(functions)
    registry.add_built_in([*make_call_http_functions(), make_schedule_entity(DeclaredSchedules())])
    return registry


class TestEnvironment:
    """A hub in memory. `client` is the usual client: the engine takes its messages at once, and executes them in `run`.

    `output_lines` are the lines that the engine printed.
    """

    __test__ = False
    """Tells pytest that this class, whose name begins with Test, contains no tests."""

    def __init__(
        self, registry: Registry, start: datetime, options: EngineOptions, disk: MemoryDisk | None = None
    ) -> None:
        self.clock = VirtualClock(start if start.tzinfo else start.replace(tzinfo=UTC))
        self._start = self.clock.now()
        self.disk = disk or MemoryDisk()
        self.registry = registry
        self.output_lines: list[str] = []
        self._options = options
        self.client = Client(_ROOT, DirectMailbox(self), self.disk)
        self.engine, self.pool = self._open_engine()

    def __enter__(self) -> TestEnvironment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── time ───────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Run the engine until nothing more can happen at the current time."""
        with self.engine.log_capture:
            for _ in range(_MAX_STEPS):
                worked = self.pool.run_next()
                if not self.engine.step() and not worked and self._is_quiescent():
                    self.engine.flush()
                    return
        raise TimedOut(f"the hub is still busy after {_MAX_STEPS:,} cycles; is there an infinite loop?")

    def advance(self, by: timedelta) -> None:
        """Advance the clock; timers fire at their times, one after another."""
        until = self.clock.now() + by
        self.run()
        while (due := self._next_due_time()) is not None and due <= until:
            self.clock.move_to(max(due, self.clock.now()))
            self.run()
        self.clock.move_to(until)

    def finish(self, instance_id: str, limit: timedelta = timedelta(days=366)) -> DurableOrchestrationStatus:
        """Advance the clock until an instance has ended, and return its status. Raises TimedOut after `limit`."""
        until = self.clock.now() + limit
        self.run()
        while not (status := self.client.get_status(instance_id)).ended:
            due = self._next_due_time()
            if due is None or due > until:
                raise TimedOut(f"{instance_id} hasn't ended: {self._explain_status(status)}")
            self.clock.move_to(max(due, self.clock.now()))
            self.run()
        return status

    def _explain_status(self, status: DurableOrchestrationStatus) -> str:
        """Explain why an instance makes no progress, and why those that it waits for make none."""
        if not status:
            return "no such instance"
        if status.set_aside is not None:
            return f"it is quarantined: {status.set_aside.reason}"
        if status.blocked is not None:
            return f"it is blocked: {status.blocked.reason}"
        if status.suspended is not None:
            return f"it is suspended{f': {status.suspended.reason}' if status.suspended.reason else ''}"
        waits = ", ".join(f"{each.kind} {each.name or ''}".rstrip() for each in status.waiting_for)
        return "; ".join([f"it is waiting for {waits or 'nothing'}", *self._explain_dependencies(status)])

    def _explain_dependencies(self, status: DurableOrchestrationStatus) -> Iterator[str]:
        """Explain what blocks the sub-orchestrations and entities that it is waiting for."""
        for wait in status.waiting_for:
            if wait.child is not None:
                child = self.client.get_status(wait.child)
                if not child.ended and (child.blocked or child.suspended or child.set_aside or child.waiting_for):
                    yield f"{wait.child}: {self._explain_status(child)}"
            elif isinstance(wait, EntityWait) and wait.blocked is not None:
                yield f"{wait.entity}: it is blocked: {wait.blocked}"

    def override(self, resource: Callable[..., Any], replacement: object) -> None:
        """Give this value, or another resource, to the activities that depend on a resource.

        Raises ValueError if `resource` isn't decorated with `@df.resource`.
        """
        self.registry.resources.override(resource, replacement)

    # ── engine ─────────────────────────────────────────────────────────────────────────────────────────────────

    def restart(self, *functions: Any) -> None:
        """Kill the engine and open the hub again, with other functions if some are given."""
        if functions:
            self.registry = build_registry(*functions)
        self.close()
        self.open()

    def open(self) -> None:
        """Open the hub again after `close`, with a new engine."""
        self.engine, self.pool = self._open_engine()

    def close(self) -> None:
        """Stop the engine as a kill would. Commits stay on the disk in memory."""
        self.engine.close()
        self.registry.close_resources()
        self.engine.hub.index.close()

    def _open_engine(self) -> tuple[Engine, InlinePool]:
        pool = InlinePool()
        self._inject_clients()

        def make_dispatcher(report: ReportResult) -> Dispatcher:
            pool.report = report
            remote_work = self._options.remote_work
            return Dispatcher(
                self.registry, report, ConcurrencyConfig(), make_pool=lambda kind: pool, remote_work=remote_work,
                clock=self._monotonic, rate_file=RateFile(self.disk, _ROOT),
            )  # fmt: skip

        opened = open_hub(_ROOT, self.disk, lock=False, index=Index())
        engine = Engine(
            opened,
            self.registry,
            options=self._options,
            clock=self.clock,
            make_dispatcher=make_dispatcher,
            echo=self.output_lines.append,
        )
        engine.open()
        return engine, pool

    def _inject_clients(self) -> None:
        """Give clients of this hub to the activities that ask for one."""
        if any(each.has_bindings for each in self.registry.functions_of_kind("activity")):
            from durablecli.azure import activities, invocation  # slow to import, and few apps need them

            activities.inject_clients(self.registry, lambda: invocation.ClientProvider(self.client))

    def _monotonic(self) -> float:
        return (self.clock.now() - self._start).total_seconds()

    def _next_due_time(self) -> datetime | None:
        """When the next timer fires, or a rate may let a call begin."""
        dispatcher = self.engine.dispatcher
        starts_in = None if dispatcher is None else dispatcher.limited.next_start_in
        begin = None if starts_in is None else self.clock.now() + timedelta(seconds=starts_in)
        return min((due for due in (self.engine.timers.next_due_time(), begin) if due is not None), default=None)

    def _is_quiescent(self) -> bool:
        due = self._next_due_time()
        return self.engine.is_quiescent and not self.pool.waiting and (due is None or due > self.clock.now())


class InlinePool:
    """The worker pool of all activities and entities. It runs one call at a time, in `run_next`."""

    def __init__(self) -> None:
        self.report: ReportResult = lambda result: None
        self.waiting: dict[WorkKey, WorkItem] = {}

    def start(self, calls: Iterable[WorkItem]) -> None:
        for call in calls:
            self.waiting[call.key] = call

    def run_next(self, key: WorkKey | None = None) -> bool:
        """Run the oldest call, or the one with this key; return False if there is none."""
        if not self.waiting:
            return False
        call = self.waiting.pop(next(iter(self.waiting)) if key is None else key)
        if isinstance(call, ActivityCall) and call.function.executor == "async":
            self.report(asyncio.run(call.run_async()))
        else:
            self.report(call.run())
        return True

    def cancel(self, key: WorkKey) -> None:
        call = self.waiting.pop(key, None)
        if call is not None:
            self.report(call.make_cancelled_result())

    def expire(self, call: WorkItem) -> None:
        """Nothing times out: the time of the clock passes only between calls."""

    def notify_cancel(self, key: WorkKey) -> None: ...

    def pause(self) -> None:
        self.waiting.clear()

    def maintain(self) -> None: ...

    @property
    def is_busy(self) -> bool:
        return False

    @property
    def capacity(self) -> int:
        return 1

    @property
    def queue_length(self) -> int:
        return len(self.waiting)

    def start_times(self) -> dict[WorkKey, float]:
        return {}

    def stop(self) -> None:
        self.waiting.clear()


class DirectMailbox:
    """A mailbox whose messages the engine commits before `post` returns."""

    def __init__(self, environment: TestEnvironment) -> None:
        self._environment = environment

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        engine = self._environment.engine
        submission = engine.submit(kind, items, message)
        with engine.log_capture:
            while not submission.done.is_set():
                engine.step()
        if submission.error is not None:
            raise submission.error
        return Receipt(submission.message.message, [item.instance for item in items])
