"""A hub in memory, whose engine a test runs: `TestEnvironment`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from durablecli.apps import function_registry
from durablecli.apps.declared_schedules import collect_schedules
from durablecli.builtin.call_http import make_call_http_functions
from durablecli.builtin.schedule_entity import DeclaredSchedules, make_schedule_entity
from durablecli.builtin.schedule_starts import ensure_schedules
from durablecli.client import Client, DurableOrchestrationStatus
from durablecli.client.entity_waits import EntityWait
from durablecli.config import ConcurrencyConfig, Config, config_from_mapping
from durablecli.engine.clock import VirtualClock
from durablecli.engine.engine import Engine
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.engine.workers.pool import ReportResult
from durablecli.errors import ConfigError, TimedOut
from durablecli.model.time_spans import Duration, to_duration
from durablecli.model.versions import VersionPolicy
from durablecli.registry import Registry
from durablecli.replay.function_marks import function_name
from durablecli.store.hub import open_hub
from durablecli.store.inbox.messages import MessageItem, Receipt
from durablecli.store.index import Index
from durablecli.store.memory_disk import MemoryDisk
from durablecli.store.rate_file import RateFile
from durablecli.testing.fakes import Fake, Fakes
from durablecli.testing.inline_pool import InlinePool

START = datetime(2026, 1, 1, tzinfo=UTC)
_ROOT = "hub"
_MAX_STEPS = 1_000_000


def hub(
    *functions: Any,
    start: datetime = START,
    replay_always: bool = False,
    schedules: bool = False,
    config: Config | Mapping[str, object] | None = None,
) -> TestEnvironment:
    """Create a hub with these functions: decorated ones, modules that contain some, a DFApp or a Blueprint.

    Functions for the durabletask SDK need no decorator, if their contexts are annotated.

    `start` is the first time of its clock. With `replay_always` each turn replays the history from its beginning. With
    `schedules` the orchestrators that have a schedule run by it.

    `config` are settings as in durable.yaml, which isn't read: `{"retention": {"completed": "30d"}}`. Those of
    retention, limits, payloads, versions, `on_nondeterminism` and schedules have an effect. Raises ConfigError for
    invalid ones.
    """
    settings = config if isinstance(config, Config) else config_from_mapping(config or {})
    is_registry = len(functions) == 1 and isinstance(functions[0], Registry)
    registry = functions[0] if is_registry else build_registry(*functions)
    return TestEnvironment(
        registry, start, _make_options(settings, replay_always), schedules=settings if schedules else None
    )


def _make_options(config: Config, replay_always: bool) -> EngineOptions:
    return EngineOptions(
        replay_always=replay_always or config.replay_always,
        fail_on_nondeterminism=config.on_nondeterminism == "fail",
        versions=VersionPolicy(config.default_version, config.version_match, config.version_failure == "fail"),
        limits=config.limits,
        retention=config.retention,
        spill_over=config.payloads.spill_over,
        use_threads=False,
        turn_budget=timedelta.max,
    )


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
        self,
        registry: Registry,
        start: datetime,
        options: EngineOptions,
        disk: MemoryDisk | None = None,
        *,
        schedules: Config | None = None,
    ) -> None:
        """`schedules` are the settings with which schedules run; without them none does."""
        self.clock = VirtualClock(start if start.tzinfo else start.replace(tzinfo=UTC))
        self._start = self.clock.now()
        self.disk = disk or MemoryDisk()
        self.registry = registry
        self.output_lines: list[str] = []
        self._options = options
        self._schedules = schedules
        self._fakes = Fakes()
        self.client = Client(_ROOT, DirectMailbox(self), self.disk, now=self.clock.now)
        self.open()

    def __enter__(self) -> TestEnvironment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── time ───────────────────────────────────────────────────────────────────────────────────────────────────

    def run(self) -> None:
        """Run the engine until nothing more can happen at the current time."""
        with self.engine.log_capture:
            for _ in range(_MAX_STEPS):
                worked = self.pool.continue_calls() or self.pool.run_next()
                is_idle = not self.engine.step() and not worked and self._is_quiescent()
                if is_idle and not self._wait_outside():
                    self.engine.flush()
                    return
        raise TimedOut(f"the hub is still busy after {_MAX_STEPS:,} cycles; is there an infinite loop?")

    def advance(self, by: timedelta) -> None:
        """Advance the clock; whatever comes due happens at its time, one after another."""
        until = self.clock.now() + by
        self.run()
        while self.clock.now() < until:
            due = self._next_due_time()
            self._move_to(until if due is None else min(due, until))

    def finish(self, instance_id: str, limit: timedelta = timedelta(days=366)) -> DurableOrchestrationStatus:
        """Advance the clock until an instance has ended, and return its status. Raises TimedOut after `limit`."""
        until = self.clock.now() + limit
        self.run()
        while not (status := self.client.get_status(instance_id)).ended:
            due = self._next_due_time()
            if due is None or due > until or not self._can_continue():
                raise TimedOut(f"{instance_id} hasn't ended: {self._explain_status(status)}")
            self._move_to(due)
        return status

    def _move_to(self, due: datetime) -> None:
        """Move the clock on, to a time at which something is due. What was due by now has happened."""
        self.clock.move_to(max(due, self.clock.now() + timedelta.resolution))
        self.run()

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
        self.pool.close_resources()

    def fake(self, activity: str | Callable[..., Any], outcome: Any = None, *, takes: Duration = timedelta(0)) -> None:
        """Give calls of an activity this outcome from now on, `takes` of the clock's time after they begin.

        An exception is raised. A function is called with the input of the activity, or with what else its parameters
        ask for, as if it were the activity; so is any other callable. Another value is the result. A name that no
        function has is accepted.
        """
        name = function_name(activity, "activity")
        self._fakes.add(self.registry, name, Fake(outcome, to_duration("takes", takes, timedelta(0))))

    # ── engine ─────────────────────────────────────────────────────────────────────────────────────────────────

    def restart(self, *functions: Any) -> None:
        """Kill the engine and open the hub again, with other functions if some are given."""
        if functions:
            self.registry = build_registry(*functions)
            self._fakes.add_all(self.registry)
        self.close()
        self.open()

    def open(self) -> None:
        """Open the hub again after `close`, with a new engine."""
        declared = None if self._schedules is None else collect_schedules(self.registry, self._schedules)
        if declared is not None and declared.problems:
            raise ConfigError(declared.problems[0])
        self.engine, self.pool = self._open_engine()
        if declared is not None:
            ensure_schedules(declared, self.client, DirectMailbox(self), is_complete=True)

    def close(self) -> None:
        """Stop the engine as a kill would. Commits stay on the disk in memory."""
        self.engine.close()
        self.registry.close_resources()
        self.engine.hub.index.close()

    def _open_engine(self) -> tuple[Engine, InlinePool]:
        pool = InlinePool(self.clock)
        self._inject_clients()

        def make_dispatcher(report: ReportResult) -> Dispatcher:
            pool.report = report
            remote_work = self._options.remote_work
            return Dispatcher(
                self.registry, report, ConcurrencyConfig(), make_pool=lambda kind: pool, remote_work=remote_work,
                clock=self._monotonic, rate_file=RateFile(self.disk, _ROOT), use_threads=False,
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
        """When the next timer fires, a call times out, a rate may let one begin, or asyncio wakes one."""
        return min((due for due in (self._next_engine_time(), self.pool.due_at) if due is not None), default=None)

    def _next_engine_time(self) -> datetime | None:
        dispatcher = self.engine.dispatcher
        waits = () if dispatcher is None else (dispatcher.limited.next_start_in, dispatcher.deadlines.next_due_in)
        times = [self.clock.time_after(each) for each in waits if each is not None]
        due = self.engine.timers.next_due_time()
        return min(times if due is None else [due, *times], default=None)

    def _can_continue(self) -> bool:
        """Whether time alone may change something: the tasks of a resource on the event loop don't count."""
        return self.pool.is_busy or self._next_engine_time() is not None

    def _is_quiescent(self) -> bool:
        due = self._next_engine_time()
        has_work = self.pool.waiting or self.pool.has_ready
        return self.engine.is_quiescent and not has_work and (due is None or due > self.clock.now())

    def _wait_outside(self) -> bool:
        """Wait in real time for what running activities may wait for outside the clock; return whether it has come."""
        due = self._next_due_time()
        return self.pool.wait_outside(None if due is None else (due - self.clock.now()).total_seconds())


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
