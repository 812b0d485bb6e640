"""Turns: one arrival applied to one instance, and the decisions that follow.

An arrival that is recorded but not applied is *held*, and a later OrchestratorStarted applies it: the cycle had no room
for its turn, or the instance is suspended, blocked, or scheduled to start later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import cast, get_args

from msgspec.structs import replace

from durablecli.engine.blocking import Blocker
from durablecli.engine.child_starter import ChildStarter
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.entity_scheduler import EntityScheduler
from durablecli.engine.executor_runner import ExecutorRunner
from durablecli.engine.held_turns import HeldTurnRunner
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.metrics import STARTED
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.engine.turn_recorder import TurnRecorder
from durablecli.engine.watchdog import CurrentTurn
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay import pending

_ENTITY_ARRIVALS = frozenset(get_args(ev.EntityArrival))


class TurnRunner:
    """Delivers arrivals, and runs the turns that they cause, into the commit of the cycle.

    `applier`, `split_turn`, `entity_scheduler`, `blocker` and `remote_turns` are its parts, for others to use.
    """

    def __init__(self, shared: SharedParts, current_turn: CurrentTurn) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._registry = shared.registry
        self._timers = shared.timers
        self._scope = shared.scope
        self._replay_always = shared.options.replay_always
        self._stats = shared.cycle.stats
        self._admission = shared.admission
        self._ready = ReadyQueue(shared.messages)
        self._children = ChildStarter(shared)
        self.applier = DecisionApplier(shared, self._ready, self._children)
        self.split_turn = SplitTurn(shared, self.applier, self._ready)
        self.entity_scheduler = EntityScheduler(shared, self.applier, self._children, self.split_turn)
        self._recorder = TurnRecorder(shared, self.applier, self.split_turn, self._ready)
        self.blocker = Blocker(shared, self.applier, self._recorder, self._ready)
        self._executors = ExecutorRunner(shared, self.applier, self.blocker, self._recorder, self._ready, current_turn)
        parts = (self.applier, self._children, self.split_turn, self.blocker, self._recorder)
        self._held_turns = HeldTurnRunner(shared, *parts, self._executors, self._ready)
        self.remote_turns = self._held_turns.remote

    # ── a cycle ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_cycle(self) -> None:
        """Begin a cycle: the turn that is being split comes first."""
        self.split_turn.begin_cycle()
        self.deliver()

    @property
    def is_idle(self) -> bool:
        """Whether only arrivals from outside could cause another turn."""
        return self._ready.is_empty and not (self.split_turn.has_parked_arrivals or self.split_turn.is_active)

    @property
    def has_runnable_work(self) -> bool:
        """Whether the next cycle has something to run even if nothing arrives."""
        if self.split_turn.is_active:
            return True
        if self._registry is None:
            return False
        if self._ready or self._scope.adopted:
            return True
        return self._ready.has_held_starts and self._admission.has_held_room

    @property
    def ready_count(self) -> int:
        return len(self._ready)

    @property
    def held_start_count(self) -> int:
        return self._ready.held_start_count

    def list_awaited_targets(self) -> Iterable[str]:
        """The targets with queued messages that turns wait for."""
        return self._ready.list_awaited_targets()

    def start_entity_batches(self) -> None:
        """Start the batches that the cycle has made possible, before it is committed."""
        self.entity_scheduler.start_batches()
        while self._cycle.has_deliveries:
            self.deliver()
            self.entity_scheduler.start_batches()

    def run_ready(self) -> None:
        """Run the turns of instances that hold arrivals or have a turn to complete, until that changes nothing."""
        before = -1
        while self._registry is not None and self._cycle.builder.record_count != before:
            before = self._cycle.builder.record_count
            self._run_ready_once()

    def _run_ready_once(self) -> None:
        cycle, ready, adopted = self._cycle, self._ready, self._scope.adopted
        while adopted and not cycle.is_budget_spent:
            cycle.builder.adopted.append(adopted.popleft())
            self._restore_adopted(cycle.builder.adopted[-1])
        for _ in range(len(ready)):
            if not ready or cycle.is_budget_spent:
                return
            self._run_or_requeue(ready.pop_first())

    def run_held_starts(self, limit: int = sys.maxsize) -> None:
        """Run the first turns of at most `limit` instances whose starts are held, while there is room."""
        ready, room = self._ready, 0
        while limit and ready.has_held_starts and self._registry is not None and not self._cycle.is_budget_spent:
            room = room or self._admission.take_held_room()
            if not room:
                return
            self._run_or_requeue(ready.pop_held_start())
            room -= 1
            limit -= 1

    def _run_or_requeue(self, id: str) -> None:
        """Run the next turn of an instance, or make it ready again if it has to wait."""
        if id not in self._scope:
            return
        if self.split_turn.must_wait(id) or self._ready.must_wait(id):
            self._ready.add(id)
            return
        instance = self._instances.get(id)
        if instance is None:
            return
        if self.split_turn.is_parent_of(instance):
            self.split_turn.make_wait(id)  # if it ended now its turn would have to be given up
            self._ready.add(id)
            return
        self._cycle.builder.visited.append(id)
        self._cycle.handling = id
        self._held_turns.run_next(instance)
        self.deliver()
        self._cycle.handling = None

    def roll_back(self) -> None:
        """Forget what the cycle was about to do; its commit is given up. Not while a turn is being split."""
        builder = self._cycle.builder
        self._cycle.roll_back()
        self._instances.incomplete_turns.update(builder.completed_turns)
        self._scope.adopted.extendleft(reversed(builder.adopted))
        self._ready.roll_back()
        self.split_turn.roll_back()

    # ── arrivals ───────────────────────────────────────────────────────────────────────────────────────────────

    def run_arrival(self, id: str, execution: str | None, event: ev.Arrival) -> None:
        """Deliver one arrival from outside, and everything that it sets off."""
        self._route_arrival(id, execution, event, hold=False)
        self.deliver()

    def deliver(self) -> None:
        """Deliver what turns have sent: applied while the cycle has budget left, held from then on."""
        cycle = self._cycle
        if not cycle.has_sent:
            return
        handling = cycle.handling
        while cycle.has_deliveries:
            id, execution, event, hold = cycle.pop_delivery()
            cycle.handling = id
            self._route_arrival(id, execution, event, hold=hold)
        cycle.finish_deliveries()
        cycle.handling = handling

    def _route_arrival(
        self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival, *, hold: bool
    ) -> None:
        if type(event) in _ENTITY_ARRIVALS:
            self.entity_scheduler.receive(id, cast("ev.EntityArrival", event))
        elif self.split_turn.is_active and self.split_turn.is_splitting(id):
            self.split_turn.park(id, execution, cast("ev.Arrival", event))
        elif type(event) is ev.ExecutionStarted:
            self._start_child(event, hold=hold)
        else:
            self._route_to_instance(id, execution, cast("ev.Arrival", event), hold=hold)

    def _route_to_instance(self, id: str, execution: str | None, event: ev.Arrival, *, hold: bool) -> None:
        instance = self._instances.get(id)
        if instance is None and self._instances.is_quarantined(id):
            self.applier.quarantine_arrival(id, execution, event)
            return
        if instance is None or (execution is not None and instance.runtime_state.execution != execution):
            self._stats["dropped"] += 1
            return
        if type(event) is ev.ExecutionTerminated:
            self.applier.terminate(instance, event)
        elif instance.runtime_state.accepts(event):
            self.run_or_hold(instance, event, hold=hold)
        else:
            self._stats["dropped"] += 1

    def run_or_hold(self, instance: CachedInstance, event: ev.Arrival, *, hold: bool = False) -> None:
        """Apply an arrival, or hold it if it can't be applied now."""
        cycle = self._cycle
        handling, cycle.handling = cycle.handling, instance.id
        hold = hold or self._registry is None or instance.id not in self._scope or instance.runtime_state.must_hold
        if hold or self.remote_turns.is_remote(instance, event) or not self._run_turn(instance, event):
            self._hold(instance, event)
        cycle.handling = handling

    def _hold(self, instance: CachedInstance, event: ev.Arrival) -> None:
        if self._instances.is_quarantined(instance.id):  # its file has turned out to be damaged
            self.applier.quarantine_arrival(instance.id, instance.runtime_state.execution, event)
            return
        if not instance.runtime_state.accepts(event):  # completing a turn that was cut off has made it void
            self._stats["dropped"] += 1
            return
        self.applier.record_event(instance, replace(event, held=True))
        self.mark_ready(instance)

    def mark_ready(self, instance: CachedInstance) -> None:
        """Have `run_ready` visit an instance, if it holds an arrival that can be applied."""
        self._ready.add_if_runnable(instance, self._cycle.builder.at)

    # ── one turn ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run_turn(self, instance: CachedInstance, event: ev.Arrival) -> bool:
        """Apply an arrival that isn't recorded yet. False when it has to be held."""
        state = instance.runtime_state
        if instance.incomplete or state.incomplete:
            self._ready.add(instance.id)  # that turn is completed first
            return False
        if instance.executor is None:
            if not self._executors.ensure_executor(instance, event) or instance.runtime_state.must_hold:
                return False
            state = instance.runtime_state  # a replay may have read it again
        at = max(self._cycle.builder.at, state.updated) if state.last_n else self._cycle.builder.at
        if type(event) is ev.TimerFired:
            timer = state.open_decisions[event.timer]
            assert isinstance(timer, ev.TimerCreated)
            at = max(at, timer.fire_at)
        record = ev.Record(state.last_n + 1, at, event)
        decisions = self._executors.run(instance, record, record)
        if decisions is None or not self._recorder.record_turn(instance, [record, *decisions]):
            return False
        if self._replay_always:
            instance.drop_executor()
        return True

    # ── starts ─────────────────────────────────────────────────────────────────────────────────────────────────

    def start(self, event: ev.ExecutionStarted, *, hold: bool = False) -> CachedInstance:
        """Begin an execution: of a new instance, or in place of one that has ended."""
        instance = self._instances.get_cached(event.instance)
        if instance is None:
            instance = self._instances.add(event.instance, event.execution)
        else:
            instance.reset(event.execution)
        self._cycle.builder.counts[STARTED, event.name] += 1
        if event.start_at is not None and event.start_at > self._cycle.builder.at:
            self._timers.set(event.start_at, event.instance, event.execution, None)
            hold = True
        self.run_or_hold(instance, event, hold=hold)
        return instance

    def restart_child(self, event: ev.SubOrchestrationInstanceCreated, origin: ev.Origin) -> None:
        """Start a child again that its rewound parent waits for. It fails again if it can't start."""
        if (failure := self._children.try_reserve(event.instance)) is not None:
            answer = ev.SubOrchestrationInstanceFailed(origin.n, failure)
            self._cycle.send(origin.instance, origin.execution, answer)
            return
        parent = self._instances.get(origin.instance)
        assert parent is not None
        self._start_child(self._children.make_start(parent, origin.n, event), hold=False)

    def answer_parent(self, child: CachedInstance) -> None:
        """Send the result of a child that has ended to its parent again."""
        self._children.answer_parent(child)

    def _start_child(self, event: ev.ExecutionStarted, *, hold: bool) -> None:
        parent = event.parent
        if parent is None:  # an entity has started it, and reserved its id
            self.start(event, hold=hold or not self._admission.has_room)
            return
        if parent.instance in self._scope:
            self._scope.add(event.instance)
        failure = self._children.why_not_startable(event)
        if failure is not None:
            self._cycle.send(parent.instance, parent.execution, ev.SubOrchestrationInstanceFailed(parent.n, failure))
            return
        hold = hold or event.instance in self._cycle.cancelled_starts
        self.start(event, hold=hold or not self._admission.has_room)

    # ── instances read from disk ───────────────────────────────────────────────────────────────────────────────

    def restore(self, instance: CachedInstance, *, redeliver: bool = True) -> None:
        """Continue an instance that an earlier engine left, or that was rewound: its timers, turns and, with
        `redeliver`, its activities."""
        if instance.id not in self._scope:
            return
        state = instance.runtime_state
        for n, timer in pending.timers(state):
            back_off = timer.retry_of is not None
            self._timers.set(timer.fire_at, instance.id, state.execution, n, back_off=back_off, restored=True)
        if (start_at := pending.scheduled_start_time(state)) is not None:
            self._timers.set(start_at, instance.id, state.execution, None)
        if self._registry is None or state.ended:
            return
        blocked, incomplete = state.blocked is not None, instance.incomplete or state.incomplete
        if blocked or incomplete:
            self._ready.add(instance.id)
        else:
            self.mark_ready(instance)
        if redeliver and not blocked and not self.blocker.block_if_activity_missing(instance):
            self.applier.schedule_activities(state, pending.activities(state))

    def _restore_adopted(self, id: str) -> None:
        """Continue an instance or entity that an earlier engine left, because it is needed here."""
        self._cycle.builder.visited.append(id)
        self._cycle.handling = id
        if is_entity_id(id):
            self.entity_scheduler.restore(id)
        elif (instance := self._instances.get(id)) is not None and not instance.runtime_state.ended:
            self.restore(instance)
        for other in self._scope.find_related(id):
            self._scope.adopt(other)
        self.deliver()
        self._cycle.handling = None
