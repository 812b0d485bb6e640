"""Entities in the cycle: what is sent to one is recorded, and then run as a batch off the engine's thread.

    The outcome of a batch is one arrival: new state, results, signals. It is applied once, however often the code ran.

Locks and deletions need no code and are turned here. A request for locks goes from entity to entity in their order, and
so does whatever gives them back: neither can overtake the other.
"""

from __future__ import annotations

import logging
from datetime import datetime

from msgspec.structs import replace

from durablecli.engine.commit_builder import MAX_COMMIT_BYTES, LogLine
from durablecli.engine.decisions import DecisionApplier
from durablecli.engine.instance_cache import CachedEntity
from durablecli.engine.timers import TimerEntry
from durablecli.engine.workers.decided_tasks import EntityBatchTask, EntityOperation
from durablecli.engine.workers.entity_batch import EntityBatchResult
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.failures import Failure
from durablecli.replay.entity_state import EntityRuntimeState

_MAX_BATCH_OPERATIONS = 5_000
_MIN_COMPACT_BYTES = 128 * 1024
_MIN_COMPACT_RATIO = 4
_RECORD_OVERHEAD = 200

_BLOCKED_MESSAGE = "%s is blocked: %s; known are: %s. It goes on when its code is loaded, or: durable entity delete %s"


