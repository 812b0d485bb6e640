"""Compaction: an entity's log is replaced by a snapshot, where that makes it much shorter."""

from __future__ import annotations

from durablecli.engine.commit_builder import MAX_COMMIT_BYTES
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.instance_cache import CachedEntity
from durablecli.engine.shared_parts import SharedParts
from durablecli.model import events as ev

_MIN_COMPACT_BYTES = 128 * 1024
_MIN_COMPACT_RATIO = 4
_RECORD_OVERHEAD = 200


class EntityCompactor:
    """Replaces long logs of entities by snapshots."""

    def __init__(self, shared: SharedParts, applier: DecisionApplier) -> None:
        self._cycle = shared.cycle
        self._timers = shared.timers
        self._applier = applier

    def compact_if_long(self, entity: CachedEntity) -> None:
        """Replace the log by a snapshot and the operations that wait, if that is much shorter."""
        state = entity.runtime_state
        if state.size < max(_MIN_COMPACT_BYTES, entity.compact_at):
            return
        if _MIN_COMPACT_RATIO * _RECORD_OVERHEAD * state.queued > state.size:
            return  # too much waits, which shows without measuring it
        waiting = list(state.pending_records())
        size = sum(map(_estimate_size, waiting))
        if size > MAX_COMMIT_BYTES // 2 or (size + memoryview(state.state).nbytes) * _MIN_COMPACT_RATIO > state.size:
            entity.compact_at = state.size + state.size // _MIN_COMPACT_RATIO
            return
        entity.compact_at = 0
        snapshot = state.make_snapshot()
        for n in state.scheduled:
            self._timers.cancel(entity.id, state.execution, n)
        at = max(self._cycle.builder.at, state.updated)
        entity.reset()
        self._cycle.builder.record(entity, ev.Record(snapshot.upto + 1, at, snapshot))
        for record in waiting:
            self._applier.record_event(entity, record.event)
        for n, due in entity.runtime_state.scheduled_times():
            self._timers.set(due, entity.id, entity.runtime_state.execution, n)


def _estimate_size(record: ev.Record) -> int:
    event = record.event
    size = memoryview(event.input).nbytes if isinstance(event, ev.EntityOperationReceived) else 0
    return size + _RECORD_OVERHEAD
