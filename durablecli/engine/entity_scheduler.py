"""Entities in the cycle: what is sent to one is recorded, and then run as a batch off the engine's thread.

    The outcome of a batch is one arrival: new state, results, signals. It is applied once, however often the code ran.

Locks and deletions need no code and are turned here. A request for locks goes from entity to entity in their order, and
so does whatever gives them back: neither can overtake the other.
"""

from __future__ import annotations

import logging
from datetime import datetime

from msgspec.structs import replace

from durablecli.engine.commit_builder import MOST_BYTES, BatchJob, Spoken
from durablecli.engine.decisions import Effects
from durablecli.engine.instance_cache import Entity
from durablecli.engine.timers import Due
from durablecli.engine.workers.entity_batch import BatchOutcome, Operation
from durablecli.errors import Conflict
from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.failures import Failure
from durablecli.replay.entity_state import EntityRuntimeState

_MOST_OPERATIONS = 5_000
_COMPACT_AT = 128 * 1024
_COMPACT_BY = 4
_AROUND_INPUT = 200

_BLOCKED = "%s is blocked: %s; known are: %s. It goes on when its code is loaded, or: durable entity delete %s"


class Entities:
    """Takes what is sent to entities, gives out batches, and applies what comes of them."""

    def __init__(self, effects: Effects, default_version: str | None = None) -> None:
        self._effects = effects
        self._default_version = default_version
        self._deferred: dict[str, Entity] = {}
        self._told: set[str] = set()
        """The names of the entities whose code is known to be missing."""

    # ── arrivals ───────────────────────────────────────────────────────────────────────────────────────────────

    def arrive(self, id: str, event: ev.EntityArrival) -> None:
        """Record what was sent to an entity; the first time, that begins it."""
        entity = self._effects.instances.entity(id)
        if self._effects.scope.root is not None:
            self._need(id, entity, event)
        if entity is None and self._effects.instances.is_set_aside(id):
            self._effects.keep(id, None, event)
            if not isinstance(event, ev.EntityUnlockReceived):
                return  # what gives locks back goes on to the next entity: it may hold one too
        if isinstance(event, ev.EntityUnlockReceived):
            self._unlock(id, entity, event)
            return
        if (
            isinstance(event, ev.EntityLockReceived)
            and entity is not None
            and entity.ledger.knows_request(event.sender)
        ):
            self._ask_again(entity, event)
            return
        if entity is None:
            execution = self._effects.draft.execution
            entity = self._effects.instances.add_entity(id, execution)
            self._effects.add(entity, ev.EntityStarted(id, execution))
        self._record(entity, event)
        self._move(entity)

    def _need(self, id: str, entity: Entity | None, event: ev.EntityArrival) -> None:
        """Drive an entity from now on that a driven instance, or entity, sends something to."""
        scope, sender = self._effects.scope, getattr(event, "sender", None)
        if not isinstance(sender, ev.Origin) or sender.instance not in scope:
            return
        if entity is None:
            scope.add(id)
        else:
            scope.adopt(id)

    def _ask_again(self, entity: Entity, event: ev.EntityLockReceived) -> None:
        """A request that was received before came once more, after a repair: granted, it goes on to the next entity."""
        lock = entity.ledger.lock
        if lock is not None and lock.sender == event.sender:
            self._granted(entity, lock)

    def _unlock(self, id: str, entity: Entity | None, event: ev.EntityUnlockReceived) -> None:
        if entity is not None and entity.ledger.knows_request(event.sender):
            self._record(entity, event)
            self._move(entity)
        following = _after(id, event.entities)
        if following is not None:
            self._effects.deliver(following, None, event)

    def _record(self, entity: Entity, event: ev.EntityArrival | ev.TimerFired | ev.EntityBatch) -> None:
        before = entity.ledger.lock
        self._effects.add(entity, event)
        ledger = entity.ledger
        if isinstance(event, ev.EntityOperationReceived) and event.scheduled_time is not None:
            self._due_at(entity, ledger.last_n, event.scheduled_time)
        if ledger.lock is not None and ledger.lock is not before:
            self._granted(entity, ledger.lock)

    def _granted(self, entity: Entity, lock: ev.EntityLock) -> None:
        """The lock was granted: the request goes on to the next entity, and behind the last to who asked."""
        sender = lock.sender
        following = _after(entity.id, lock.entities)
        if entity.id in self._effects.scope:
            self._effects.scope.adopt(sender.instance)
        if not self._wants(sender):
            self._effects.deliver(entity.id, None, ev.EntityUnlockReceived(lock.entities, sender))
        elif following is not None:
            self._effects.deliver(following, None, ev.EntityLockReceived(lock.entities, sender))
        else:
            self._effects.deliver(sender.instance, sender.execution, ev.EntityLockGranted(sender.n))

    def _wants(self, sender: ev.Origin) -> bool:
        """Whether an orchestration still asks for, or holds, the locks of its decision `n`."""
        owner = self._effects.instances.get(sender.instance)
        if owner is None and self._effects.instances.is_set_aside(sender.instance):
            return True  # what its history says of it isn't known, and a repair may let it go on
        if owner is None or owner.ledger.execution != sender.execution:
            return False
        ledger = owner.ledger
        return sender.n in ledger.locks or isinstance(ledger.open_decisions.get(sender.n), ev.EntityLockRequested)

    # ── what is due ────────────────────────────────────────────────────────────────────────────────────────────

    def fire(self, due: Due) -> None:
        """An operation's time has come; or all that this entity has due is to be looked at."""
        entity = self._effects.instances.entity(due.instance)
        if entity is None:
            return
        if due.n is None:
            self._wake(entity)
        elif due.execution == entity.ledger.execution and due.n in entity.ledger.scheduled:
            self._record(entity, ev.TimerFired(due.n))
            self._move(entity)

    def _wake(self, entity: Entity) -> None:
        for n, at in sorted(entity.ledger.scheduled_times(), key=lambda each: (each[1], each[0])):
            self._due_at(entity, n, at)
        self._move(entity)

    def _due_at(self, entity: Entity, n: int, at: datetime) -> None:
        """Let an operation whose time has come stand in line, unless this commit is full, or see that it will."""
        if at <= self._effects.draft.at and not self._effects.draft.full:
            self._record(entity, ev.TimerFired(n))
        else:
            self._effects.timers.set(at, entity.id, entity.ledger.execution, n)

    def resume(self, id: str) -> None:
        """Take up an entity that an earlier engine left: its due operations, and what it has to run."""
        entity = self._effects.instances.entity(id)
        if entity is None:
            return
        lock = entity.ledger.lock
        if lock is not None and not self._wants(lock.sender):  # its history was cut by a repair
            self._effects.deliver(id, None, ev.EntityUnlockReceived(lock.entities, lock.sender))
        elif lock is not None and _after(id, lock.entities) is None:  # unless it has been told already
            sender = lock.sender
            self._effects.deliver(sender.instance, sender.execution, ev.EntityLockGranted(sender.n))
        self._wake(entity)

    def abandon(self) -> None:
        """Forget which entities were to be looked at again; the commit is given up and they are read again."""
        self._deferred.clear()

    # ── running ────────────────────────────────────────────────────────────────────────────────────────────────

    def _move(self, entity: Entity) -> None:
        """Do what needs no code, and note that there may be something to run."""
        if entity.running and entity.ledger.has_pending_forced_deletion:
            self._effects.draft.dropped.append((entity.id, entity.ledger.execution, entity.running))
            entity.running = 0
        while not entity.running and (line := entity.ledger.runnable):
            head = line[0]
            if isinstance(head.event, ev.EntityDeletionReceived):
                self._record(entity, ev.EntityBatch(head.n, deleted=entity.ledger.exists))
            elif not self._is_given_up(entity.ledger):
                self._effects.draft.moved[entity.id] = entity
                break
            elif not self._give_up(entity):
                break
        if not entity.running:
            self._tidy(entity)

    def _is_given_up(self, ledger: EntityRuntimeState) -> bool:
        """Whether what stands before a deletion will never be done."""
        return ledger.has_pending_forced_deletion or (ledger.blocked is not None and ledger.has_pending_deletion)

    def _give_up(self, entity: Entity) -> bool:
        """Let the operations fail that stand before a deletion. False where one of their callers is just being spread
        over commits: the answer couldn't be recorded there, and could be lost."""
        operations = entity.ledger.next_operations(entity.ledger.queued)
        why = "the entity was deleted"
        if entity.ledger.blocked is not None:
            why = f"{entity.ledger.blocked}, and {why}"
        failure = Failure("durablecli.errors.NotFound", why)
        results = tuple(ev.EntityOperationResult(record.n, failure=failure) for record in operations)
        batch = ev.EntityBatch(operations[-1].n, results=results)
        busy = self._effects.busy
        if busy is not None and any(sender.instance == busy for sender, _ in _answers(entity.ledger, batch)):
            self._deferred[entity.id] = entity
            return False
        self._apply(entity, batch)
        return True

    def _tidy(self, entity: Entity) -> None:
        """Nothing is blocked where nothing waits; and a long log begins anew."""
        ledger = entity.ledger
        if ledger.blocked is not None and not ledger.queued:
            self._effects.add(entity, ev.ExecutionUnblocked())
        if ledger.size >= max(_COMPACT_AT, entity.compact_at):
            self._compact(entity)

    def start(self) -> None:
        """Give out a batch for every entity that has something to run: what the whole cycle brought it, together."""
        if self._deferred and self._effects.busy is None:
            deferred, self._deferred = self._deferred, {}
            for entity in deferred.values():
                self._move(entity)
        moved, registry = self._effects.draft.moved, self._effects.registry
        if registry is None:
            return
        for entity in list(moved.values()):
            ledger = entity.ledger
            if entity.id not in self._effects.scope:
                continue
            if entity.running or not (operations := ledger.next_operations(_MOST_OPERATIONS)):
                continue
            name = parse_entity_name(entity.id)
            if registry.find_entity(name) is None:
                self._block(entity, name)
                self._move(entity)
                continue
            if ledger.blocked is not None:
                self._effects.add(entity, ev.ExecutionUnblocked())
            entity.running = operations[-1].n
            wanted, at = [_operation(record) for record in operations], self._effects.draft.at
            self._effects.draft.batches.append(BatchJob(entity.id, ledger.execution, ledger.state, wanted, at))
        moved.clear()

    def _block(self, entity: Entity, name: str) -> None:
        """Record, once, that the code is missing, and say so in each process. What is sent meanwhile is kept."""
        reason = f"entity '{name}' isn't loaded"
        is_new = entity.ledger.blocked != reason
        if is_new:
            self._effects.add(entity, ev.ExecutionBlocked(reason))
        if is_new or name not in self._told:
            self._told.add(name)
            told = (entity.id, reason, self._known(), entity.id)
            self._effects.draft.spoken.append(Spoken(f"entity.{name}", logging.WARNING, _BLOCKED, told))

    def _known(self) -> str:
        registry = self._effects.registry
        return ", ".join(one.name for one in registry or () if one.kind == "entity") or "none"

    # ── outcomes ───────────────────────────────────────────────────────────────────────────────────────────────

    def done(self, outcome: BatchOutcome) -> None:
        """Apply what came of a batch: the state, what was sent, and the answers to those who wait."""
        id, execution, last = outcome.key
        entity = self._effects.instances.entity(id)
        if entity is None or entity.ledger.execution != execution or entity.running != last:
            self._effects.stats["dropped"] += 1
            return
        entity.running = 0
        batch = outcome.event
        if batch.starts:
            batch = replace(batch, starts=tuple(map(self._checked, batch.starts)))
        self._effects.stats["batches"] += 1
        self._apply(entity, batch)
        self._move(entity)

    def _apply(self, entity: Entity, batch: ev.EntityBatch) -> None:
        answers = _answers(entity.ledger, batch)
        self._record(entity, batch)
        self._send(entity, batch)
        for sender, answer in answers:
            self._effects.deliver(sender.instance, sender.execution, answer)

    def callers(self, outcome: BatchOutcome) -> list[str]:
        """The instances that wait for what came of a batch."""
        entity = self._effects.instances.entity(outcome.key[0])
        if entity is None or entity.ledger.execution != outcome.key[1]:
            return []
        return [sender.instance for sender, _ in _answers(entity.ledger, outcome.event)]

    def _send(self, entity: Entity, batch: ev.EntityBatch) -> None:
        effects = self._effects
        origin = ev.Origin(entity.id, entity.ledger.execution, entity.ledger.last_n)
        for signal in batch.signals:
            received = ev.EntityOperationReceived(
                signal.name, signal.input, origin, scheduled_time=signal.scheduled_time
            )
            if effects.applied and effects.applied.take(origin, signal.entity, signal.name, signal.input):
                continue  # a repair has cut the batch off that had sent it
            effects.deliver(signal.entity, None, received)
        for start in batch.starts:
            if not start.undelivered:
                version = start.version if start.version is not None else self._default_version
                execution = effects.draft.execution
                started = ev.ExecutionStarted(start.instance, execution, start.name, start.input, version)
                effects.scope.add(start.instance)
                effects.deliver(start.instance, None, started)

    def _checked(self, start: ev.EntityOperationStart) -> ev.EntityOperationStart:
        """The start as it is recorded: one whose id is taken is not carried out."""
        try:
            self._effects.claim(start.instance)
        except Conflict:
            return replace(start, undelivered=True)
        return start

    # ── the file ───────────────────────────────────────────────────────────────────────────────────────────────

    def _compact(self, entity: Entity) -> None:
        """Begin the file anew with a snapshot, where that makes it much shorter."""
        old = entity.ledger
        if _COMPACT_BY * _AROUND_INPUT * old.queued > old.size:
            return  # too much waits: that is seen without looking at it
        waiting = list(old.pending_records())
        pending = sum(map(_weight, waiting))
        if pending > MOST_BYTES // 2 or (pending + memoryview(old.state).nbytes) * _COMPACT_BY > old.size:
            entity.compact_at = old.size + old.size // _COMPACT_BY
            return
        entity.compact_at = 0
        effects, snapshot = self._effects, old.make_snapshot()
        for n in old.scheduled:
            effects.timers.drop(entity.id, old.execution, n)
        at = max(effects.draft.at, old.updated)
        entity.begin_file()
        effects.draft.add(entity, ev.Record(snapshot.upto + 1, at, snapshot))
        for record in waiting:
            effects.add(entity, record.event)
        for n, due in entity.ledger.scheduled_times():
            effects.timers.set(due, entity.id, entity.ledger.execution, n)