class EntityScheduler:
    """Takes what is sent to entities, gives out batches, and applies what comes of them."""

    def __init__(self, applier: DecisionApplier, default_version: str | None = None) -> None:
        self._applier = applier
        self._default_version = default_version
        self._blocked_by_split_turn: dict[str, CachedEntity] = {}
        self._warned: set[str] = set()
        """The names of the entities whose code is known to be missing."""

    # ── arrivals ───────────────────────────────────────────────────────────────────────────────────────────────

    def receive(self, id: str, event: ev.EntityArrival) -> None:
        """Record what was sent to an entity; the first time, that begins it."""
        entity = self._applier.instances.get_entity(id)
        if self._applier.scope.root is not None:
            self._extend_scope(id, entity, event)
        if entity is None and self._applier.instances.is_quarantined(id):
            self._applier.quarantine_arrival(id, None, event)
            if not isinstance(event, ev.EntityUnlockReceived):
                return  # what gives locks back goes on to the next entity: it may hold one too
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
            execution = self._applier.builder.execution
            entity = self._applier.instances.add_entity(id, execution)
            self._applier.record_event(entity, ev.EntityStarted(id, execution))
        self._record(entity, event)
        self._advance(entity)

    def _extend_scope(self, id: str, entity: CachedEntity | None, event: ev.EntityArrival) -> None:
        """Drive an entity from now on that a driven instance, or entity, sends something to."""
        scope, sender = self._applier.scope, getattr(event, "sender", None)
        if not isinstance(sender, ev.Origin) or sender.instance not in scope:
            return
        if entity is None:
            scope.add(id)
        else:
            scope.adopt(id)

    def _repeat_grant(self, entity: CachedEntity, event: ev.EntityLockReceived) -> None:
        """A request that was received before came once more, after a repair: granted, it goes on to the next entity."""
        lock = entity.runtime_state.lock
        if lock is not None and lock.sender == event.sender:
            self._pass_lock_request(entity, lock)

    def _pass_unlock(self, id: str, entity: CachedEntity | None, event: ev.EntityUnlockReceived) -> None:
        if entity is not None and entity.runtime_state.knows_request(event.sender):
            self._record(entity, event)
            self._advance(entity)
        following = _next_entity(id, event.entities)
        if following is not None:
            self._applier.queue_delivery(following, None, event)

    def _record(self, entity: CachedEntity, event: ev.EntityArrival | ev.TimerFired | ev.EntityBatch) -> None:
        before = entity.runtime_state.lock
        self._applier.record_event(entity, event)
        ledger = entity.runtime_state
        if isinstance(event, ev.EntityOperationReceived) and event.scheduled_time is not None:
            self._schedule(entity, ledger.last_n, event.scheduled_time)
        if ledger.lock is not None and ledger.lock is not before:
            self._pass_lock_request(entity, ledger.lock)

    def _pass_lock_request(self, entity: CachedEntity, lock: ev.EntityLock) -> None:
        """The lock was granted: the request goes on to the next entity, and behind the last to who asked."""
        sender = lock.sender
        following = _next_entity(entity.id, lock.entities)
        if entity.id in self._applier.scope:
            self._applier.scope.adopt(sender.instance)
        if not self._still_wants_lock(sender):
            self._applier.queue_delivery(entity.id, None, ev.EntityUnlockReceived(lock.entities, sender))
        elif following is not None:
            self._applier.queue_delivery(following, None, ev.EntityLockReceived(lock.entities, sender))
        else:
            self._applier.queue_delivery(sender.instance, sender.execution, ev.EntityLockGranted(sender.n))

    def _still_wants_lock(self, sender: ev.Origin) -> bool:
        """Whether an orchestration still asks for, or holds, the locks of its decision `n`."""
        owner = self._applier.instances.get(sender.instance)
        if owner is None and self._applier.instances.is_quarantined(sender.instance):
            return True  # what its history says of it isn't known, and a repair may let it go on
        if owner is None or owner.runtime_state.execution != sender.execution:
            return False
        ledger = owner.runtime_state
        return sender.n in ledger.locks or isinstance(ledger.open_decisions.get(sender.n), ev.EntityLockRequested)

    # ── what is due ────────────────────────────────────────────────────────────────────────────────────────────

    def fire_timer(self, entry: TimerEntry) -> None:
        """An operation's time has come; or all that this entity has due is to be looked at."""
        entity = self._applier.instances.get_entity(entry.instance)
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
        """Let an operation whose time has come stand in line, unless this commit is full, or see that it will."""
        if at <= self._applier.builder.at and not self._applier.builder.is_full:
            self._record(entity, ev.TimerFired(n))
        else:
            self._applier.timers.set(at, entity.id, entity.runtime_state.execution, n)

    def restore(self, id: str) -> None:
        """Take up an entity that an earlier engine left: its due operations, and what it has to run."""
        entity = self._applier.instances.get_entity(id)
        if entity is None:
            return
        lock = entity.runtime_state.lock
        if lock is not None and not self._still_wants_lock(lock.sender):  # its history was cut by a repair
            self._applier.queue_delivery(id, None, ev.EntityUnlockReceived(lock.entities, lock.sender))
        elif lock is not None and _next_entity(id, lock.entities) is None:  # unless it has been told already
            sender = lock.sender
            self._applier.queue_delivery(sender.instance, sender.execution, ev.EntityLockGranted(sender.n))
        self._schedule_all(entity)

    def roll_back(self) -> None:
        """Forget which entities were to be looked at again; the commit is given up and they are read again."""
        self._blocked_by_split_turn.clear()

    # ── running ────────────────────────────────────────────────────────────────────────────────────────────────

    def _advance(self, entity: CachedEntity) -> None:
        """Do what needs no code, and note that there may be something to run."""
        if entity.running_upto and entity.runtime_state.has_pending_forced_deletion:
            self._applier.builder.abandoned_batches.append(
                (entity.id, entity.runtime_state.execution, entity.running_upto)
            )
            entity.running_upto = 0
        while not entity.running_upto and (line := entity.runtime_state.runnable):
            head = line[0]
            if isinstance(head.event, ev.EntityDeletionReceived):
                self._record(entity, ev.EntityBatch(head.n, deleted=entity.runtime_state.exists))
            elif not self._is_abandoned(entity.runtime_state):
                self._applier.builder.runnable_entities[entity.id] = entity
                break
            elif not self._fail_queued(entity):
                break
        if not entity.running_upto:
            self._unblock_and_compact(entity)

    def _is_abandoned(self, state: EntityRuntimeState) -> bool:
        """Whether what stands before a deletion will never be done."""
        return state.has_pending_forced_deletion or (state.blocked is not None and state.has_pending_deletion)

    def _fail_queued(self, entity: CachedEntity) -> bool:
        """Let the operations fail that stand before a deletion. False where one of their callers is just being spread
        over commits: the answer couldn't be recorded there, and could be lost."""
        operations = entity.runtime_state.next_operations(entity.runtime_state.queued)
        why = "the entity was deleted"
        if entity.runtime_state.blocked is not None:
            why = f"{entity.runtime_state.blocked}, and {why}"
        failure = Failure("durablecli.errors.NotFound", why)
        results = tuple(ev.EntityOperationResult(record.n, failure=failure) for record in operations)
        batch = ev.EntityBatch(operations[-1].n, results=results)
        busy = self._applier.split_turn_instance
        if busy is not None and any(
            sender.instance == busy for sender, _ in _make_answers(entity.runtime_state, batch)
        ):
            self._blocked_by_split_turn[entity.id] = entity
            return False
        self._record_batch(entity, batch)
        return True

    def _unblock_and_compact(self, entity: CachedEntity) -> None:
        """Nothing is blocked where nothing waits; and a long log begins anew."""
        ledger = entity.runtime_state
        if ledger.blocked is not None and not ledger.queued:
            self._applier.record_event(entity, ev.ExecutionUnblocked())
        if ledger.size >= max(_MIN_COMPACT_BYTES, entity.compact_at):
            self._compact(entity)

    def start_batches(self) -> None:
        """Give out a batch for every entity that has something to run: what the whole cycle brought it, together."""
        if self._blocked_by_split_turn and self._applier.split_turn_instance is None:
            deferred, self._blocked_by_split_turn = self._blocked_by_split_turn, {}
            for entity in deferred.values():
                self._advance(entity)
        moved, registry = self._applier.builder.runnable_entities, self._applier.registry
        if registry is None:
            return
        for entity in list(moved.values()):
            ledger = entity.runtime_state
            if entity.id not in self._applier.scope:
                continue
            if entity.running_upto or not (operations := ledger.next_operations(_MAX_BATCH_OPERATIONS)):
                continue
            name = parse_entity_name(entity.id)
            if registry.find_entity(name) is None:
                self._block(entity, name)
                self._advance(entity)
                continue
            if ledger.blocked is not None:
                self._applier.record_event(entity, ev.ExecutionUnblocked())
            entity.running_upto = operations[-1].n
            wanted, at = [_to_operation(record) for record in operations], self._applier.builder.at
            self._applier.builder.entity_batch_tasks.append(
                EntityBatchTask(entity.id, ledger.execution, ledger.state, wanted, at)
            )
        moved.clear()

    def _block(self, entity: CachedEntity, name: str) -> None:
        """Record, once, that the code is missing, and say so in each process. What is sent meanwhile is kept."""
        reason = f"entity '{name}' isn't loaded"
        is_new = entity.runtime_state.blocked != reason
        if is_new:
            self._applier.record_event(entity, ev.ExecutionBlocked(reason))
        if is_new or name not in self._warned:
            self._warned.add(name)
            told = (entity.id, reason, self._list_loaded(), entity.id)
            self._applier.builder.log_lines.append(LogLine(f"entity.{name}", logging.WARNING, _BLOCKED_MESSAGE, told))

    def _list_loaded(self) -> str:
        registry = self._applier.registry
        return ", ".join(one.name for one in registry or () if one.kind == "entity") or "none"

    # ── outcomes ───────────────────────────────────────────────────────────────────────────────────────────────

    def complete_batch(self, result: EntityBatchResult) -> None:
        """Apply what came of a batch: the state, what was sent, and the answers to those who wait."""
        id, execution, last = result.key
        entity = self._applier.instances.get_entity(id)
        if entity is None or entity.runtime_state.execution != execution or entity.running_upto != last:
            self._applier.stats["dropped"] += 1
            return
        entity.running_upto = 0
        batch = result.event
        if batch.starts:
            batch = replace(batch, starts=tuple(map(self._check_start, batch.starts)))
        self._applier.stats["batches"] += 1
        self._record_batch(entity, batch)
        self._advance(entity)

    def _record_batch(self, entity: CachedEntity, batch: ev.EntityBatch) -> None:
        answers = _make_answers(entity.runtime_state, batch)
        self._record(entity, batch)
        self._send_signals_and_starts(entity, batch)
        for sender, answer in answers:
            self._applier.queue_delivery(sender.instance, sender.execution, answer)

    def find_callers(self, result: EntityBatchResult) -> list[str]:
        """The instances that wait for what came of a batch."""
        entity = self._applier.instances.get_entity(result.key[0])
        if entity is None or entity.runtime_state.execution != result.key[1]:
            return []
        return [sender.instance for sender, _ in _make_answers(entity.runtime_state, result.event)]

    def _send_signals_and_starts(self, entity: CachedEntity, batch: ev.EntityBatch) -> None:
        effects = self._applier
        origin = ev.Origin(entity.id, entity.runtime_state.execution, entity.runtime_state.last_n)
        for signal in batch.signals:
            received = ev.EntityOperationReceived(
                signal.name, signal.input, origin, scheduled_time=signal.scheduled_time
            )
            if effects.deduplicator and effects.deduplicator.consume_operation(
                origin, signal.entity, signal.name, signal.input
            ):
                continue  # a repair has cut the batch off that had sent it
            effects.queue_delivery(signal.entity, None, received)
        for start in batch.starts:
            if not start.undelivered:
                version = start.version if start.version is not None else self._default_version
                execution = effects.builder.execution
                started = ev.ExecutionStarted(start.instance, execution, start.name, start.input, version)
                effects.scope.add(start.instance)
                effects.queue_delivery(start.instance, None, started)

    def _check_start(self, start: ev.EntityOperationStart) -> ev.EntityOperationStart:
        """The start as it is recorded: one whose id is taken is not carried out."""
        try:
            self._applier.reserve_id(start.instance)
        except Conflict:
            return replace(start, undelivered=True)
        return start

    # ── the file ───────────────────────────────────────────────────────────────────────────────────────────────

    def _compact(self, entity: CachedEntity) -> None:
        """Begin the file anew with a snapshot, where that makes it much shorter."""
        old = entity.runtime_state
        if _MIN_COMPACT_RATIO * _RECORD_OVERHEAD * old.queued > old.size:
            return  # too much waits: that is seen without looking at it
        waiting = list(old.pending_records())
        pending = sum(map(_estimate_size, waiting))
        if pending > MAX_COMMIT_BYTES // 2 or (pending + memoryview(old.state).nbytes) * _MIN_COMPACT_RATIO > old.size:
            entity.compact_at = old.size + old.size // _MIN_COMPACT_RATIO
            return
        entity.compact_at = 0
        effects, snapshot = self._applier, old.make_snapshot()
        for n in old.scheduled:
            effects.timers.cancel(entity.id, old.execution, n)
        at = max(effects.builder.at, old.updated)
        entity.reset()
        effects.builder.record(entity, ev.Record(snapshot.upto + 1, at, snapshot))
        for record in waiting:
            effects.record_event(entity, record.event)
        for n, due in entity.runtime_state.scheduled_times():
            effects.timers.set(due, entity.id, entity.runtime_state.execution, n)


