"""What decisions set off: activities, timers, and arrivals in other instances.

Delivering is appending: what one instance sends another becomes an arrival in the other's history in the same commit,
so the two can't disagree. Its turn may come later.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec
from msgspec.structs import replace

from durablecli.app import Registry
from durablecli.engine.commit_builder import Draft, Job
from durablecli.engine.deduplicator import AppliedOperations
from durablecli.engine.instance_cache import Entity, Instance, Instances
from durablecli.engine.scope import Scope
from durablecli.engine.timers import Timers
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.ids import child_id
from durablecli.replay import pending
from durablecli.store.check.correlation import to_entity_operation_event
from durablecli.store.journal.commits import QuarantinedMessage

_EFFECTIVE = frozenset(
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


class Effects:
    """Writes records into the cycle's draft, and keeps what they set off until the turns get to it.

    `deliveries` are arrivals on their way, `coming` the children among them. `ready` instances are to be looked at;
    those `lacking` have scheduled an activity that isn't loaded.
    """

    def __init__(
        self,
        draft: Draft,
        instances: Instances,
        registry: Registry | None,
        timers: Timers,
        reserve: Callable[[str], None],
        deepest: int,
        scope: Scope,
    ) -> None:
        self.draft = draft
        self.instances = instances
        self.registry = registry
        self.timers = timers
        self.reserve = reserve
        self.deepest = deepest
        self.scope = scope
        self.ready: dict[str, None] = {}
        self.lacking: set[str] = set()
        self.coming: set[str] = set()
        self.deliveries: deque[tuple[str, str | None, ev.Arrival | ev.EntityArrival]] = deque()
        self.delivering = 0
        self.applied = AppliedOperations(())
        self.busy: str | None = None
        """The instance whose turn is being spread over commits; what comes for it meanwhile can't be recorded."""
        self.stats: Counter[str] = Counter()

    def add(self, instance: Instance | Entity, event: ev.AnyEvent) -> None:
        """Record one event, now."""
        ledger = instance.ledger
        at = max(self.draft.at, ledger.updated) if ledger.last_n else self.draft.at
        self.draft.add(instance, ev.Record(ledger.last_n + 1, at, event))
        if isinstance(instance, Instance) and instance.torn:
            self.draft.goes_on(instance, True)  # the turn before it is still to be brought to its end

    def apply(self, instance: Instance, record: ev.Record) -> None:
        """Write a record of a turn down, and do what it says."""
        event = record.event
        draft = self.draft
        if type(event) not in _EFFECTIVE:
            draft.add(instance, record)
            return
        match event:
            case ev.EventSent():
                record = self._send(instance, record, event)
                draft.add(instance, record)
            case ev.TaskScheduled():
                draft.add(instance, record)
                self._scheduled(instance, record.n, event)
            case ev.TimerCreated():
                draft.add(instance, record)
                back_off = event.retry_of is not None
                self.timers.set(event.fire_at, instance.id, instance.ledger.execution, record.n, back_off=back_off)
            case ev.TimerCanceled():
                draft.add(instance, record)
                self.timers.drop(instance.id, instance.ledger.execution, event.timer)
            case ev.SubOrchestrationInstanceCreated():
                if not (self.applied and self._adopt(instance, record, event)):
                    draft.add(instance, record)
                    self._child(instance, record.n, event)
            case ev.EntityOperationSignaled() | ev.EntityOperationCalled():
                draft.add(instance, record)
                if not (self.applied and self._was_applied(instance, record.n, event)):
                    self.ask(instance, record.n, event)
            case ev.EntityLockRequested():
                draft.add(instance, record)
                origin = ev.Origin(instance.id, instance.ledger.execution, record.n)
                self.deliver(event.entities[0], None, ev.EntityLockReceived(event.entities, origin))
            case ev.EntityUnlockSent():
                self._unlock(instance, event.lock)
                draft.add(instance, record)
            case ev.ExecutionCompleted():
                self._let_go(instance)
                draft.add(instance, record)
                self.ended(instance)
            case ev.ContinueAsNew():
                self._let_go(instance)
                self._continued(instance, record, event)
            case _:
                raise AssertionError(f"{type(event).__name__} has no effect beyond its instance")

    def abandon(self) -> None:
        """Forget what is on its way, and put back what was taken off a list; the commit is given up."""
        self.deliveries.clear()
        self.coming.clear()
        self.delivering = 0
        self.applied.put_back()

    def keep(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival) -> None:
        """Keep an arrival for an instance that is set aside, until it can take it."""
        self.stats["kept"] += 1
        self.draft.keep(QuarantinedMessage(id, execution, event))

    def deliver(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival) -> None:
        self.deliveries.append((id, execution, event))
        self.delivering += 1

    def _scheduled(self, instance: Instance, n: int, task: ev.TaskScheduled) -> None:
        assert self.registry is not None
        if self.registry.find_activity(task.name) is not None:
            self.draft.jobs.append(Job(instance.id, instance.ledger.execution, n, task))
        else:
            self.lacking.add(instance.id)
            self.ready[instance.id] = None  # looked at once the turn is written: it is blocked then

    def _let_go(self, instance: Instance) -> None:
        """Its execution is about to end: nobody waits for what is still due, and its locks go back."""
        abandoned = instance.machine.abandoned_calls() if instance.machine is not None else _NO_CALLS
        self.draft.ended.append((instance.id, instance.ledger.execution, abandoned))
        for n, _ in pending.timers(instance.ledger):
            self.timers.drop(instance.id, instance.ledger.execution, n)
        for n, _ in pending.unreleased_locks(instance.ledger):
            self._unlock(instance, n)

    def _send(self, instance: Instance, record: ev.Record, event: ev.EventSent) -> ev.Record:
        target = self.instances.get(event.instance)
        reached = target is not None and (target is instance or not target.ledger.ended)
        reached = reached or event.instance in self.coming or self.instances.is_set_aside(event.instance)
        if not reached:
            return record._replace(event=replace(event, undelivered=True))
        origin = ev.Origin(instance.id, instance.ledger.execution, record.n)
        self.deliver(event.instance, None, ev.EventRaised(event.name, event.input, sender=origin))
        return record

    # ── entities ───────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, instance: Instance, n: int, event: ev.EntityOperationSignaled | ev.EntityOperationCalled) -> None:
        """Send an operation to an entity: the decision `n` of an instance."""
        origin = ev.Origin(instance.id, instance.ledger.execution, n)
        if isinstance(event, ev.EntityOperationCalled):
            received = ev.EntityOperationReceived(event.name, event.input, origin, expects_reply=True)
        else:
            received = ev.EntityOperationReceived(event.name, event.input, origin, scheduled_time=event.scheduled_time)
        self.deliver(event.entity, None, received)

    def _was_applied(
        self, instance: Instance, n: int, event: ev.EntityOperationSignaled | ev.EntityOperationCalled
    ) -> bool:
        """Whether an operation was applied before a repair cut this history; then its outcome is delivered."""
        origin = ev.Origin(instance.id, instance.ledger.execution, n)
        known = self.applied.take(origin, event.entity, event.name, event.input)
        if known is None:
            return False
        if isinstance(event, ev.EntityOperationCalled):
            has_outcome = known.failure is not None or bool(known.result)
            outcome = ev.EntityOperationResult(n, known.result, known.failure) if has_outcome else None
            self.deliver(instance.id, instance.ledger.execution, to_entity_operation_event(outcome, n))
        return True

    def _unlock(self, instance: Instance, n: int) -> None:
        """Send after a request for locks what takes it back, whether it was granted or not."""
        ledger = instance.ledger
        asked = ledger.locks.get(n) or ledger.open_decisions.get(n)
        if isinstance(asked, ev.EntityLockRequested):
            origin = ev.Origin(instance.id, ledger.execution, n)
            self.deliver(asked.entities[0], None, ev.EntityUnlockReceived(asked.entities, origin))

    # ── children, and the end ──────────────────────────────────────────────────────────────────────────────────

    def _child(self, parent: Instance, n: int, event: ev.SubOrchestrationInstanceCreated) -> None:
        if self._answer_by_earlier_attempt(parent, n, event):
            return
        started = self.start_of(parent, n, event)
        failure = self.refusal(started)
        if failure is None and event.instance in self.coming:
            failure = _taken(event.instance)
        if failure is None and event.explicit:
            try:
                self.take_id(event.instance)
            except Conflict as error:
                failure = Failure("durablecli.errors.Conflict", str(error))
        if failure is not None:
            self.deliver(parent.id, parent.ledger.execution, ev.SubOrchestrationInstanceFailed(n, failure))
        else:
            self.coming.add(event.instance)
            self.deliver(event.instance, None, started)

    def start_of(self, parent: Instance, n: int, event: ev.SubOrchestrationInstanceCreated) -> ev.ExecutionStarted:
        """How a sub-orchestration begins that its parent created by decision `n`."""
        return ev.ExecutionStarted(
            event.instance,
            self.draft.execution,
            event.name,
            event.input,
            event.version,
            ev.Origin(parent.id, parent.ledger.execution, n),
            depth=parent.ledger.started.depth + 1,
        )

    def refusal(self, started: ev.ExecutionStarted) -> Failure | None:
        """Why a sub-orchestration can't begin: it would be nested too deep, or its id is taken."""
        if started.depth > self.deepest:
            return _too_deep(self.deepest)
        parent = started.parent
        if parent is not None and not self.is_free(started.instance, parent.instance):
            return _taken(started.instance)
        return None

    def _adopt(self, parent: Instance, record: ev.Record, event: ev.SubOrchestrationInstanceCreated) -> bool:
        """Record a sub-orchestration that was started before a repair cut this history, under the id that it has. One
        that has ended answers again."""
        execution = parent.ledger.execution
        child = self.applied.take_child(parent.id, execution, event)
        if child is None:
            return False
        self.draft.add(parent, record._replace(event=replace(event, instance=child)))
        known = self.instances.get(child)
        if known is not None and known.ledger.ended:
            self.deliver(parent.id, execution, pending.child_outcome(known.ledger, record.n))
        return True

    def _answer_by_earlier_attempt(self, parent: Instance, n: int, event: ev.SubOrchestrationInstanceCreated) -> bool:
        """Answer a further attempt by an earlier one that was rewound or restarted since it failed, and completed."""
        if event.retry_of is None:
            return False
        execution = parent.ledger.execution
        for m in (event.retry_of, *parent.ledger.later_attempts.get(event.retry_of, ())):
            for id in (event.instance, child_id(parent.id, execution, m)):
                child = self.instances.get(id)
                if child is None or child.ledger.started.parent != ev.Origin(parent.id, execution, m):
                    continue
                if child.ledger.status == "Completed":
                    answer = ev.SubOrchestrationInstanceCompleted(n, child.ledger.result or ev.NULL)
                    self.deliver(parent.id, execution, answer)
                    return True
        return False

    def is_free(self, id: str, parent: str) -> bool:
        """Whether a child may have this id: nobody has it, or an earlier child of the same parent, which has ended."""
        known = self.instances.get(id)
        if known is None:
            return not self.instances.is_set_aside(id)
        origin = known.ledger.started.parent
        return known.ledger.ended and origin is not None and origin.instance == parent

    def claim(self, id: str) -> None:
        """Take an id for an orchestration that an entity starts; raises Conflict where one that lives has it."""
        known = self.instances.get(id)
        taken = known is not None and (not known.ledger.ended or known.ledger.execution == self.draft.execution)
        if taken or id in self.coming or self.instances.is_set_aside(id):
            raise Conflict(f"the instance id '{id}' is taken")
        self.take_id(id)
        self.coming.add(id)

    def take_id(self, id: str) -> None:
        """Keep an id from being started by anybody else; raises Conflict where a start of it waits in the inbox."""
        self.reserve(id)
        self.draft.reserved.append((id, ""))
        self.draft.released.append((id, ""))

    def refuse_again(self, parent: Instance) -> None:
        """Answer for the children that a turn before a crash couldn't have: their ids were taken, and are so still."""
        execution = parent.ledger.execution
        for n, child in pending.children(parent.ledger):
            known = self.instances.get(child.instance)
            if self.instances.is_set_aside(child.instance) or child.instance in self.coming:
                continue
            origin = known.ledger.started.parent if known is not None else None
            if origin == ev.Origin(parent.id, execution, n):
                continue
            if self.applied.of(parent.id, execution) and origin and origin.instance == parent.id:
                continue  # it was started by the decision that stood here before a repair
            if self._answer_by_earlier_attempt(parent, n, child):
                continue
            gone = Failure("durablecli.errors.Conflict", f"the instance id '{child.instance}' is gone")
            failure = self.refusal(self.start_of(parent, n, child)) or (
                gone if known is None else _taken(child.instance)
            )
            self.deliver(parent.id, execution, ev.SubOrchestrationInstanceFailed(n, failure))

    def ended(self, instance: Instance) -> None:
        instance.drop_machine()
        self.ready.pop(instance.id, None)
        if instance.id in self.instances.torn:
            self.instances.torn.discard(instance.id)
            self.draft.completed.append(instance.id)
        if instance.torn:
            instance.torn = False
            self.draft.goes_on(instance, False)
        self.stats["ended"] += 1
        self.answer(instance)

    def answer(self, instance: Instance) -> None:
        """Tell the parent of an instance that has ended, if it has one, how it did."""
        ledger = instance.ledger
        parent = ledger.started.parent
        if parent is None:
            return
        n = self._asked_by(parent, instance.id) if self.applied else parent.n
        self.deliver(parent.instance, parent.execution, pending.child_outcome(ledger, n))

    def _asked_by(self, parent: ev.Origin, child: str) -> int:
        """The decision that a child answers; a parent whose history a repair has cut may have taken it anew."""
        known = self.instances.get(parent.instance)
        if known is None or self.applied.of(parent.instance, parent.execution) is None:
            return parent.n
        return next((n for n, created in pending.children(known.ledger) if created.instance == child), parent.n)

    def _continued(self, instance: Instance, record: ev.Record, event: ev.ContinueAsNew) -> None:
        """Begin the next execution: a new file, with the events that nothing has read yet."""
        ledger, machine = instance.ledger, instance.machine
        unread = machine.unread_events() if machine is not None and event.save_events else []
        self.draft.add(instance, record)
        held = [held.event for held in ledger.held if isinstance(held.event, ev.EventRaised)]
        old = ledger.started
        started = ev.ExecutionStarted(
            old.instance,
            self.draft.execution,
            old.name,
            event.input,
            old.version,
            old.parent,
            custom_status=ledger.custom_status,
            held=True,
            depth=old.depth,
        )
        instance.begin(self.draft.execution)
        self.draft.add(instance, ev.Record(1, record.at, started))
        for carried in [*unread, *held]:
            self.add(instance, replace(carried, held=True))
        self.ready[instance.id] = None

    def terminate(self, instance: Instance, event: ev.ExecutionTerminated, *, recursive: bool = True) -> None:
        """End an instance from outside, and its open children with it."""
        ledger = instance.ledger
        if ledger.ended:
            return
        children = [child.instance for _, child in pending.children(ledger)] if recursive else []
        self._let_go(instance)
        self.add(instance, event)
        reason = msgspec.Raw(msgspec.json.encode(event.reason))
        ended = ev.ExecutionCompleted("Terminated", result=reason)
        self.add(instance, ended)
        self.draft.cancelled.append((instance.id, ledger.execution))
        self.ended(instance)
        for child in children:
            self.deliver(child, None, replace(event, message=None))

    def owe(self, id: str, execution: str, activities: Iterable[tuple[int, ev.TaskScheduled]]) -> None:
        if id in self.scope:
            self.draft.jobs += [Job(id, execution, n, task, redelivered=True) for n, task in activities]


def _too_deep(deepest: int) -> Failure:
    return Failure(
        "builtins.RecursionError",
        f"sub-orchestrations are nested more than {deepest:,} deep (limits.sub_orchestration_depth in durable.yaml): "
        "does one call itself without end?",
        ("builtins.RuntimeError", "builtins.Exception"),
    )


def _taken(id: str) -> Failure:
    return Failure("durablecli.errors.Conflict", f"the instance id '{id}' is taken")
