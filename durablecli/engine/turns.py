"""Turns: one arrival applied to one instance, and the decisions that follow.

An arrival that is recorded and not applied is *held*, and applied by a later OrchestratorStarted: the cycle had no room
for its turn, or the instance is suspended, blocked, or not to start yet.

A turn too big for one commit is *spread* over several, one such turn at a time. A turn that meets it is given up: its
machine is dropped, which costs nothing but a replay, and its arrival is held.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic

from msgspec.structs import replace

from durablecli.app import Function, Registry
from durablecli.config import LimitsConfig
from durablecli.engine.clock import Clock
from durablecli.engine.commit_builder import MOST_BYTES, MOST_RECORDS, Draft, Spoken
from durablecli.engine.decisions import Effects
from durablecli.engine.entity_scheduler import Entities
from durablecli.engine.event_size import target, weight
from durablecli.engine.instance_cache import Instance, Instances
from durablecli.engine.message_queue import MessageQueue
from durablecli.engine.scope import Scope
from durablecli.engine.timers import Timers
from durablecli.engine.watchdog import Stuck, Watch, reason
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.failures import Failure
from durablecli.model.versions import ANY_VERSION, VersionPolicy
from durablecli.replay import pending
from durablecli.replay.errors import NonDeterminismError, TooManyDecisions
from durablecli.replay.event_waits import make_waits_changed
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.replay import comparable_decisions, replay

_LIGHT = 64
"""A turn of fewer decisions, with inputs of less than 64 KiB each, is not weighed."""


class Turns:
    """Runs the turns of one cycle after another into the draft it is given."""

    def __init__(
        self,
        instances: Instances,
        registry: Registry | None,
        timers: Timers,
        clock: Clock,
        watch: Watch,
        reserve: Callable[[str], None],
        *,
        limits: LimitsConfig,
        say: Callable[[str], None],
        scope: Scope | None = None,
        share: float = 0.010,
        replay_always: bool = False,
        fail_on_nondeterminism: bool = False,
        versions: VersionPolicy = ANY_VERSION,
        queue: MessageQueue | None = None,
    ) -> None:
        self._queue = queue
        self._behind: dict[str, str] = {}
        """Instances whose turn sends to a target for which a message waits that was acknowledged earlier."""
        self.faulty: dict[str, str] = {}
        """Instances whose turns failed unexpectedly, and how: they are blocked instead of being turned again."""
        self.instances = instances
        self.registry = registry
        self.timers = timers
        self.clock = clock
        self.watch = watch
        self.share = share
        self.limits = limits
        self.say = say
        self.replay_always = replay_always
        self.fail_on_nondeterminism = fail_on_nondeterminism
        self.draft = Draft(0, 0, clock.now())
        self.scope = scope or Scope(None, instances)
        self.effects = Effects(
            self.draft, instances, registry, timers, reserve, limits.sub_orchestration_depth, self.scope
        )
        self.versions = versions
        self.entities = Entities(self.effects, versions.current)
        self.ready = self.effects.ready
        self.parked: list[tuple[str, str | None, ev.Arrival | ev.EntityArrival]] = []
        self.stats = self.effects.stats
        self._spreading: tuple[Instance, deque[ev.Record]] | None = None
        self._has_spread = False
        self._patient: set[str] = set()
        self.spread_since: int | None = None
        self._until = 0.0
        self.stuck: Stuck | None = None
        """Who hung the last engine: not turned again, also when what hung it still waits in the inbox."""

    # ── a cycle ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, draft: Draft) -> None:
        """Start a cycle. A turn that is being spread goes on in every other one: its slices fill theirs."""
        self.draft = self.effects.draft = draft
        self.effects.applied.begin()
        self._until = monotonic() + self.share
        if self._spreading is not None and not self._has_spread:
            self._spread()
        else:
            self._has_spread = False

    @property
    def over(self) -> bool:
        """Whether this cycle has had its share."""
        return self.draft.full or monotonic() > self._until

    @property
    def half_over(self) -> bool:
        """Whether this cycle has had half of its share."""
        return self.draft.half_full or monotonic() > self._until - self.share / 2

    @property
    def idle(self) -> bool:
        """Whether nothing is left to do but what comes from outside."""
        return not (self.ready or self.parked or self._spreading)

    @property
    def can_go_on(self) -> bool:
        """Whether the next cycle has something to do even when nothing arrives."""
        if self._spreading is not None:
            return True
        return bool(self.ready or self.scope.adopted) and self.registry is not None

    @property
    def is_busy_spreading(self) -> bool:
        return self._spreading is not None

    def is_spreading(self, id: str) -> bool:
        return self._spreading is not None and self._spreading[0].id == id

    def arrive(self, id: str, execution: str | None, event: ev.Arrival) -> None:
        """One arrival from outside, and all that it sets off."""
        self._arrive(id, execution, event, hold=False)
        self.settle()

    def settle(self) -> None:
        """Deliver what turns have sent: applied while the cycle lasts, held from then on."""
        handling = self.draft.handling
        while self.effects.deliveries:
            id, execution, event = self.effects.deliveries.popleft()
            self.draft.handling = id
            self._arrive(id, execution, event, hold=self.over)
        self.effects.delivering = 0
        self.effects.coming.clear()
        self.draft.handling = handling

    def give_out(self) -> None:
        """Start what the cycle has brought entities to do, before it is committed."""
        self.entities.start()
        while self.effects.deliveries:
            self.settle()
            self.entities.start()

    def look(self) -> None:
        """Let instances that hold arrivals, or owe a turn, go on: round after round, as long as that moves them."""
        before = -1
        while self.draft.records != before:
            before = self.draft.records
            self._look_once()

    def _look_once(self) -> None:
        while self.scope.adopted and not self.over and self.registry is not None:
            self.draft.adopted.append(self.scope.adopted.popleft())
            self._take_up(self.draft.adopted[-1])
        for id in list(self.ready):
            if self.over or self.registry is None:
                return
            if id not in self.scope:
                del self.ready[id]
                continue
            if self.is_spreading(id) or id in self._patient or self._is_behind(id):
                continue
            instance = self.instances.get(id)
            if instance is not None and self._is_child_of_spreading(instance):
                self._patient.add(id)  # were it to end now, its turn would have to be given up
                continue
            del self.ready[id]
            if instance is not None:
                self.draft.looked_at.append(id)
                self.draft.handling = id
                self._go_on(instance)
                self.settle()
                self.draft.handling = None

    def _is_behind(self, id: str) -> bool:
        target = self._behind.get(id)
        if target is None:
            return False
        if self._queue is not None and self._queue.holds(target):
            return True
        del self._behind[id]
        return False

    def _take_up(self, id: str) -> None:
        """Go on with what an earlier engine left, and is needed here."""
        self.draft.looked_at.append(id)
        self.draft.handling = id
        if is_entity_id(id):
            self.entities.resume(id)
        elif (instance := self.instances.get(id)) is not None and not instance.ledger.ended:
            self.resume(instance)
        for other in self.scope.related(id):
            self.scope.adopt(other)
        self.settle()
        self.draft.handling = None

    def _is_child_of_spreading(self, instance: Instance) -> bool:
        parent = instance.ledger.started.parent
        return parent is not None and self.is_spreading(parent.instance)

    def _arrive(self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival, *, hold: bool) -> None:
        if isinstance(event, ev.EntityArrival):
            self.entities.arrive(id, event)
            return
        if self._spreading is not None and self._spreading[0].id == id:
            self.parked.append((id, execution, event))
            return
        if isinstance(event, ev.ExecutionStarted):
            self._child_started(event, hold)
            return
        instance = self.instances.get(id)
        if instance is None and self.instances.is_set_aside(id):
            self.effects.keep(id, execution, event)
            return
        if instance is None or (execution is not None and instance.ledger.execution != execution):
            self.stats["dropped"] += 1
            return
        if isinstance(event, ev.ExecutionTerminated):
            self.effects.terminate(instance, event)
        elif instance.ledger.accepts(event):
            self.receive(instance, event, hold)
        else:
            self.stats["dropped"] += 1

    def receive(self, instance: Instance, event: ev.Arrival, hold: bool = False) -> None:
        """Apply an arrival, or hold it where it can't be applied now."""
        handling, self.draft.handling = self.draft.handling, instance.id
        held_back = hold or self.registry is None or instance.id not in self.scope or instance.ledger.must_hold
        if held_back or not self._turn(instance, event):
            self._hold(instance, event)
        self.draft.handling = handling

    def _hold(self, instance: Instance, event: ev.Arrival) -> None:
        if self.instances.is_set_aside(instance.id):  # its file turned out to be damaged
            self.effects.keep(instance.id, instance.ledger.execution, event)
            return
        if not instance.ledger.accepts(event):  # finishing a turn that was cut off has made it void
            self.stats["dropped"] += 1
            return
        self.effects.add(instance, replace(event, held=True))
        self._look_soon(instance)

    # ── one turn ───────────────────────────────────────────────────────────────────────────────────────────────

    def _turn(self, instance: Instance, event: ev.Arrival) -> bool:
        """Apply an arrival that isn't recorded yet. False when it has to be held."""
        if instance.torn or instance.ledger.incomplete:
            self.ready[instance.id] = None  # first that turn is brought to its end
            return False
        if not self._revive(instance, event) or instance.ledger.must_hold:
            return False
        ledger = instance.ledger
        at = max(self.draft.at, ledger.updated) if ledger.last_n else self.draft.at
        if isinstance(event, ev.TimerFired):
            timer = ledger.open_decisions[event.timer]
            assert isinstance(timer, ev.TimerCreated)
            at = max(at, timer.fire_at)
        record = ev.Record(ledger.last_n + 1, at, event)
        fresh = self._apply(instance, record, record)
        return fresh is not None and self._place(instance, [record, *fresh]) and self._lived(instance)

    def _go_on(self, instance: Instance) -> None:
        """Apply the next held arrival, finish a turn that was cut off, or find that a blocked instance may go on."""
        ledger = instance.ledger
        if ledger.ended or (self._may_lack(instance) and self._lacks(instance)):
            return
        torn = instance.torn or ledger.incomplete
        held = ledger.next_held(self.draft.at)
        if not self._revive(instance, held.event if held is not None else None):
            return
        if torn:
            self.effects.refuse_again(instance)
        if self.is_spreading(instance.id):
            return
        if torn or held is None:
            self._unblock(instance)
        else:
            self._release(instance, held)
        self._look_soon(instance)

    def _release(self, instance: Instance, held: ev.Record) -> None:
        """Apply a held arrival. A blocked instance is unblocked by a turn that goes well, and else stays as it is."""
        ledger = instance.ledger
        n, at = ledger.last_n + 1, max(self.draft.at, ledger.updated)
        marks = [ev.Record(n, at, ev.ExecutionUnblocked())] if ledger.blocked is not None else []
        owed = pending.activities(ledger) if marks else []
        marks.append(ev.Record(n + len(marks), at, ev.OrchestratorStarted(held.n)))
        fresh = self._apply(instance, held, marks[-1])
        if fresh is None:
            return
        if self._place(instance, [*marks, *fresh]):
            self.effects.owe(instance.id, ledger.execution, owed)
            self._lived(instance)
        else:
            self.ready[instance.id] = None

    def _unblock(self, instance: Instance) -> None:
        if instance.ledger.blocked is not None:
            self.effects.add(instance, ev.ExecutionUnblocked())
            self.effects.owe(instance.id, instance.ledger.execution, pending.activities(instance.ledger))

    def _look_soon(self, instance: Instance) -> None:
        """See to it that an instance that may go on is looked at."""
        ledger = instance.ledger
        if ledger.blocked is None and ledger.next_held(self.draft.at):
            self.ready[instance.id] = None

    def _lived(self, instance: Instance) -> bool:
        """A turn is over: with `replay_always` the next one gets a machine of its own. Always True."""
        if self.replay_always:
            instance.drop_machine()
        return True

    def _apply(self, instance: Instance, arrival: ev.Record, mark: ev.Record) -> list[ev.Record] | None:
        """Run the machine over one arrival; None when that blocked the instance."""
        machine = instance.machine
        assert machine is not None
        self.stats["turns"] += 1
        self.watch.begin(instance.id, machine.function)
        try:
            fresh = machine.apply(arrival, mark.at, mark.n + 1)
        except (NonDeterminismError, TooManyDecisions) as verdict:
            self.block(instance, str(verdict))
            return None
        finally:
            self.watch.end()
        return fresh

    def _speak(self, machine: OrchestrationExecutor) -> None:
        if machine.log_lines:
            self.draft.spoken += machine.log_lines
            machine.log_lines = []

    # ── machines ───────────────────────────────────────────────────────────────────────────────────────────────

    def _revive(self, instance: Instance, event: ev.AnyEvent | None) -> bool:
        """See that there is a live machine; False when there can't be one, which has then been recorded."""
        if instance.machine is not None:
            return True
        assert self.registry is not None
        if self.stuck is not None and self.stuck.instance == instance.id:
            self.block(instance, reason(self.stuck))
            return False
        if instance.id in self.faulty:
            self.block(instance, self.faulty[instance.id])
            return False
        ledger = instance.ledger
        started = event if isinstance(event, ev.ExecutionStarted) else ledger.started
        function = self.registry.find_orchestrator(started.name)
        if function is None:
            self.block(instance, f"orchestrator '{started.name}' isn't loaded")
            return False
        unfit = None if self.registry.is_built_in(function) else self.versions.why_incompatible(started.version)
        if unfit is not None:
            self._stop(instance, unfit, "durablecli.VersionMismatch" if self.versions.fail_on_mismatch else None)
            return False
        if isinstance(event, ev.ExecutionStarted):
            self._begin(instance, event, function)
            return True
        return self._replay(instance, function)

    def _begin(self, instance: Instance, started: ev.ExecutionStarted, function: Function) -> None:
        """Make the machine of an execution's first turn. A rewind may have kept decisions of that turn."""
        assert self.registry is not None
        ledger = instance.ledger
        instance.machine = OrchestrationExecutor(
            function.call,
            started,
            self.registry.get_return_type,
            payload_limit=self.limits.payload,
            timeout_resets=ledger.timeout_resets,
            azure=function.is_azure,
        )
        instance.machine.expect(comparable_decisions(ledger.kept_decisions))
        ledger.turns = None

    def _replay(self, instance: Instance, function: Function) -> bool:
        if instance.ledger.turns is None and not self.instances.reread(instance):
            return False
        assert self.registry is not None
        self.stats["replays"] += 1
        self.watch.begin(instance.id, function.call)
        try:
            machine, fresh = replay(
                function.call,
                instance.ledger,
                self.registry.get_return_type,
                incomplete=instance.torn,
                payload_limit=self.limits.payload,
                azure=function.is_azure,
            )
        except (NonDeterminismError, TooManyDecisions) as verdict:
            self.block(instance, str(verdict))
            return False
        finally:
            self.watch.end()
        self._completed(instance)
        instance.machine = machine
        instance.ledger.turns = None
        instance.ledger.incomplete = False
        if fresh and not self._place(instance, fresh):
            instance.torn = True
            self.instances.torn.add(instance.id)
            self.ready[instance.id] = None
            return False
        return True

    def _completed(self, instance: Instance) -> None:
        """A turn that was cut off comes to its end in this cycle."""
        instance.torn = False
        if instance.id in self.instances.torn:
            self.instances.torn.discard(instance.id)
            self.draft.completed.append(instance.id)

    def block(self, instance: Instance, reason: str) -> None:
        """Record why an instance can't go on; once per reason. It stays Running, and what follows is held."""
        self._stop(instance, reason, "durablecli.NonDeterminism" if self.fail_on_nondeterminism else None)

    def _stop(self, instance: Instance, reason: str, failure_kind: str | None) -> None:
        """Block an instance, or fail it where that is asked for."""
        instance.drop_machine()
        ledger = instance.ledger
        if ledger.last_n == 0:
            return  # its start is recorded first, held, and looked at again
        if failure_kind is not None:
            failure = Failure(failure_kind, reason)
            n = ledger.last_n + 1
            at = max(self.draft.at, ledger.updated)
            function = self.registry.find_orchestrator(ledger.started.name) if self.registry is not None else None
            named = function is not None and function.is_azure
            self._place(
                instance,
                [ev.Record(n, at, ev.ExecutionCompleted("Failed", failure=failure, failure_has_name_prefix=named))],
            )
        elif ledger.blocked != reason:
            self.effects.add(instance, ev.ExecutionBlocked(reason))
            told = (instance.id, reason.replace("\n", "; "))
            self.draft.spoken.append(
                Spoken(f"orchestrator.{ledger.started.name}", logging.WARNING, "%s is blocked: %s", told)
            )

    def _may_lack(self, instance: Instance) -> bool:
        """Whether `_lacks` could be true: it looks at every open activity, which no live instance should pay for."""
        return instance.machine is None or instance.ledger.blocked is not None or instance.id in self.effects.lacking

    def _lacks(self, instance: Instance) -> bool:
        """Whether an activity that this instance has scheduled isn't loaded; it is blocked then."""
        assert self.registry is not None
        self.effects.lacking.discard(instance.id)
        for _, task in pending.activities(instance.ledger):
            if self.registry.find_activity(task.name) is None:
                self.block(instance, f"activity '{task.name}' isn't loaded")
                return True
        return False

    # ── placing decisions ──────────────────────────────────────────────────────────────────────────────────────

    def _place(self, instance: Instance, records: list[ev.Record]) -> bool:
        """Write a turn down and do what it says. False when the turn had to be given up."""
        spreads = self._spreads(instance, records)
        if (behind := self._awaited_target(instance, records)) is not None:
            self._behind[instance.id] = behind
            self.ready[instance.id] = None
            instance.drop_machine()
            return False
        if self._collides(instance, records) or (spreads and self._is_expected(instance)):
            instance.drop_machine()
            if self._spreading is not None:
                self._patient.add(instance.id)
            return False
        if instance.machine is not None:
            self._speak(instance.machine)
        if spreads:
            self.effects.apply(instance, records[0])  # an arrival is recorded with what made it, whatever comes then
            self._spreading = (instance, deque(records[1:]))
            self.instances.kept = instance
            self.effects.busy = instance.id
            self.spread_since = self.draft.c
            self._spread()
        else:
            for record in records:
                self.effects.apply(instance, record)
            self._note_waits(instance)
        self._warn(instance, len(records))
        return True

    def _note_waits(self, instance: Instance) -> None:
        """Record which waits take events, where the ledger can't know it: a wait sleeps once it isn't needed."""
        machine = instance.machine
        if machine is None or machine.ended:
            return
        changed = make_waits_changed(machine.event_waits, instance.ledger)
        if changed is not None:
            self.effects.add(instance, changed)

    def _warn(self, instance: Instance, added: int) -> None:
        """Say once that a history has grown long: reading and replaying it take their time."""
        n, most = instance.ledger.last_n, self.limits.history_warning
        if n >= most > n - added:
            self.say(f"{instance.id} has {n:,} records in its history: continue_as_new would begin an empty one")

    def _awaited_target(self, instance: Instance, records: list[ev.Record]) -> str | None:
        """A target of this turn for which a message waits that was acknowledged earlier than what the turn sends."""
        queue = self._queue
        if queue is None or queue.is_clear:
            return None
        parent = instance.ledger.started.parent if instance.ledger.last_n else None
        for record in records:
            reached = target(record.event)
            if reached is None and parent is not None and isinstance(record.event, ev.ExecutionCompleted):
                reached = parent.instance
            if reached is not None and reached != instance.id and queue.holds(reached):
                return reached
        return None

    def _collides(self, instance: Instance, records: list[ev.Record]) -> bool:
        """Whether this turn meets one that is being spread, or begins a second execution in one commit."""
        last = records[-1].event
        if isinstance(last, ev.ContinueAsNew):
            first = records[0].event
            execution = first.execution if isinstance(first, ev.ExecutionStarted) else instance.ledger.execution
            if execution == self.draft.execution:
                return True
        for record in records:
            if type(record.event) is ev.SubOrchestrationInstanceCreated and self._is_young(record.event.instance):
                return True
        if self._spreading is None:
            return False
        busy = self._spreading[0].id
        parent = instance.ledger.started.parent
        if isinstance(last, ev.ExecutionCompleted) and parent is not None and parent.instance == busy:
            return True
        return any(target(record.event) == busy for record in records) or self._is_heavy(records)

    def _is_expected(self, instance: Instance) -> bool:
        """Whether something is on its way to this instance; while its turn is spread, a crash could lose it."""
        return any(id == instance.id for id, _, _ in self.effects.deliveries)

    def _is_young(self, child: str) -> bool:
        """Whether a sub-orchestration takes an id whose earlier execution began in this very commit."""
        known = self.instances.in_mind(child)
        return known is not None and known.ledger.execution == self.draft.execution

    def _is_heavy(self, records: list[ev.Record]) -> bool:
        room = MOST_BYTES - self.draft.size
        if room > MOST_BYTES // 2 and len(records) < _LIGHT:
            for record in records:
                if weight(record.event) >= 65_536:
                    break
            else:
                return False
        total = sum(weight(record.event) for record in records)
        return self.draft.records + 2 * len(records) > 2 * MOST_RECORDS or total > room

    def _spreads(self, instance: Instance, records: list[ev.Record]) -> bool:
        """Whether a turn is too big for this commit. One that sends to itself stays whole."""
        return self._is_heavy(records) and all(target(record.event) != instance.id for record in records)

    def _spread(self) -> None:
        """Write down as much of the turn that is being spread as this commit takes."""
        assert self._spreading is not None
        self._has_spread = True
        instance, rest = self._spreading
        while rest and not self.draft.full and self.draft.records + self.effects.delivering < 2 * MOST_RECORDS:
            if self.effects.delivering * 2 > MOST_RECORDS and self.draft.records > MOST_RECORDS // 2:
                break
            self.effects.apply(instance, rest.popleft())
        self.draft.goes_on(instance, bool(rest))
        if not rest:
            self._note_waits(instance)
            self._spreading = self.instances.kept = self.effects.busy = None
            parked, self.parked = self.parked, []
            self.effects.deliveries.extend(parked)
            self._patient.clear()
            self.spread_since = None
            if not instance.ledger.ended:
                self.ready[instance.id] = None  # it may hold arrivals, or still stand as blocked
        self.settle_held()

    def abandon(self) -> None:
        """Forget what the cycle was about to do; its commit is given up. Not while a turn is spread over commits."""
        self.effects.abandon()
        self.instances.torn.update(self.draft.completed)
        self.scope.adopted.extendleft(reversed(self.draft.adopted))
        self._behind.clear()
        self.entities.abandon()

    def settle_held(self) -> None:
        """Deliver what a slice has sent, all of it held: the slice has had the cycle's share."""
        while self.effects.deliveries:
            id, execution, event = self.effects.deliveries.popleft()
            self._arrive(id, execution, event, hold=True)
        self.effects.delivering = 0
        self.effects.coming.clear()

    # ── children, and the end ──────────────────────────────────────────────────────────────────────────────────

    def restart_child(self, event: ev.SubOrchestrationInstanceCreated, origin: ev.Origin) -> None:
        """Start a sub-orchestration anew that its rewound parent waits for; it fails again where it can't begin."""
        try:
            self.effects.take_id(event.instance)
        except Conflict as error:
            failure = Failure("durablecli.errors.Conflict", str(error))
            self.effects.deliver(
                origin.instance, origin.execution, ev.SubOrchestrationInstanceFailed(origin.n, failure)
            )
            return
        parent = self.instances.get(origin.instance)
        assert parent is not None
        self._child_started(self.effects.start_of(parent, origin.n, event), hold=False)

    def _child_started(self, event: ev.ExecutionStarted, hold: bool) -> None:
        if event.parent is not None and event.parent.instance in self.scope:
            self.scope.add(event.instance)
        if event.parent is None:  # an entity has started it, and taken its id already
            self.start(event, hold)
            return
        failure = self.effects.refusal(event)
        if failure is not None:
            answer = ev.SubOrchestrationInstanceFailed(event.parent.n, failure)
            self.effects.deliver(event.parent.instance, event.parent.execution, answer)
            return
        self.start(event, hold)

    def start(self, event: ev.ExecutionStarted, hold: bool = False) -> Instance:
        """Begin an execution: of a new instance, or in the place of one that has ended."""
        instance = self.instances.in_mind(event.instance)
        if instance is None:
            instance = self.instances.add(event.instance)
        instance.begin(event.execution)
        later = event.start_at is not None and event.start_at > self.draft.at
        if later and event.start_at is not None:
            self.timers.set(event.start_at, event.instance, event.execution, None)
        self.receive(instance, event, hold or later)
        return instance

    # ── what an instance that was read from disk owes ──────────────────────────────────────────────────────────

    def resume(self, instance: Instance, *, redeliver: bool = True) -> None:
        """Take up an instance that an earlier engine left, or that was rewound: its timers, turns and, with
        `redeliver`, its activities."""
        if instance.id not in self.scope:
            return
        ledger = instance.ledger
        for n, timer in pending.timers(ledger):
            back_off = timer.retry_of is not None
            self.timers.set(timer.fire_at, instance.id, ledger.execution, n, back_off=back_off)
        if (start_at := pending.scheduled_start_time(ledger)) is not None:
            self.timers.set(start_at, instance.id, ledger.execution, None)
        if self.registry is None or ledger.ended:
            return
        if ledger.blocked is not None or instance.torn or ledger.incomplete or ledger.next_held(self.draft.at):
            self.ready[instance.id] = None
        if redeliver and ledger.blocked is None and not self._lacks(instance):
            self.effects.owe(instance.id, ledger.execution, pending.activities(ledger))