def _next_entity(id: str, entities: tuple[str, ...]) -> str | None:
    following = entities.index(id) + 1
    return entities[following] if following < len(entities) else None


def _to_operation(record: ev.Record) -> EntityOperation:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    return EntityOperation(record.n, event.name, event.input, event.expects_reply)


def _make_answers(
    state: EntityRuntimeState, batch: ev.EntityBatch
) -> list[tuple[ev.Origin, ev.EntityOperationCompleted | ev.EntityOperationFailed]]:
    """What those are told who wait for operations of this batch."""
    results = {each.n: each for each in batch.results}
    found: list[tuple[ev.Origin, ev.EntityOperationCompleted | ev.EntityOperationFailed]] = []
    for n, _, event in state.runnable if results else ():
        if isinstance(event, ev.EntityOperationReceived) and event.expects_reply and event.sender is not None:
            result = results[n]
            if result.failure is not None:
                found.append((event.sender, ev.EntityOperationFailed(event.sender.n, result.failure)))
            else:
                found.append((event.sender, ev.EntityOperationCompleted(event.sender.n, result.result or ev.NULL)))
        if n == batch.upto:
            break
    return found


def _estimate_size(record: ev.Record) -> int:
    event = record.event
    size = memoryview(event.input).nbytes if isinstance(event, ev.EntityOperationReceived) else 0
    return size + _RECORD_OVERHEAD