def _after(id: str, entities: tuple[str, ...]) -> str | None:
    following = entities.index(id) + 1
    return entities[following] if following < len(entities) else None


def _operation(record: ev.Record) -> Operation:
    event = record.event
    assert isinstance(event, ev.EntityOperationReceived)
    return Operation(record.n, event.name, event.input, event.expects_reply)


def _answers(
    ledger: EntityRuntimeState, batch: ev.EntityBatch
) -> list[tuple[ev.Origin, ev.EntityOperationCompleted | ev.EntityOperationFailed]]:
    """What those are told who wait for operations of this batch."""
    results = {each.n: each for each in batch.results}
    found: list[tuple[ev.Origin, ev.EntityOperationCompleted | ev.EntityOperationFailed]] = []
    for n, _, event in ledger.runnable if results else ():
        if isinstance(event, ev.EntityOperationReceived) and event.expects_reply and event.sender is not None:
            result = results[n]
            if result.failure is not None:
                found.append((event.sender, ev.EntityOperationFailed(event.sender.n, result.failure)))
            else:
                found.append((event.sender, ev.EntityOperationCompleted(event.sender.n, result.result or ev.NULL)))
        if n == batch.upto:
            break
    return found


def _weight(record: ev.Record) -> int:
    event = record.event
    size = memoryview(event.input).nbytes if isinstance(event, ev.EntityOperationReceived) else 0
    return size + _AROUND_INPUT
