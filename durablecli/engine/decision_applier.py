"""Carries out decisions: schedules activities, sets timers, sends to other instances, ends an execution, or begins the
next one (`continue_as_new`).

Delivery is an append: an arrival is recorded in its recipient's history in the same commit as the decision that sent
it, so that the two can't disagree. The recipient's turn may come later.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from durablecli.engine.child_starter import ChildStarter
from durablecli.engine.hook_starter import HookStarter
from durablecli.engine.instance_cache import CachedEntity, CachedInstance
from durablecli.engine.metrics import CONTINUED_AS_NEW
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.schedule_notices import notify_schedule
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.workers.decided_tasks import ActivityTask
from durablecli.model import events as ev
from durablecli.model.schedule_options import RUN_ENDED
from durablecli.model.trace_context import TraceContext, is_root, make_execution_context
from durablecli.replay import pending
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.check.correlation import to_entity_operation_event
from durablecli.store.journal.commits import QuarantinedMessage
from durablecli.telemetry.interface import EventSpan, ExecutionSpan

_DECISIONS_WITH_EFFECTS = frozenset(
    (
        ev.EventSent,
        ev.TaskScheduled,
        ev.TaskCanceled,
        ev.TimerCreated,
        ev.TimerCanceled,
        ev.SubOrchestrationInstanceCreated,
        ev.EntityOperationCalled,
        ev.EntityOperationSignaled,
        ev.EntityLockRequested,
        ev.EntityUnlockSent,
        ev.ExecutionCompleted,
        ev.ContinueAsNew,
    )
)
_NO_CALLS: frozenset[int] = frozenset()


class DecisionApplier:
    """Records events in the cycle's commit, and carries out what decisions set off."""

    def __init__(self, shared: SharedParts, ready: ReadyQueue, children: ChildStarter) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._registry = shared.registry
        self._timers = shared.timers
        self._scope = shared.scope
        self._deduplicator = shared.deduplicator
        self._ready = ready
        self._tracing = shared.options.tracing
        self._serves_workers = shared.options.remote_work is not None
        self._children = children
        self.hooks = HookStarter(shared)
        self.missing_activity: set[str] = set()
        """The instances that have scheduled an activity that isn't loaded."""

    def record_event(self, instance: CachedInstance | CachedEntity, event: ev.AnyEvent) -> None:
        """Record one event, now."""
        state, builder = instance.runtime_state, self._cycle.builder
        at = max(builder.at, state.updated) if state.last_n else builder.at
        builder.record(instance, ev.Record(state.last_n + 1, at, event))
        if isinstance(instance, CachedInstance) and instance.incomplete:
            builder.mark_continued(instance, True)  # the turn before it has still to be completed

    def record_waits(self, instance: CachedInstance) -> None:
        """Record which waits receive events, where the history doesn't show it: a wait is inactive while unneeded."""
        executor = instance.executor
        if executor is None or executor.ended:
            return
        changed = executor.take_waits_change(instance.runtime_state)
        if changed is not None:
            self.record_event(instance, changed)

    def record_and_carry_out(self, instance: CachedInstance, record: ev.Record) -> None:
        """Record one record of a turn, and carry out its decision."""
        event = record.event
        builder = self._cycle.builder
        if type(event) not in _DECISIONS_WITH_EFFECTS:
            builder.record(instance, record)
            return
        match event:
            case ev.TaskScheduled():
                builder.record(instance, record)
                self._schedule_activity(instance, record.n, event)
            case ev.EventSent():
                record = self._send_event(instance, record, event)
                builder.record(instance, record)
            case ev.TimerCreated():
                builder.record(instance, record)
                back_off, execution = event.retry_of is not None, instance.runtime_state.execution
                self._timers.set(event.fire_at, instance.id, execution, record.n, back_off=back_off)
            case ev.TimerCanceled():
                builder.record(instance, record)
                self._timers.cancel(instance.id, instance.runtime_state.execution, event.timer)
            case ev.TaskCanceled():
                self._cancel_call(instance, event.task)
                builder.record(instance, record)
            case ev.SubOrchestrationInstanceCreated():
                if not (self._deduplicator and self._children.adopt_started(instance, record, event)):
                    builder.record(instance, record)
                    self._children.start(instance, record.n, event)
            case ev.EntityOperationSignaled() | ev.EntityOperationCalled():
                builder.record(instance, record)
                if not (self._deduplicator and self._answer_if_applied(instance, record.n, event)):
                    self.send_operation(instance, record.n, event)
            case ev.EntityLockRequested():
                builder.record(instance, record)
                origin = ev.Origin(instance.id, instance.runtime_state.execution, record.n)
                self._cycle.send(event.entities[0], None, ev.EntityLockReceived(event.entities, origin))
            case ev.EntityUnlockSent():
                self._send_unlock(instance, event.lock)
                builder.record(instance, record)
            case ev.ExecutionCompleted():
                self._cancel_timers_and_locks(instance)
                builder.record(instance, record)
                self._finish_instance(instance)
            case ev.ContinueAsNew():
                self._cancel_timers_and_locks(instance)
                self._continue_as_new(instance, record, event)
            case _:
                raise AssertionError(f"{type(event).__name__} has no effect beyond its instance")

    def quarantine_arrival(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival) -> None:
        """Keep an arrival for a quarantined instance until an engine can use the instance again."""
        self._cycle.stats["kept"] += 1
        self._cycle.builder.quarantine_message(QuarantinedMessage(id, execution, event))

    # ── activities and events ──────────────────────────────────────────────────────────────────────────────────

    def _schedule_activity(self, instance: CachedInstance, n: int, task: ev.TaskScheduled) -> None:
        assert self._registry is not None
        if self._serves_workers or self._registry.find_activity(task.name) is not None:
            tasks = self._cycle.builder.activity_tasks
            state, started = instance.runtime_state, instance.runtime_state.started
            tasks.append(ActivityTask(instance.id, state.execution, n, task, False, started.trace, started.version))
        else:
            self.missing_activity.add(instance.id)
            self._ready.add(instance.id)  # it is blocked once the turn is recorded

    def _cancel_call(self, instance: CachedInstance, n: int) -> None:
        """Stop what decision `n` has begun: an activity, a sub-orchestration, or the delay before another attempt."""
        execution = instance.runtime_state.execution
        match instance.runtime_state.open_decisions.get(n):
            case ev.TaskScheduled():
                self._cycle.builder.cancelled_calls.append((instance.id, execution, n))
            case ev.SubOrchestrationInstanceCreated() as created:
                self._children.cancel(instance, n, created)
            case ev.TimerCreated():
                self._timers.cancel(instance.id, execution, n)
            case _:
                pass  # its outcome has arrived, and is held

    def schedule_activities(self, state: RuntimeState, activities: Iterable[tuple[int, ev.TaskScheduled]]) -> None:
        """Schedule activities again that may have run before."""
        id, execution, started = state.instance, state.execution, state.started
        if id in self._scope:
            self._cycle.builder.activity_tasks += [
                ActivityTask(id, execution, n, task, True, started.trace, started.version) for n, task in activities
            ]

    def _send_event(self, instance: CachedInstance, record: ev.Record, event: ev.EventSent) -> ev.Record:
        """Send an event to another instance. Returns the record to write: it says if there is no such instance."""
        target = self._instances.get(event.instance)
        reached = target is not None and (target is instance or not target.runtime_state.ended)
        reached = reached or event.instance in self._cycle.starting_children
        if not (reached or self._instances.is_quarantined(event.instance)):
            return replace(record, event=replace(event, undelivered=True))
        origin = ev.Origin(instance.id, instance.runtime_state.execution, record.n)
        self._cycle.send(event.instance, None, ev.EventRaised(event.name, event.input, sender=origin))
        if self._tracing is not None and target is not None:
            trace = make_execution_context(instance.runtime_state.started.trace, origin.instance, origin.execution)
            self.add_event_span(target, event.name, trace)
        return record

    def add_event_span(self, target: CachedInstance, name: str, trace: TraceContext | None) -> None:
        """Have a span emitted for an event that an instance receives, if its sender has a trace."""
        if trace is not None:
            state = target.runtime_state
            receiver = make_execution_context(state.started.trace, target.id, state.execution)
            self._cycle.builder.spans.append(EventSpan(trace, receiver, target.id, name, self._cycle.builder.at))

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def send_operation(
        self, instance: CachedInstance, n: int, event: ev.EntityOperationSignaled | ev.EntityOperationCalled
    ) -> None:
        """Send the operation that decision `n` of an instance calls or signals to its entity."""
        origin = ev.Origin(instance.id, instance.runtime_state.execution, n)
        trace = make_execution_context(instance.runtime_state.started.trace, origin.instance, origin.execution)
        expects_reply = isinstance(event, ev.EntityOperationCalled)
        received = ev.EntityOperationReceived(
            event.name, event.input, origin, expects_reply, scheduled_time=event.scheduled_time, trace=trace
        )
        self._cycle.send(event.entity, None, received)

    def _answer_if_applied(
        self, instance: CachedInstance, n: int, event: ev.EntityOperationSignaled | ev.EntityOperationCalled
    ) -> bool:
        """Deliver the result of an operation that was applied before a repair truncated this history; False if it
        wasn't applied."""
        origin = ev.Origin(instance.id, instance.runtime_state.execution, n)
        known = self._deduplicator.consume_operation(origin, event.entity, event.name, event.input)
        if known is None:
            return False
        if isinstance(event, ev.EntityOperationCalled):
            has_result = known.failure is not None or bool(known.result)
            result = ev.EntityOperationResult(n, known.result, known.failure) if has_result else None
            self._cycle.send(instance.id, instance.runtime_state.execution, to_entity_operation_event(result, n))
        return True

    def _send_unlock(self, instance: CachedInstance, n: int) -> None:
        """Send an unlock after a lock request, whether it was granted or not."""
        state = instance.runtime_state
        asked = state.locks.get(n) or state.open_decisions.get(n)
        if isinstance(asked, ev.EntityLockRequested):
            origin = ev.Origin(instance.id, state.execution, n)
            self._cycle.send(asked.entities[0], None, ev.EntityUnlockReceived(asked.entities, origin))

    # ── the end of an execution ────────────────────────────────────────────────────────────────────────────────

    def terminate(self, instance: CachedInstance, event: ev.ExecutionTerminated, *, recursive: bool = True) -> None:
        """End an instance from outside, and with `recursive` its open children."""
        state = instance.runtime_state
        if state.ended:
            return
        children = [child.instance for _, child in pending.children(state)] if recursive else []
        self._cancel_timers_and_locks(instance)
        self.record_event(instance, event)
        output = event.output or msgspec.Raw(msgspec.json.encode(event.reason))
        self.record_event(instance, ev.ExecutionCompleted("Terminated", result=output))
        reason = f"terminated: {event.reason}" if event.reason else "terminated"
        self._cycle.builder.terminated_executions.append((instance.id, state.execution, reason))
        self._finish_instance(instance)
        for child in children:
            self._cycle.send(child, None, replace(event, message=None))

    def _cancel_timers_and_locks(self, instance: CachedInstance) -> None:
        """Cancel the timers of an execution that is about to end, and release its locks."""
        state = instance.runtime_state
        abandoned = instance.executor.abandoned_calls() if instance.executor is not None else _NO_CALLS
        self._cycle.builder.ended_executions.append((instance.id, state.execution, abandoned))
        for n, _ in pending.timers(state):
            self._timers.cancel(instance.id, state.execution, n)
        for n, _ in pending.unreleased_locks(state):
            self._send_unlock(instance, n)

    def _finish_instance(self, instance: CachedInstance) -> None:
        instance.drop_executor()
        self._ready.discard(instance.id)
        self.complete_turn(instance)
        if instance.incomplete:
            instance.incomplete = False
            self._cycle.builder.mark_continued(instance, False)
        self._cycle.stats["ended"] += 1
        state = instance.runtime_state
        self._cycle.builder.counts[state.end_status or "", state.started.name] += 1
        if state.started.trace is not None:
            self._add_span(state, state.started.trace, state.end_status or "")
        self._children.answer_parent(instance)
        if self.hooks.is_used:
            self.hooks.report_end(instance)
        notify_schedule(self._cycle, state.started, RUN_ENDED)

    def _add_span(self, state: RuntimeState, trace: TraceContext, status: str) -> None:
        """Have the span of an execution that has ended emitted once that is on disk."""
        started, at = state.started, state.updated
        span = ExecutionSpan(
            trace, started.instance, started.execution, started.name, started.version, state.created, at, status,
            state.failure,
        )  # fmt: skip
        self._cycle.builder.spans.append(span)

    def _continue_trace(self, old: ev.ExecutionStarted) -> TraceContext | None:
        """The trace of the next execution: a new one, unless someone else's trace contains the instance."""
        if old.trace is None or not is_root(old.trace):
            return old.trace
        return self._tracing.make_root(old.name) if self._tracing is not None else None

    def complete_turn(self, instance: CachedInstance) -> None:
        """Note that a turn that a crash cut off is completed by this commit."""
        if instance.id in self._instances.incomplete_turns:
            self._instances.incomplete_turns.discard(instance.id)
            self._cycle.builder.completed_turns.append(instance.id)

    def _continue_as_new(self, instance: CachedInstance, record: ev.Record, event: ev.ContinueAsNew) -> None:
        """Begin the next execution: a new file, with the events that nothing has read yet."""
        state, executor, builder = instance.runtime_state, instance.executor, self._cycle.builder
        unread: Iterable[ev.EventRaised] = instance.carried
        if executor is not None:
            unread = executor.unread_events() if event.save_events else []
        builder.record(instance, record)
        held = [held.event for held in state.held if isinstance(held.event, ev.EventRaised)]
        old = state.started
        started = ev.ExecutionStarted(
            old.instance,
            builder.execution,
            old.name,
            event.input,
            old.version if event.version is None else event.version,
            old.parent,
            custom_status=state.custom_status,
            held=True,
            depth=old.depth,
            tags=old.tags,
            trace=self._continue_trace(old),
        )
        builder.counts[CONTINUED_AS_NEW, old.name] += 1
        if old.trace is not None:
            self._add_span(state, old.trace, CONTINUED_AS_NEW)
        instance.reset(builder.execution)
        builder.record(instance, ev.Record(1, record.at, started))
        for carried in [*unread, *held]:
            self.record_event(instance, replace(carried, held=True))
        self._ready.add(instance.id)
