"""Entities in the cycle: what is sent to an entity is recorded, then run in batches off the engine's thread.

Invariant: the result of a batch (new state, results, signals) is one arrival, applied once however often the code ran.

Locks and deletions need no code. `replay/entity_state.py` grants a lock; the scheduler passes the request on to the
next entity, and sends the grant to the orchestration. A lock request passes from entity to entity in their order, and
so does the unlock: neither can overtake the other.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from durablecli.engine.child_starter import ChildStarter
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.entity_blocking import EntityBlocker
from durablecli.engine.entity_compaction import EntityCompactor
from durablecli.engine.instance_cache import CachedEntity
from durablecli.engine.schedule_notices import notify_of_refused_start
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.engine.timers import TimerEntry
from durablecli.engine.workers.decided_tasks import EntityBatchTask, EntityOperation
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext
from durablecli.replay.entity_state import EntityRuntimeState

_MAX_BATCH_OPERATIONS = 5_000


class EntityScheduler:
    """Records what is sent to entities, starts their batches, and applies the results."""

    def __init__(
        self, shared: SharedParts, applier: DecisionApplier, children: ChildStarter, split_turn: SplitTurn
    ) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._registry = shared.registry
        self._timers = shared.timers
        self._scope = shared.scope
        self._deduplicator = shared.deduplicator
        self._tracing = shared.options.tracing
        self._serves_workers = shared.options.remote_work is not None
        self._applier = applier
        self._children = children
        self._split_turn = split_turn
        self._default_version = shared.options.versions.current
        self._compactor = EntityCompactor(shared, applier)
        self._blocker = EntityBlocker(shared, applier)

    # ── arrivals ───────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, id: str, event: ev.EntityArrival) -> None:
        """Record what was sent to an entity. The first arrival creates the entity."""
        entity = self._instances.get_entity(id)
        if self._scope.root is not None:
            self._extend_scope(id, entity, event)
        if entity is None and self._instances.is_quarantined(id):
            self._applier.quarantine_arrival(id, None, event)
            if not isinstance(event, ev.EntityUnlockReceived):
                return  # an unlock passes on to the next entity, which may be locked too
        if isinstance(event, ev.EntityUnlockReceived):
            self._pass_unlock(id, entity, event)
            return
        if (
            isinstance(event, ev.EntityLockReceived)
            and entity is not None
            and entity.runtime_state.knows_request(event.sender)
        ):
            self._repeat_grant(entity, event)
            return
        if entity is None:
            execution = self._cycle.builder.execution
            entity = self._instances.add_entity(id, execution)
            self._applier.record_event(entity, ev.EntityStarted(id, execution))
        self._record(entity, event)
        self._advance(entity)

    def _extend_scope(self, id: str, entity: CachedEntity | None, event: ev.EntityArrival) -> None:
        """Drive an entity that a driven instance or entity sends something to."""
        scope, sender = self._scope, getattr(event, "sender", None)
        if not isinstance(sender, ev.Origin) or sender.instance not in scope:
            return
        if entity is None:
            scope.add(id)
        else:
            scope.adopt(id)

    def _repeat_grant(self, entity: CachedEntity, event: ev.EntityLockReceived) -> None:
        """Pass a granted lock request on again that was sent once more after a repair."""
        lock = entity.runtime_state.lock
        if lock is not None and lock.sender == event.sender:
            self._pass_lock_request(entity, lock)

    def _pass_unlock(self, id: str, entity: CachedEntity | None, event: ev.EntityUnlockReceived) -> None:
        if entity is not None and entity.runtime_state.knows_request(event.sender):
            self._record(entity, event)
            self._advance(entity)
        following = _next_entity(id, event.entities)
        if following is not None:
            self._cycle.send(following, None, event)

    def _record(self, entity: CachedEntity, event: ev.EntityArrival | ev.TimerFired | ev.EntityBatch) -> None:
        before = entity.runtime_state.lock
        self._applier.record_event(entity, event)
        state = entity.runtime_state
        if isinstance(event, ev.EntityOperationReceived) and event.scheduled_time is not None:
            self._schedule(entity, state.last_n, event.scheduled_time)
        if state.lock is not None and state.lock is not before:
            self._pass_lock_request(entity, state.lock)

    def _pass_lock_request(self, entity: CachedEntity, lock: ev.EntityLock) -> None:
        """Pass a granted lock request on to the next entity, or answer it after the last one."""
        sender = lock.sender
        following = _next_entity(entity.id, lock.entities)
        if entity.id in self._scope:
            self._scope.adopt(sender.instance)
        if not self._still_wants_lock(sender):
            self._cycle.send(entity.id, None, ev.EntityUnlockReceived(lock.entities, sender))
        elif following is not None:
            self._cycle.send(following, None, ev.EntityLockReceived(lock.entities, sender))
        else:
            self._cycle.send(sender.instance, sender.execution, ev.EntityLockGranted(sender.n))

    def _still_wants_lock(self, sender: ev.Origin) -> bool:
        """Whether an orchestration still requests or holds the locks of its decision `n`."""
        owner = self._instances.get(sender.instance)
        if owner is None and self._instances.is_quarantined(sender.instance):
            return True  # its history can't be read, and after a repair it may continue
        if owner is None or owner.runtime_state.execution != sender.execution:
            return False
        state = owner.runtime_state
        return sender.n in state.locks or isinstance(state.open_decisions.get(sender.n), ev.EntityLockRequested)

    # ── timers ────────────────────────────────────────────────────────────────────────────────────────────

    def fire_timer(self, entry: TimerEntry) -> None:
        """Queue a scheduled operation that is due; an entry without a decision means all of an entity."""
        entity = self._instances.get_entity(entry.instance)
        if entity is None:
            return
        if entry.n is None:
            self._schedule_all(entity)
        elif entry.execution == entity.runtime_state.execution and entry.n in entity.runtime_state.scheduled:
            self._record(entity, ev.TimerFired(entry.n))
            self._advance(entity)

    def _schedule_all(self, entity: CachedEntity) -> None:
        for n, at in sorted(entity.runtime_state.scheduled_times(), key=lambda each: (each[1], each[0])):
            self._schedule(entity, n, at)
        self._advance(entity)

    def _schedule(self, entity: CachedEntity, n: int, at: datetime) -> None:
        """Queue a scheduled operation that is due, unless this commit is full; else set its timer."""
        if at <= self._cycle.builder.at and not self._cycle.builder.is_full:
            self._record(entity, ev.TimerFired(n))
        else:
            self._timers.set(at, entity.id, entity.runtime_state.execution, n)

    def restore(self, id: str) -> None:
        """Continue an entity that an earlier engine left: its lock, its scheduled operations, and those to run."""
        entity = self._instances.get_entity(id)
        if entity is None:
            return
        lock = entity.runtime_state.lock
        if lock is not None and not self._still_wants_lock(lock.sender):  # a repair has truncated its history
            self._cycle.send(id, None, ev.EntityUnlockReceived(lock.entities, lock.sender))
        elif lock is not None and _next_entity(id, lock.entities) is None:  # the answer may have been lost
            sender = lock.sender
            self._cycle.send(sender.instance, sender.execution, ev.EntityLockGranted(sender.n))
        self._schedule_all(entity)

    # ── running ────────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, entity: CachedEntity) -> None:
        """Do what needs no code, and note whether there may be operations to run."""
        if entity.running_upto and entity.runtime_state.has_pending_forced_deletion:
            self._cycle.builder.abandoned_batches.append(
                (entity.id, entity.runtime_state.execution, entity.running_upto)
            )
            entity.running_upto = 0
        while not entity.running_upto and (runnable := entity.runtime_state.runnable):
            head = runnable[0]
            if isinstance(head.event, ev.EntityDeletionReceived):
                self._record(entity, ev.EntityBatch(head.n, deleted=entity.runtime_state.exists))
            elif not self._is_abandoned(entity.runtime_state):
                self._cycle.builder.runnable_entities[entity.id] = entity
                break
            elif not self._fail_queued(entity):
                break
        if not entity.running_upto:
            self._unblock_and_compact(entity)

    def _is_abandoned(self, state: EntityRuntimeState) -> bool:
        """Whether the operations before a deletion will never run."""
        return state.has_pending_forced_deletion or (state.blocked is not None and state.has_pending_deletion)

    def _fail_queued(self, entity: CachedEntity) -> bool:
        """Fail the operations before a deletion. False if one of their callers has a turn that is being split: an
        answer parked there could be lost in a crash."""
        operations = entity.runtime_state.next_operations(entity.runtime_state.queued)
        why = "the entity was deleted"
        if entity.runtime_state.blocked is not None:
            why = f"{entity.runtime_state.blocked}, and {why}"
        failure = Failure("durablecli.errors.NotFound", why)
        results = tuple(ev.EntityOperationResult(record.n, failure=failure) for record in operations)
        batch = ev.EntityBatch(operations[-1].n, results=results)
        if self._split_turn.is_active and any(
            self._split_turn.is_splitting(sender.instance) for sender, _ in _make_answers(entity.runtime_state, batch)
        ):
            self._split_turn.defer(entity)
            return False
        self._record_batch(entity, batch)
        return True

    def _unblock_and_compact(self, entity: CachedEntity) -> None:
        """Unblock an entity with no queued operation, and compact a long log."""
        state = entity.runtime_state
        if state.blocked is not None and not state.queued:
            self._applier.record_event(entity, ev.ExecutionUnblocked())
        self._compactor.compact_if_long(entity)

    def start_batches(self) -> None:
        """Start a batch for every entity that has operations to run: all those of this cycle together."""
        for entity in self._split_turn.pop_deferred():
            self._advance(entity)
        runnable, registry = self._cycle.builder.runnable_entities, self._registry
        if registry is None:
            return
        for entity in list(runnable.values()):
            state = entity.runtime_state
            if entity.id not in self._scope:
                continue
            if entity.running_upto or not (operations := state.next_operations(_MAX_BATCH_OPERATIONS)):
                continue
            name = parse_entity_name(entity.id)
            if not self._serves_workers and registry.find_entity(name) is None:
                self._blocker.block(entity, name)
                self._advance(entity)
                continue
            if state.blocked is not None:
                self._applier.record_event(entity, ev.ExecutionUnblocked())
            entity.running_upto = operations[-1].n
            wanted, at = [_to_operation(record) for record in operations], self._cycle.builder.at
            self._cycle.builder.entity_batch_tasks.append(
                EntityBatchTask(entity.id, state.execution, state.state, wanted, at)
            )
        runnable.clear()

    def retry_blocked(self) -> None:
        """Run the operations of blocked entities whose code is loaded by now."""
        for entity in self._blocker.take_blocked():
            self._cycle.handling = entity.id
            self._advance(entity)
        self._cycle.handling = None

    # ── results ───────────────────────────────────────────────────────────────────────────────────────────────

    def complete_batch(self, result: EntityBatchResult) -> None:
        """Record the result of a batch, and send its signals, starts and answers."""
        id, execution, last = result.key
        entity = self._instances.get_entity(id)
        if entity is None or entity.runtime_state.execution != execution or entity.running_upto != last:
            self._cycle.stats["dropped"] += 1
            return
        entity.running_upto = 0
        batch = result.event
        if batch.starts:
            batch = replace(batch, starts=tuple(map(self._check_start, batch.starts)))
        self._cycle.stats["batches"] += 1
        self._record_batch(entity, batch)
        self._advance(entity)

    def _record_batch(self, entity: CachedEntity, batch: ev.EntityBatch) -> None:
        answers = _make_answers(entity.runtime_state, batch)
        self._record(entity, batch)
        self._send_signals_and_starts(entity, batch)
        for sender, answer in answers:
            self._cycle.send(sender.instance, sender.execution, answer)

    def find_callers(self, result: EntityBatchResult) -> list[str]:
        """The instances that wait for the results of a batch."""
        entity = self._instances.get_entity(result.key[0])
        if entity is None or entity.runtime_state.execution != result.key[1]:
            return []
        return [sender.instance for sender, _ in _make_answers(entity.runtime_state, result.event)]

    def _send_signals_and_starts(self, entity: CachedEntity, batch: ev.EntityBatch) -> None:
        origin = ev.Origin(entity.id, entity.runtime_state.execution, entity.runtime_state.last_n)
        for signal in batch.signals:
            received = ev.EntityOperationReceived(
                signal.name, signal.input, origin, scheduled_time=signal.scheduled_time
            )
            if self._deduplicator and self._deduplicator.consume_operation(
                origin, signal.entity, signal.name, signal.input
            ):
                continue  # it was sent before a repair removed that batch
            self._cycle.send(signal.entity, None, received)
        for start in batch.starts:
            if start.undelivered:
                notify_of_refused_start(self._cycle, start.tags, start.instance)
            else:
                self._send_start(start)

    def _send_start(self, start: ev.EntityOperationStart) -> None:
        trace = self._tracing.make_root(start.name) if self._tracing is not None else None
        started = _make_started(start, self._cycle.builder.execution, self._default_version, trace)
        self._scope.add(start.instance)
        self._cycle.send(start.instance, None, started)

    def _check_start(self, start: ev.EntityOperationStart) -> ev.EntityOperationStart:
        """Reserve the id of a start. Returns the start to record: undelivered if the id is taken."""
        try:
            self._children.reserve_id(start.instance)
        except Conflict:
            return replace(start, undelivered=True)
        return start


def _make_started(
    start: ev.EntityOperationStart, execution: str, default_version: str | None, trace: TraceContext | None
) -> ev.ExecutionStarted:
    version = start.version if start.version is not None else default_version
    return ev.ExecutionStarted(
        start.instance, execution, start.name, start.input, version, start_at=start.start_at, tags=start.tags,
        trace=trace,
    )  # fmt: skip


def _next_entity(id: str, entities: tuple[str, ...]) -> str | None:
    following = entities.index(id) + 1
    return entities[following] if following < len(entities) else None


def _to_operation(record: ev.Record) -> EntityOperation:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    return EntityOperation(record.n, event.name, event.input, event.expects_reply, event.trace)


def _make_answers(
    state: EntityRuntimeState, batch: ev.EntityBatch
) -> list[tuple[ev.Origin, ev.EntityOperationCompleted | ev.EntityOperationFailed]]:
    """The answers to callers that wait for operations of this batch."""
    results = {each.n: each for each in batch.results}
    found: list[tuple[ev.Origin, ev.EntityOperationCompleted | ev.EntityOperationFailed]] = []
    for record in state.runnable if results else ():
        n, event = record.n, record.event
        if isinstance(event, ev.EntityOperationReceived) and event.expects_reply and event.sender is not None:
            result = results[n]
            if result.failure is not None:
                found.append((event.sender, ev.EntityOperationFailed(event.sender.n, result.failure)))
            else:
                found.append((event.sender, ev.EntityOperationCompleted(event.sender.n, result.result or ev.NULL)))
        if n == batch.upto:
            break
    return found
