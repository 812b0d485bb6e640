"""A turn too big for one commit: it is written over several commits, one slice each. There is one such turn at a time.

    Between its first slice and its last, nothing may be recorded in its instance but the rest of the turn.

Arrivals for the instance are parked meanwhile. A turn that would reach it is given up: its executor is dropped, which
costs no more than a replay, and its arrival is held. An entity whose answer would reach it is deferred.
"""

from __future__ import annotations

from collections import deque

from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.event_size import get_recipient
from durablecli.engine.instance_cache import CachedEntity, CachedInstance
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.remote_answers import ReportDone
from durablecli.engine.shared_parts import SharedParts
from durablecli.model import events as ev
from durablecli.replay.remote_work import TurnKey


class SplitTurn:
    """The turn that is being split, if there is one."""

    def __init__(self, shared: SharedParts, applier: DecisionApplier, ready: ReadyQueue) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._applier = applier
        self._ready = ready
        self._instance: CachedInstance | None = None
        self._records: deque[ev.Record] = deque()
        """The rest of the turn, still to be written."""
        self.first_commit: int | None = None
        """The commit with the first slice: the journal keeps it until the turn is complete."""
        self._has_slice_in_cycle = False
        self._remote_answer: tuple[TurnKey, ReportDone] | None = None
        """If a worker has decided the turn: which one it was, and what tells the worker that all of it is on disk."""
        self._parked: list[tuple[str, str | None, ev.Arrival | ev.EntityArrival]] = []
        self._waiting_instances: set[str] = set()
        self._deferred_entities: dict[str, CachedEntity] = {}

    @property
    def is_active(self) -> bool:
        return self._instance is not None

    @property
    def has_parked_arrivals(self) -> bool:
        return bool(self._parked)

    @property
    def prevents_rollback(self) -> bool:
        """Whether giving up the cycle would lose a part of this turn: earlier commits hold the other part."""
        return self._instance is not None or self._has_slice_in_cycle

    def is_splitting(self, id: str) -> bool:
        return self._instance is not None and self._instance.id == id

    def must_split(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Whether a turn is too big for this commit. A turn that sends to its own instance stays whole."""
        if self._cycle.builder.can_hold(records):
            return False
        return all(get_recipient(record.event) != instance.id for record in records)

    def conflicts_with(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Whether another turn reaches the instance of this one, or would have to be split as well."""
        if self._instance is None:
            return False
        id, parent = self._instance.id, instance.runtime_state.started.parent
        if isinstance(records[-1].event, ev.ExecutionCompleted) and parent is not None and parent.instance == id:
            return True
        return any(get_recipient(record.event) == id for record in records) or not self._cycle.builder.can_hold(records)

    # ── writing ────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, instance: CachedInstance, records: list[ev.Record]) -> None:
        """Begin to split a turn: write its first slice."""
        self._applier.record_and_carry_out(instance, records[0])  # an arrival is recorded with its origin, full or not
        self._instance, self._records = instance, deque(records[1:])
        self._instances.pin(instance)
        self.first_commit = self._cycle.builder.commit_number
        self._write_slice(instance)

    def begin_cycle(self) -> None:
        """Write the next slice, in every other cycle: a slice fills its commit."""
        if self._instance is not None and not self._has_slice_in_cycle:
            self._write_slice(self._instance)
        else:
            self._has_slice_in_cycle = False

    def _write_slice(self, instance: CachedInstance) -> None:
        """Write as much of the turn as this commit takes. What it sends is held, as the slice has used the cycle."""
        self._has_slice_in_cycle = True
        cycle, records = self._cycle, self._records
        while records and cycle.builder.has_room_for_slice(cycle.delivery_count):
            self._applier.record_and_carry_out(instance, records.popleft())
        cycle.builder.mark_continued(instance, bool(records))
        if not records:
            self._finish(instance)
        cycle.hold_deliveries()

    def _finish(self, instance: CachedInstance) -> None:
        self._applier.record_waits(instance)
        if self._remote_answer is not None:
            self._cycle.builder.settle_remote_turn(*self._remote_answer)
            self._remote_answer = None
        self._has_slice_in_cycle = self.first_commit != self._cycle.builder.commit_number
        self._instance = self.first_commit = None
        self._instances.unpin()
        parked, self._parked = self._parked, []
        self._cycle.send_parked(parked)
        self._waiting_instances.clear()
        if not instance.runtime_state.ended:
            self._ready.add(instance.id)  # it may hold arrivals, or be blocked no longer

    def settle_remote_turn(self, key: TurnKey, done: ReportDone) -> None:
        """Note that a worker has decided the turn, and tell it so once all of it is on disk."""
        self._remote_answer = (key, done)

    # ── what waits for its end ─────────────────────────────────────────────────────────────────────────────────

    def park(self, id: str, execution: str | None, event: ev.Arrival) -> None:
        """Keep an arrival for the instance until the turn is complete."""
        self._parked.append((id, execution, event))

    def make_wait(self, id: str) -> None:
        """Run no turn of this instance until the split turn, if there is one, is complete."""
        if self._instance is not None:
            self._waiting_instances.add(id)

    def must_wait(self, id: str) -> bool:
        """Whether no turn of this instance may run now."""
        return id in self._waiting_instances or self.is_splitting(id)

    def is_parent_of(self, instance: CachedInstance) -> bool:
        parent = instance.runtime_state.started.parent
        return parent is not None and self.is_splitting(parent.instance)

    def defer(self, entity: CachedEntity) -> None:
        """Keep an entity until the turn is complete; `pop_deferred` gives it back."""
        self._deferred_entities[entity.id] = entity

    def pop_deferred(self) -> list[CachedEntity]:
        """Take the deferred entities, once no turn is being split."""
        if not self._deferred_entities or self._instance is not None:
            return []
        deferred, self._deferred_entities = self._deferred_entities, {}
        return list(deferred.values())

    def roll_back(self) -> None:
        """Forget the deferred entities: the commit is given up, and they are read again."""
        self._deferred_entities.clear()
