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

from durablecli.config import LimitsConfig
from durablecli.engine.clock import Clock
from durablecli.engine.commit_builder import MAX_COMMIT_BYTES, MAX_COMMIT_RECORDS, CommitBuilder, LogLine
from durablecli.engine.decisions import DecisionApplier
from durablecli.engine.entity_scheduler import EntityScheduler
from durablecli.engine.event_size import estimate_size, get_recipient
from durablecli.engine.instance_cache import CachedInstance, InstanceCache
from durablecli.engine.message_queue import MessageQueue
from durablecli.engine.scope import EngineScope
from durablecli.engine.timers import Timers
from durablecli.engine.watchdog import CurrentTurn, HangReport, format_block_reason
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.model.failures import Failure
from durablecli.model.versions import ANY_VERSION, VersionPolicy
from durablecli.registry import Function, Registry
from durablecli.replay import pending
from durablecli.replay.errors import NonDeterminismError, TooManyDecisions
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.replay import comparable_decisions, create_executor, replay

_MIN_DECISIONS_TO_MEASURE = 64
"""A turn of fewer decisions, with inputs of less than 64 KiB each, is not weighed."""


class TurnRunner:
    """Runs the turns of one cycle after another into the draft it is given."""

    def __init__(
        self,
        instances: InstanceCache,
        registry: Registry | None,
        timers: Timers,
        clock: Clock,
        current_turn: CurrentTurn,
        reserve: Callable[[str], None],
        *,
        limits: LimitsConfig,
        echo: Callable[[str], None],
        scope: EngineScope | None = None,
        turn_budget: float = 0.010,
        replay_always: bool = False,
        fail_on_nondeterminism: bool = False,
        versions: VersionPolicy = ANY_VERSION,
        queue: MessageQueue | None = None,
    ) -> None:
        self._queue = queue
        self._waiting_for_target: dict[str, str] = {}
        """Instances whose turn sends to a target for which a message waits that was acknowledged earlier."""
        self.internal_errors: dict[str, str] = {}
        """Instances whose turns failed unexpectedly, and how: they are blocked instead of being turned again."""
        self.instances = instances
        self.registry = registry
        self.timers = timers
        self.clock = clock
        self.current_turn = current_turn
        self.turn_budget = turn_budget
        self.limits = limits
        self.echo = echo
        self.replay_always = replay_always
        self.fail_on_nondeterminism = fail_on_nondeterminism
        self.builder = CommitBuilder(0, 0, clock.now())
        self.scope = scope or EngineScope(None, instances)
        self.applier = DecisionApplier(
            self.builder, instances, registry, timers, reserve, limits.sub_orchestration_depth, self.scope
        )
        self.versions = versions
        self.entity_scheduler = EntityScheduler(self.applier, versions.current)
        self.ready = self.applier.ready
        self.parked_arrivals: list[tuple[str, str | None, ev.Arrival | ev.EntityArrival]] = []
        self.stats = self.applier.stats
        self._split_turn: tuple[CachedInstance, deque[ev.Record]] | None = None
        self._has_written_slice = False
        self._waiting_for_split_turn: set[str] = set()
        self.split_turn_first_commit: int | None = None
        self._deadline = 0.0
        self.hang_report: HangReport | None = None
        """Who hung the last engine: not turned again, also when what hung it still waits in the inbox."""

    # ── a cycle ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_cycle(self, builder: CommitBuilder) -> None:
        """Start a cycle. A turn that is being spread goes on in every other one: its slices fill theirs."""
        self.builder = self.applier.builder = builder
        self.applier.deduplicator.begin_cycle()
        self._deadline = monotonic() + self.turn_budget
        if self._split_turn is not None and not self._has_written_slice:
            self._write_slice()
        else:
            self._has_written_slice = False

    @property
    def is_budget_spent(self) -> bool:
        """Whether this cycle has had its share."""
        return self.builder.is_full or monotonic() > self._deadline

    @property
    def is_half_budget_spent(self) -> bool:
        """Whether this cycle has had half of its share."""
        return self.builder.is_half_full or monotonic() > self._deadline - self.turn_budget / 2

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do but what comes from outside."""
        return not (self.ready or self.parked_arrivals or self._split_turn)

    @property
    def has_runnable_work(self) -> bool:
        """Whether the next cycle has something to do even when nothing arrives."""
        if self._split_turn is not None:
            return True
        return bool(self.ready or self.scope.adopted) and self.registry is not None

    @property
    def has_split_turn(self) -> bool:
        return self._split_turn is not None

    def is_splitting(self, id: str) -> bool:
        return self._split_turn is not None and self._split_turn[0].id == id

    def run_arrival(self, id: str, execution: str | None, event: ev.Arrival) -> None:
        """One arrival from outside, and all that it sets off."""
        self._route_arrival(id, execution, event, hold=False)
        self.deliver()

    def deliver(self) -> None:
        """Deliver what turns have sent: applied while the cycle lasts, held from then on."""
        handling = self.builder.handling
        while self.applier.deliveries:
            id, execution, event = self.applier.deliveries.popleft()
            self.builder.handling = id
            self._route_arrival(id, execution, event, hold=self.is_budget_spent)
        self.applier.delivery_count = 0
        self.applier.starting_children.clear()
        self.builder.handling = handling

    def start_entity_batches(self) -> None:
        """Start what the cycle has brought entities to do, before it is committed."""
        self.entity_scheduler.start_batches()
        while self.applier.deliveries:
            self.deliver()
            self.entity_scheduler.start_batches()

    def run_ready(self) -> None:
        """Let instances that hold arrivals, or owe a turn, go on: round after round, as long as that moves them."""
        before = -1
        while self.builder.record_count != before:
            before = self.builder.record_count
            self._run_ready_once()

    def _run_ready_once(self) -> None:
        while self.scope.adopted and not self.is_budget_spent and self.registry is not None:
            self.builder.adopted.append(self.scope.adopted.popleft())
            self._restore_adopted(self.builder.adopted[-1])
        for id in list(self.ready):
            if self.is_budget_spent or self.registry is None:
                return
            if id not in self.scope:
                del self.ready[id]
                continue
            if self.is_splitting(id) or id in self._waiting_for_split_turn or self._must_wait_for_target(id):
                continue
            instance = self.instances.get(id)
            if instance is not None and self._is_child_of_split_turn(instance):
                self._waiting_for_split_turn.add(id)  # were it to end now, its turn would have to be given up
                continue
            del self.ready[id]
            if instance is not None:
                self.builder.visited.append(id)
                self.builder.handling = id
                self._run_next(instance)
                self.deliver()
                self.builder.handling = None

    def _must_wait_for_target(self, id: str) -> bool:
        target = self._waiting_for_target.get(id)
        if target is None:
            return False
        if self._queue is not None and self._queue.has_message_for(target):
            return True
        del self._waiting_for_target[id]
        return False

    def _restore_adopted(self, id: str) -> None:
        """Go on with what an earlier engine left, and is needed here."""
        self.builder.visited.append(id)
        self.builder.handling = id
        if is_entity_id(id):
            self.entity_scheduler.restore(id)
        elif (instance := self.instances.get(id)) is not None and not instance.runtime_state.ended:
            self.restore(instance)
        for other in self.scope.find_related(id):
            self.scope.adopt(other)
        self.deliver()
        self.builder.handling = None

    def _is_child_of_split_turn(self, instance: CachedInstance) -> bool:
        parent = instance.runtime_state.started.parent
        return parent is not None and self.is_splitting(parent.instance)

    def _route_arrival(
        self, id: str, execution: str | None, event: ev.Arrival | ev.EntityArrival, *, hold: bool
    ) -> None:
        if isinstance(event, ev.EntityArrival):
            self.entity_scheduler.receive(id, event)
            return
        if self._split_turn is not None and self._split_turn[0].id == id:
            self.parked_arrivals.append((id, execution, event))
            return
        if isinstance(event, ev.ExecutionStarted):
            self._start_child(event, hold)
            return
        instance = self.instances.get(id)
        if instance is None and self.instances.is_quarantined(id):
            self.applier.quarantine_arrival(id, execution, event)
            return
        if instance is None or (execution is not None and instance.runtime_state.execution != execution):
            self.stats["dropped"] += 1
            return
        if isinstance(event, ev.ExecutionTerminated):
            self.applier.terminate(instance, event)
        elif instance.runtime_state.accepts(event):
            self.run_or_hold(instance, event, hold)
        else:
            self.stats["dropped"] += 1

    def run_or_hold(self, instance: CachedInstance, event: ev.Arrival, hold: bool = False) -> None:
        """Apply an arrival, or hold it where it can't be applied now."""
        handling, self.builder.handling = self.builder.handling, instance.id
        held_back = hold or self.registry is None or instance.id not in self.scope or instance.runtime_state.must_hold
        if held_back or not self._run_turn(instance, event):
            self._hold(instance, event)
        self.builder.handling = handling

    def _hold(self, instance: CachedInstance, event: ev.Arrival) -> None:
        if self.instances.is_quarantined(instance.id):  # its file turned out to be damaged
            self.applier.quarantine_arrival(instance.id, instance.runtime_state.execution, event)
            return
        if not instance.runtime_state.accepts(event):  # finishing a turn that was cut off has made it void
            self.stats["dropped"] += 1
            return
        self.applier.record_event(instance, replace(event, held=True))
        self._mark_ready_if_appliable(instance)

    # ── one turn ───────────────────────────────────────────────────────────────────────────────────────────────

    def _run_turn(self, instance: CachedInstance, event: ev.Arrival) -> bool:
        """Apply an arrival that isn't recorded yet. False when it has to be held."""
        if instance.incomplete or instance.runtime_state.incomplete:
            self.ready[instance.id] = None  # first that turn is brought to its end
            return False
        if not self._ensure_executor(instance, event) or instance.runtime_state.must_hold:
            return False
        ledger = instance.runtime_state
        at = max(self.builder.at, ledger.updated) if ledger.last_n else self.builder.at
        if isinstance(event, ev.TimerFired):
            timer = ledger.open_decisions[event.timer]
            assert isinstance(timer, ev.TimerCreated)
            at = max(at, timer.fire_at)
        record = ev.Record(ledger.last_n + 1, at, event)
        fresh = self._run_executor(instance, record, record)
        return fresh is not None and self._record_turn(instance, [record, *fresh]) and self._after_turn(instance)

    def _run_next(self, instance: CachedInstance) -> None:
        """Apply the next held arrival, finish a turn that was cut off, or find that a blocked instance may go on."""
        ledger = instance.runtime_state
        if ledger.ended or (self._may_miss_activity(instance) and self._block_if_activity_missing(instance)):
            return
        torn = instance.incomplete or ledger.incomplete
        held = ledger.next_held(self.builder.at)
        if not self._ensure_executor(instance, held.event if held is not None else None):
            return
        if torn:
            self.applier.fail_unstartable_children(instance)
        if self.is_splitting(instance.id):
            return
        if torn or held is None:
            self._unblock(instance)
        else:
            self._run_held(instance, held)
        self._mark_ready_if_appliable(instance)

    def _run_held(self, instance: CachedInstance, held: ev.Record) -> None:
        """Apply a held arrival. A blocked instance is unblocked by a turn that goes well, and else stays as it is."""
        ledger = instance.runtime_state
        n, at = ledger.last_n + 1, max(self.builder.at, ledger.updated)
        marks = [ev.Record(n, at, ev.ExecutionUnblocked())] if ledger.blocked is not None else []
        owed = pending.activities(ledger) if marks else []
        marks.append(ev.Record(n + len(marks), at, ev.OrchestratorStarted(held.n)))
        fresh = self._run_executor(instance, held, marks[-1])
        if fresh is None:
            return
        if self._record_turn(instance, [*marks, *fresh]):
            self.applier.schedule_activities(instance.id, ledger.execution, owed)
            self._after_turn(instance)
        else:
            self.ready[instance.id] = None

    def _unblock(self, instance: CachedInstance) -> None:
        if instance.runtime_state.blocked is not None:
            self.applier.record_event(instance, ev.ExecutionUnblocked())
            self.applier.schedule_activities(
                instance.id, instance.runtime_state.execution, pending.activities(instance.runtime_state)
            )

    def _mark_ready_if_appliable(self, instance: CachedInstance) -> None:
        """See to it that an instance that may go on is looked at."""
        ledger = instance.runtime_state
        if ledger.blocked is None and ledger.next_held(self.builder.at):
            self.ready[instance.id] = None

    def _after_turn(self, instance: CachedInstance) -> bool:
        """A turn is over: with `replay_always` the next one gets a machine of its own. Always True."""
        if self.replay_always:
            instance.drop_executor()
        return True

    def _run_executor(self, instance: CachedInstance, arrival: ev.Record, mark: ev.Record) -> list[ev.Record] | None:
        """Run the machine over one arrival; None when that blocked the instance."""
        machine = instance.executor
        assert machine is not None
        self.stats["turns"] += 1
        self.current_turn.begin(instance.id, machine.function)
        try:
            fresh = machine.apply(arrival, mark.at, mark.n + 1)
        except (NonDeterminismError, TooManyDecisions) as verdict:
            self.block(instance, str(verdict))
            return None
        finally:
            self.current_turn.end()
        return fresh

    def _collect_log_lines(self, executor: OrchestrationExecutor) -> None:
        if executor.log_lines:
            self.builder.log_lines += executor.log_lines
            executor.log_lines = []

    # ── machines ───────────────────────────────────────────────────────────────────────────────────────────────

    def _ensure_executor(self, instance: CachedInstance, event: ev.AnyEvent | None) -> bool:
        """See that there is a live machine; False when there can't be one, which has then been recorded."""
        if instance.executor is not None:
            return True
        assert self.registry is not None
        if self.hang_report is not None and self.hang_report.instance == instance.id:
            self.block(instance, format_block_reason(self.hang_report))
            return False
        if instance.id in self.internal_errors:
            self.block(instance, self.internal_errors[instance.id])
            return False
        ledger = instance.runtime_state
        started = event if isinstance(event, ev.ExecutionStarted) else ledger.started
        function = self.registry.find_orchestrator(started.name)
        if function is None:
            self.block(instance, f"orchestrator '{started.name}' isn't loaded")
            return False
        unfit = None if self.registry.is_built_in(function) else self.versions.why_incompatible(started.version)
        if unfit is not None:
            self._block_or_fail(
                instance, unfit, "durablecli.VersionMismatch" if self.versions.fail_on_mismatch else None
            )
            return False
        if isinstance(event, ev.ExecutionStarted):
            self._create_executor(instance, event, function)
            return True
        return self._replay(instance, function)

    def _create_executor(self, instance: CachedInstance, started: ev.ExecutionStarted, function: Function) -> None:
        """Make the machine of an execution's first turn. A rewind may have kept decisions of that turn."""
        assert self.registry is not None
        ledger = instance.runtime_state
        instance.executor = create_executor(
            function.call,
            started,
            self.registry.get_return_type,
            payload_limit=self.limits.payload,
            timeout_resets=ledger.timeout_resets,
            azure=function.is_azure,
        )
        instance.executor.expect(comparable_decisions(ledger.kept_decisions))
        ledger.turns = None

    def _replay(self, instance: CachedInstance, function: Function) -> bool:
        if instance.runtime_state.turns is None and not self.instances.reread(instance):
            return False
        assert self.registry is not None
        self.stats["replays"] += 1
        self.current_turn.begin(instance.id, function.call)
        try:
            machine, fresh = replay(
                function.call,
                instance.runtime_state,
                self.registry.get_return_type,
                incomplete=instance.incomplete,
                payload_limit=self.limits.payload,
                azure=function.is_azure,
            )
        except (NonDeterminismError, TooManyDecisions) as verdict:
            self.block(instance, str(verdict))
            return False
        finally:
            self.current_turn.end()
        self._mark_completed(instance)
        instance.executor = machine
        instance.runtime_state.turns = None
        instance.runtime_state.incomplete = False
        if fresh and not self._record_turn(instance, fresh):
            instance.incomplete = True
            self.instances.incomplete_turns.add(instance.id)
            self.ready[instance.id] = None
            return False
        return True

    def _mark_completed(self, instance: CachedInstance) -> None:
        """A turn that was cut off comes to its end in this cycle."""
        instance.incomplete = False
        if instance.id in self.instances.incomplete_turns:
            self.instances.incomplete_turns.discard(instance.id)
            self.builder.completed_turns.append(instance.id)

    def block(self, instance: CachedInstance, reason: str) -> None:
        """Record why an instance can't go on; once per reason. It stays Running, and what follows is held."""
        self._block_or_fail(instance, reason, "durablecli.NonDeterminism" if self.fail_on_nondeterminism else None)

    def _block_or_fail(self, instance: CachedInstance, reason: str, failure_kind: str | None) -> None:
        """Block an instance, or fail it where that is asked for."""
        instance.drop_executor()
        ledger = instance.runtime_state
        if ledger.last_n == 0:
            return  # its start is recorded first, held, and looked at again
        if failure_kind is not None:
            failure = Failure(failure_kind, reason)
            n = ledger.last_n + 1
            at = max(self.builder.at, ledger.updated)
            function = self.registry.find_orchestrator(ledger.started.name) if self.registry is not None else None
            named = function is not None and function.is_azure
            self._record_turn(
                instance,
                [ev.Record(n, at, ev.ExecutionCompleted("Failed", failure=failure, failure_has_name_prefix=named))],
            )
        elif ledger.blocked != reason:
            self.applier.record_event(instance, ev.ExecutionBlocked(reason))
            told = (instance.id, reason.replace("\n", "; "))
            self.builder.log_lines.append(
                LogLine(f"orchestrator.{ledger.started.name}", logging.WARNING, "%s is blocked: %s", told)
            )

    def _may_miss_activity(self, instance: CachedInstance) -> bool:
        """Whether `_lacks` could be true: it looks at every open activity, which no live instance should pay for."""
        return (
            instance.executor is None
            or instance.runtime_state.blocked is not None
            or instance.id in self.applier.missing_activity
        )

    def _block_if_activity_missing(self, instance: CachedInstance) -> bool:
        """Whether an activity that this instance has scheduled isn't loaded; it is blocked then."""
        assert self.registry is not None
        self.applier.missing_activity.discard(instance.id)
        for _, task in pending.activities(instance.runtime_state):
            if self.registry.find_activity(task.name) is None:
                self.block(instance, f"activity '{task.name}' isn't loaded")
                return True
        return False

    # ── placing decisions ──────────────────────────────────────────────────────────────────────────────────────

    def _record_turn(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Write a turn down and do what it says. False when the turn had to be given up."""
        spreads = self._must_split(instance, records)
        if (behind := self._find_awaited_target(instance, records)) is not None:
            self._waiting_for_target[instance.id] = behind
            self.ready[instance.id] = None
            instance.drop_executor()
            return False
        if self._conflicts(instance, records) or (spreads and self._has_pending_delivery(instance)):
            instance.drop_executor()
            if self._split_turn is not None:
                self._waiting_for_split_turn.add(instance.id)
            return False
        if instance.executor is not None:
            self._collect_log_lines(instance.executor)
        if spreads:
            self.applier.record_and_execute(
                instance, records[0]
            )  # an arrival is recorded with what made it, whatever comes then
            self._split_turn = (instance, deque(records[1:]))
            self.instances.pinned = instance
            self.applier.split_turn_instance = instance.id
            self.split_turn_first_commit = self.builder.commit_number
            self._write_slice()
        else:
            for record in records:
                self.applier.record_and_execute(instance, record)
            self._record_waits(instance)
        self._warn_of_long_history(instance, len(records))
        return True

    def _record_waits(self, instance: CachedInstance) -> None:
        """Record which waits take events, where the ledger can't know it: a wait sleeps once it isn't needed."""
        machine = instance.executor
        if machine is None or machine.ended:
            return
        changed = machine.take_waits_change(instance.runtime_state)
        if changed is not None:
            self.applier.record_event(instance, changed)

    def _warn_of_long_history(self, instance: CachedInstance, added: int) -> None:
        """Say once that a history has grown long: reading and replaying it take their time."""
        n, most = instance.runtime_state.last_n, self.limits.history_warning
        if n >= most > n - added:
            self.echo(f"{instance.id} has {n:,} records in its history: continue_as_new would begin an empty one")

    def _find_awaited_target(self, instance: CachedInstance, records: list[ev.Record]) -> str | None:
        """A target of this turn for which a message waits that was acknowledged earlier than what the turn sends."""
        queue = self._queue
        if queue is None or queue.is_clear:
            return None
        parent = instance.runtime_state.started.parent if instance.runtime_state.last_n else None
        for record in records:
            reached = get_recipient(record.event)
            if reached is None and parent is not None and isinstance(record.event, ev.ExecutionCompleted):
                reached = parent.instance
            if reached is not None and reached != instance.id and queue.has_message_for(reached):
                return reached
        return None

    def _conflicts(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Whether this turn meets one that is being spread, or begins a second execution in one commit."""
        last = records[-1].event
        if isinstance(last, ev.ContinueAsNew):
            first = records[0].event
            execution = first.execution if isinstance(first, ev.ExecutionStarted) else instance.runtime_state.execution
            if execution == self.builder.execution:
                return True
        for record in records:
            if type(record.event) is ev.SubOrchestrationInstanceCreated and self._began_in_this_commit(
                record.event.instance
            ):
                return True
        if self._split_turn is None:
            return False
        busy = self._split_turn[0].id
        parent = instance.runtime_state.started.parent
        if isinstance(last, ev.ExecutionCompleted) and parent is not None and parent.instance == busy:
            return True
        return any(get_recipient(record.event) == busy for record in records) or self._exceeds_commit(records)

    def _has_pending_delivery(self, instance: CachedInstance) -> bool:
        """Whether something is on its way to this instance; while its turn is spread, a crash could lose it."""
        return any(id == instance.id for id, _, _ in self.applier.deliveries)

    def _began_in_this_commit(self, child: str) -> bool:
        """Whether a sub-orchestration takes an id whose earlier execution began in this very commit."""
        known = self.instances.get_cached(child)
        return known is not None and known.runtime_state.execution == self.builder.execution

    def _exceeds_commit(self, records: list[ev.Record]) -> bool:
        room = MAX_COMMIT_BYTES - self.builder.size
        if room > MAX_COMMIT_BYTES // 2 and len(records) < _MIN_DECISIONS_TO_MEASURE:
            for record in records:
                if estimate_size(record.event) >= 65_536:
                    break
            else:
                return False
        total = sum(estimate_size(record.event) for record in records)
        return self.builder.record_count + 2 * len(records) > 2 * MAX_COMMIT_RECORDS or total > room

    def _must_split(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Whether a turn is too big for this commit. One that sends to itself stays whole."""
        return self._exceeds_commit(records) and all(get_recipient(record.event) != instance.id for record in records)

    def _write_slice(self) -> None:
        """Write down as much of the turn that is being spread as this commit takes."""
        assert self._split_turn is not None
        self._has_written_slice = True
        instance, rest = self._split_turn
        while (
            rest
            and not self.builder.is_full
            and self.builder.record_count + self.applier.delivery_count < 2 * MAX_COMMIT_RECORDS
        ):
            if (
                self.applier.delivery_count * 2 > MAX_COMMIT_RECORDS
                and self.builder.record_count > MAX_COMMIT_RECORDS // 2
            ):
                break
            self.applier.record_and_execute(instance, rest.popleft())
        self.builder.mark_continued(instance, bool(rest))
        if not rest:
            self._record_waits(instance)
            self._split_turn = self.instances.pinned = self.applier.split_turn_instance = None
            parked, self.parked_arrivals = self.parked_arrivals, []
            self.applier.deliveries.extend(parked)
            self._waiting_for_split_turn.clear()
            self.split_turn_first_commit = None
            if not instance.runtime_state.ended:
                self.ready[instance.id] = None  # it may hold arrivals, or still stand as blocked
        self.deliver_held()

    def roll_back(self) -> None:
        """Forget what the cycle was about to do; its commit is given up. Not while a turn is spread over commits."""
        self.applier.roll_back()
        self.instances.incomplete_turns.update(self.builder.completed_turns)
        self.scope.adopted.extendleft(reversed(self.builder.adopted))
        self._waiting_for_target.clear()
        self.entity_scheduler.roll_back()

    def deliver_held(self) -> None:
        """Deliver what a slice has sent, all of it held: the slice has had the cycle's share."""
        while self.applier.deliveries:
            id, execution, event = self.applier.deliveries.popleft()
            self._route_arrival(id, execution, event, hold=True)
        self.applier.delivery_count = 0
        self.applier.starting_children.clear()

    # ── children, and the end ──────────────────────────────────────────────────────────────────────────────────

    def restart_child(self, event: ev.SubOrchestrationInstanceCreated, origin: ev.Origin) -> None:
        """Start a sub-orchestration anew that its rewound parent waits for; it fails again where it can't begin."""
        try:
            self.applier.reserve_id_in_inbox(event.instance)
        except Conflict as error:
            failure = Failure("durablecli.errors.Conflict", str(error))
            self.applier.queue_delivery(
                origin.instance, origin.execution, ev.SubOrchestrationInstanceFailed(origin.n, failure)
            )
            return
        parent = self.instances.get(origin.instance)
        assert parent is not None
        self._start_child(self.applier.make_start(parent, origin.n, event), hold=False)

    def _start_child(self, event: ev.ExecutionStarted, hold: bool) -> None:
        if event.parent is not None and event.parent.instance in self.scope:
            self.scope.add(event.instance)
        if event.parent is None:  # an entity has started it, and taken its id already
            self.start(event, hold)
            return
        failure = self.applier.why_not_startable(event)
        if failure is not None:
            answer = ev.SubOrchestrationInstanceFailed(event.parent.n, failure)
            self.applier.queue_delivery(event.parent.instance, event.parent.execution, answer)
            return
        self.start(event, hold)

    def start(self, event: ev.ExecutionStarted, hold: bool = False) -> CachedInstance:
        """Begin an execution: of a new instance, or in the place of one that has ended."""
        instance = self.instances.get_cached(event.instance)
        if instance is None:
            instance = self.instances.add(event.instance)
        instance.reset(event.execution)
        later = event.start_at is not None and event.start_at > self.builder.at
        if later and event.start_at is not None:
            self.timers.set(event.start_at, event.instance, event.execution, None)
        self.run_or_hold(instance, event, hold or later)
        return instance

    # ── what an instance that was read from disk owes ──────────────────────────────────────────────────────────

    def restore(self, instance: CachedInstance, *, redeliver: bool = True) -> None:
        """Take up an instance that an earlier engine left, or that was rewound: its timers, turns and, with
        `redeliver`, its activities."""
        if instance.id not in self.scope:
            return
        ledger = instance.runtime_state
        for n, timer in pending.timers(ledger):
            back_off = timer.retry_of is not None
            self.timers.set(timer.fire_at, instance.id, ledger.execution, n, back_off=back_off)
        if (start_at := pending.scheduled_start_time(ledger)) is not None:
            self.timers.set(start_at, instance.id, ledger.execution, None)
        if self.registry is None or ledger.ended:
            return
        if ledger.blocked is not None or instance.incomplete or ledger.incomplete or ledger.next_held(self.builder.at):
            self.ready[instance.id] = None
        if redeliver and ledger.blocked is None and not self._block_if_activity_missing(instance):
            self.applier.schedule_activities(instance.id, ledger.execution, pending.activities(ledger))
