"""What decisions set off: activities, timers, and arrivals in other instances.

Delivering is appending: what one instance sends another becomes an arrival in the other's history in the same commit,
so the two can't disagree. Its turn may come later.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from durablecli.engine.commit_builder import CommitBuilder
from durablecli.engine.deduplicator import Deduplicator
from durablecli.engine.instance_cache import CachedEntity, CachedInstance, InstanceCache
from durablecli.engine.scope import EngineScope
from durablecli.engine.timers import Timers
from durablecli.engine.workers.decided_tasks import ActivityTask
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.ids import child_id
from durablecli.registry import Registry
from durablecli.replay import pending
from durablecli.store.check.correlation import to_entity_operation_event
from durablecli.store.journal.commits import QuarantinedMessage

_DECISIONS_WITH_EFFECTS = frozenset(
    (
        ev.EventSent,
        ev.TaskScheduled,
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
"""The decisions that set something off."""
_NO_CALLS: frozenset[int] = frozenset()


class DecisionApplier:
    """Writes records into the cycle's draft, and keeps what they set off until the turns get to it.

    `deliveries` are arrivals on their way, `coming` the children among them. `ready` instances are to be looked at;
    those `lacking` have scheduled an activity that isn't loaded.
    """

    def __init__(
        self,
        builder: CommitBuilder,
        instances: InstanceCache,
        registry: Registry | None,
        timers: Timers,
        reserve: Callable[[str], None],
        max_depth: int,
        scope: EngineScope,
    ) -> None:
        self.builder = builder
        self.instances = instances
        self.registry = registry
        self.timers = timers
        self.reserve = reserve
        self.max_depth = max_depth
        self.scope = scope
        self.ready: dict[str, None] = {}
        self.missing_activity: set[str] = set()
        self.starting_children: set[str] = set()
        self.deliveries: deque[tuple[str, str | None, ev.Arrival | ev.EntityArrival]] = deque()
        self.delivery_count = 0
        self.deduplicator = Deduplicator(())
        self.split_turn_instance: str | None = None
        """The instance whose turn is being spread over commits; what comes for it meanwhile can't be recorded."""
        self.stats: Counter[str] = Counter()

    def record_event(self, instance: CachedInstance | CachedEntity, event: ev.AnyEvent) -> None:
        """Record one event, now."""
        ledger = instance.runtime_state
        at = max(self.builder.at, ledger.updated) if ledger.last_n else self.builder.at
        self.builder.record(instance, ev.Record(ledger.last_n + 1, at, event))
        if isinstance(instance, CachedInstance) and instance.incomplete:
            self.builder.mark_continued(instance, True)  # the turn before it is still to be brought to its end

    def record_and_execute(self, instance: CachedInstance, record: ev.Record) -> None:
        """Write a record of a turn down, and do what it says."""
        event = record.event
        draft = self.builder
        if type(event) not in _DECISIONS_WITH_EFFECTS:
            draft.record(instance, record)
            return
        match event:
            case ev.EventSent():
                record = self._send_event(instance, record, event)
                draft.record(instance, record)
            case ev.TaskScheduled():
                draft.record(instance, record)
                self._schedule_activity(instance, record.n, event)
            case ev.TimerCreated():
                draft.record(instance, record)
                back_off = event.retry_of is not None
                self.timers.set(
                    event.fire_at, instance.id, instance.runtime_state.execution, record.n, back_off=back_off
                )
            case ev.TimerCanceled():
                draft.record(instance, record)
                self.timers.cancel(instance.id, instance.runtime_state.execution, event.timer)
            case ev.SubOrchestrationInstanceCreated():
                if not (self.deduplicator and self._adopt_started_child(instance, record, event)):
                    draft.record(instance, record)
                    self._start_child(instance, record.n, event)
            case ev.EntityOperationSignaled() | ev.EntityOperationCalled():
                draft.record(instance, record)
                if not (self.deduplicator and self._answer_if_applied(instance, record.n, event)):
                    self.send_operation(instance, record.n, event)
            case ev.EntityLockRequested():
                draft.record(instance, record)
                origin = ev.Origin(instance.id, instance.runtime_state.execution, record.n)
                self.queue_delivery(event.entities[0], None, ev.EntityLockReceived(event.entities, origin))
            case ev.EntityUnlockSent():
                self._send_unlock(instance, event.lock)
                draft.record(instance, record)
            case ev.ExecutionCompleted():
                self._cancel_timers_and_locks(instance)
                draft.record(instance, record)
                self.finish_instance(instance)
            case ev.ContinueAsNew():
                self._cancel_timers_and_locks(instance)
                self._continue_as_new(instance, record, event)
            case _:
                raise AssertionError(f"{type(event).__name__} has no effect beyond its instance")

    def roll_back(self) -> None:
        """Forget what is on its way, and put back what was taken off a list; the commit is given up."""
        self.deliveries.clear()
        self.starting_children.clear()
        self.delivery_count = 0
        self.deduplicator.roll_back()

    def quarantine_arrival(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival) -> None:
        """Keep an arrival for an instance that is set aside, until it can take it."""
        self.stats["kept"] += 1
        self.builder.quarantine_message(QuarantinedMessage(id, execution, event))

    def queue_delivery(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival) -> None:
        self.deliveries.append((id, execution, event))
        self.delivery_count += 1

    def _schedule_activity(self, instance: CachedInstance, n: int, task: ev.TaskScheduled) -> None:
        assert self.registry is not None
        if self.registry.find_activity(task.name) is not None:
            self.builder.activity_tasks.append(ActivityTask(instance.id, instance.runtime_state.execution, n, task))
        else:
            self.missing_activity.add(instance.id)
            self.ready[instance.id] = None  # looked at once the turn is written: it is blocked then

    def _cancel_timers_and_locks(self, instance: CachedInstance) -> None:
        """Its execution is about to end: nobody waits for what is still due, and its locks go back."""
        abandoned = instance.executor.abandoned_calls() if instance.executor is not None else _NO_CALLS
        self.builder.ended_executions.append((instance.id, instance.runtime_state.execution, abandoned))
        for n, _ in pending.timers(instance.runtime_state):
            self.timers.cancel(instance.id, instance.runtime_state.execution, n)
        for n, _ in pending.unreleased_locks(instance.runtime_state):
            self._send_unlock(instance, n)

    def _send_event(self, instance: CachedInstance, record: ev.Record, event: ev.EventSent) -> ev.Record:
        target = self.instances.get(event.instance)
        reached = target is not None and (target is instance or not target.runtime_state.ended)
        reached = reached or event.instance in self.starting_children or self.instances.is_quarantined(event.instance)
        if not reached:
            return record._replace(event=replace(event, undelivered=True))
        origin = ev.Origin(instance.id, instance.runtime_state.execution, record.n)
        self.queue_delivery(event.instance, None, ev.EventRaised(event.name, event.input, sender=origin))
        return record

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def send_operation(
        self, instance: CachedInstance, n: int, event: ev.EntityOperationSignaled | ev.EntityOperationCalled
    ) -> None:
        """Send an operation to an entity: the decision `n` of an instance."""
        origin = ev.Origin(instance.id, instance.runtime_state.execution, n)
        if isinstance(event, ev.EntityOperationCalled):
            received = ev.EntityOperationReceived(event.name, event.input, origin, expects_reply=True)
        else:
            received = ev.EntityOperationReceived(event.name, event.input, origin, scheduled_time=event.scheduled_time)
        self.queue_delivery(event.entity, None, received)

    def _answer_if_applied(
        self, instance: CachedInstance, n: int, event: ev.EntityOperationSignaled | ev.EntityOperationCalled
    ) -> bool:
        """Whether an operation was applied before a repair cut this history; then its outcome is delivered."""
        origin = ev.Origin(instance.id, instance.runtime_state.execution, n)
        known = self.deduplicator.consume_operation(origin, event.entity, event.name, event.input)
        if known is None:
            return False
        if isinstance(event, ev.EntityOperationCalled):
            has_outcome = known.failure is not None or bool(known.result)
            outcome = ev.EntityOperationResult(n, known.result, known.failure) if has_outcome else None
            self.queue_delivery(instance.id, instance.runtime_state.execution, to_entity_operation_event(outcome, n))
        return True

    def _send_unlock(self, instance: CachedInstance, n: int) -> None:
        """Send after a request for locks what takes it back, whether it was granted or not."""
        ledger = instance.runtime_state
        asked = ledger.locks.get(n) or ledger.open_decisions.get(n)
        if isinstance(asked, ev.EntityLockRequested):
            origin = ev.Origin(instance.id, ledger.execution, n)
            self.queue_delivery(asked.entities[0], None, ev.EntityUnlockReceived(asked.entities, origin))

    # ── children, and the end ──────────────────────────────────────────────────────────────────────────────────

    def _start_child(self, parent: CachedInstance, n: int, event: ev.SubOrchestrationInstanceCreated) -> None:
        if self._answer_if_attempt_completed(parent, n, event):
            return
        started = self.make_start(parent, n, event)
        failure = self.why_not_startable(started)
        if failure is None and event.instance in self.starting_children:
            failure = _make_id_taken_failure(event.instance)
        if failure is None and event.explicit:
            try:
                self.reserve_id_in_inbox(event.instance)
            except Conflict as error:
                failure = Failure("durablecli.errors.Conflict", str(error))
        if failure is not None:
            self.queue_delivery(
                parent.id, parent.runtime_state.execution, ev.SubOrchestrationInstanceFailed(n, failure)
            )
        else:
            self.starting_children.add(event.instance)
            self.queue_delivery(event.instance, None, started)

    def make_start(
        self, parent: CachedInstance, n: int, event: ev.SubOrchestrationInstanceCreated
    ) -> ev.ExecutionStarted:
        """How a sub-orchestration begins that its parent created by decision `n`."""
        return ev.ExecutionStarted(
            event.instance,
            self.builder.execution,
            event.name,
            event.input,
            event.version,
            ev.Origin(parent.id, parent.runtime_state.execution, n),
            depth=parent.runtime_state.started.depth + 1,
        )

    def why_not_startable(self, started: ev.ExecutionStarted) -> Failure | None:
        """Why a sub-orchestration can't begin: it would be nested too deep, or its id is taken."""
        if started.depth > self.max_depth:
            return _make_depth_failure(self.max_depth)
        parent = started.parent
        if parent is not None and not self.is_id_available(started.instance, parent.instance):
            return _make_id_taken_failure(started.instance)
        return None

    def _adopt_started_child(
        self, parent: CachedInstance, record: ev.Record, event: ev.SubOrchestrationInstanceCreated
    ) -> bool:
        """Record a sub-orchestration that was started before a repair cut this history, under the id that it has. One
        that has ended answers again."""
        execution = parent.runtime_state.execution
        child = self.deduplicator.consume_child(parent.id, execution, event)
        if child is None:
            return False
        self.builder.record(parent, record._replace(event=replace(event, instance=child)))
        known = self.instances.get(child)
        if known is not None and known.runtime_state.ended:
            self.queue_delivery(parent.id, execution, pending.child_outcome(known.runtime_state, record.n))
        return True

    def _answer_if_attempt_completed(
        self, parent: CachedInstance, n: int, event: ev.SubOrchestrationInstanceCreated
    ) -> bool:
        """Answer a further attempt by an earlier one that was rewound or restarted since it failed, and completed."""
        if event.retry_of is None:
            return False
        execution = parent.runtime_state.execution
        for m in (event.retry_of, *parent.runtime_state.later_attempts.get(event.retry_of, ())):
            for id in (event.instance, child_id(parent.id, execution, m)):
                child = self.instances.get(id)
                if child is None or child.runtime_state.started.parent != ev.Origin(parent.id, execution, m):
                    continue
                if child.runtime_state.status == "Completed":
                    answer = ev.SubOrchestrationInstanceCompleted(n, child.runtime_state.result or ev.NULL)
                    self.queue_delivery(parent.id, execution, answer)
                    return True
        return False

    def is_id_available(self, id: str, parent: str) -> bool:
        """Whether a child may have this id: nobody has it, or an earlier child of the same parent, which has ended."""
        known = self.instances.get(id)
        if known is None:
            return not self.instances.is_quarantined(id)
        origin = known.runtime_state.started.parent
        return known.runtime_state.ended and origin is not None and origin.instance == parent

    def reserve_id(self, id: str) -> None:
        """Take an id for an orchestration that an entity starts; raises Conflict where one that lives has it."""
        known = self.instances.get(id)
        taken = known is not None and (
            not known.runtime_state.ended or known.runtime_state.execution == self.builder.execution
        )
        if taken or id in self.starting_children or self.instances.is_quarantined(id):
            raise Conflict(f"the instance id '{id}' is taken")
        self.reserve_id_in_inbox(id)
        self.starting_children.add(id)

    def reserve_id_in_inbox(self, id: str) -> None:
        """Keep an id from being started by anybody else; raises Conflict where a start of it waits in the inbox."""
        self.reserve(id)
        self.builder.reserved_ids.append((id, ""))
        self.builder.released_ids.append((id, ""))

    def fail_unstartable_children(self, parent: CachedInstance) -> None:
        """Answer for the children that a turn before a crash couldn't have: their ids were taken, and are so still."""
        execution = parent.runtime_state.execution
        for n, child in pending.children(parent.runtime_state):
            known = self.instances.get(child.instance)
            if self.instances.is_quarantined(child.instance) or child.instance in self.starting_children:
                continue
            origin = known.runtime_state.started.parent if known is not None else None
            if origin == ev.Origin(parent.id, execution, n):
                continue
            if self.deduplicator.find(parent.id, execution) and origin and origin.instance == parent.id:
                continue  # it was started by the decision that stood here before a repair
            if self._answer_if_attempt_completed(parent, n, child):
                continue
            gone = Failure("durablecli.errors.Conflict", f"the instance id '{child.instance}' is gone")
            failure = self.why_not_startable(self.make_start(parent, n, child)) or (
                gone if known is None else _make_id_taken_failure(child.instance)
            )
            self.queue_delivery(parent.id, execution, ev.SubOrchestrationInstanceFailed(n, failure))

    def finish_instance(self, instance: CachedInstance) -> None:
        instance.drop_executor()
        self.ready.pop(instance.id, None)
        if instance.id in self.instances.incomplete_turns:
            self.instances.incomplete_turns.discard(instance.id)
            self.builder.completed_turns.append(instance.id)
        if instance.incomplete:
            instance.incomplete = False
            self.builder.mark_continued(instance, False)
        self.stats["ended"] += 1
        self.answer_parent(instance)

    def answer_parent(self, instance: CachedInstance) -> None:
        """Tell the parent of an instance that has ended, if it has one, how it did."""
        ledger = instance.runtime_state
        parent = ledger.started.parent
        if parent is None:
            return
        n = self._find_creating_decision(parent, instance.id) if self.deduplicator else parent.n
        self.queue_delivery(parent.instance, parent.execution, pending.child_outcome(ledger, n))

    def _find_creating_decision(self, parent: ev.Origin, child: str) -> int:
        """The decision that a child answers; a parent whose history a repair has cut may have taken it anew."""
        known = self.instances.get(parent.instance)
        if known is None or self.deduplicator.find(parent.instance, parent.execution) is None:
            return parent.n
        return next((n for n, created in pending.children(known.runtime_state) if created.instance == child), parent.n)

    def _continue_as_new(self, instance: CachedInstance, record: ev.Record, event: ev.ContinueAsNew) -> None:
        """Begin the next execution: a new file, with the events that nothing has read yet."""
        ledger, machine = instance.runtime_state, instance.executor
        unread = machine.unread_events() if machine is not None and event.save_events else []
        self.builder.record(instance, record)
        held = [held.event for held in ledger.held if isinstance(held.event, ev.EventRaised)]
        old = ledger.started
        started = ev.ExecutionStarted(
            old.instance,
            self.builder.execution,
            old.name,
            event.input,
            old.version,
            old.parent,
            custom_status=ledger.custom_status,
            held=True,
            depth=old.depth,
        )
        instance.reset(self.builder.execution)
        self.builder.record(instance, ev.Record(1, record.at, started))
        for carried in [*unread, *held]:
            self.record_event(instance, replace(carried, held=True))
        self.ready[instance.id] = None

    def terminate(self, instance: CachedInstance, event: ev.ExecutionTerminated, *, recursive: bool = True) -> None:
        """End an instance from outside, and its open children with it."""
        ledger = instance.runtime_state
        if ledger.ended:
            return
        children = [child.instance for _, child in pending.children(ledger)] if recursive else []
        self._cancel_timers_and_locks(instance)
        self.record_event(instance, event)
        reason = msgspec.Raw(msgspec.json.encode(event.reason))
        ended = ev.ExecutionCompleted("Terminated", result=reason)
        self.record_event(instance, ended)
        self.builder.terminated_executions.append((instance.id, ledger.execution))
        self.finish_instance(instance)
        for child in children:
            self.queue_delivery(child, None, replace(event, message=None))

    def schedule_activities(self, id: str, execution: str, activities: Iterable[tuple[int, ev.TaskScheduled]]) -> None:
        if id in self.scope:
            self.builder.activity_tasks += [
                ActivityTask(id, execution, n, task, redelivered=True) for n, task in activities
            ]


def _make_depth_failure(max_depth: int) -> Failure:
    return Failure(
        "builtins.RecursionError",
        f"sub-orchestrations are nested more than {max_depth:,} deep (limits.sub_orchestration_depth in durable.yaml): "
        "does one call itself without end?",
        ("builtins.RuntimeError", "builtins.Exception"),
    )


def _make_id_taken_failure(id: str) -> Failure:
    return Failure("durablecli.errors.Conflict", f"the instance id '{id}' is taken")
