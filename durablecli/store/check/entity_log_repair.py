"""Rewriting the log of an entity: a snapshot and the waiting operations, without the lost records.

The state of an entity is the last one recorded, so losing a record before it loses nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from durablecli.model import events as ev
from durablecli.model.codec import crc_seed, encode_record
from durablecli.replay.entity_state import EntityRuntimeState


def fold_with_gaps(records: Iterable[ev.Record]) -> EntityRuntimeState:
    """Fold a log that lacks some records into the state of the entity."""
    state = EntityRuntimeState()
    for record in records:
        if isinstance(record.event, ev.EntityBatch):
            _insert_placeholder(state, record.event.upto, record)
        state.apply(record)
    return state


def _insert_placeholder(state: EntityRuntimeState, n: int, batch: ev.Record) -> None:
    """Queue a placeholder for a lost operation that a batch ends with, lest the batch consume a later one."""
    queue = state.runnable
    if any(record.n == n for record in queue):
        return
    at = next((index for index, record in enumerate(queue) if record.n > n), len(queue))
    queue.insert(at, ev.Record(n, batch.at, ev.EntityOperationReceived("")))


def restore_lock(state: EntityRuntimeState, lock: ev.EntityLock) -> EntityRuntimeState:
    """Return the state with the lock held by an orchestration that was granted it according to its history.

    The log has lost the records of this grant. Any other apparent holder becomes the first in the queue of lock
    requests.
    """
    granted_first = [] if state.lock is None else [ev.EntityLockReceived(state.lock.entities, state.lock.sender)]
    waiting = [record for record in state.pending_records() if not _is_lock_request_of(record.event, lock.sender)]
    state.lock = lock
    found = EntityRuntimeState()
    found.apply(ev.Record(0, state.updated, state.make_snapshot()))
    for event in granted_first:
        found.apply(ev.Record(0, state.updated, event))
    for record in waiting:
        found.apply(record)
    found.last_n = state.last_n
    return found


def _is_lock_request_of(event: ev.AnyEvent, sender: ev.Origin) -> bool:
    return isinstance(event, ev.EntityLockReceived) and event.sender == sender


def encode_rewritten_log(
    state: EntityRuntimeState, last_n: int, is_dropped: Callable[[ev.Record], bool] = lambda record: False
) -> list[bytes]:
    """Encode a file's lines: a snapshot, after record `last_n`, and the waiting operations that aren't dropped."""
    start = crc_seed(state.id, state.execution)
    waiting = [record.event for record in state.pending_records() if not is_dropped(record)]
    state.last_n = last_n
    events = [state.make_snapshot(), *waiting]
    if state.blocked is not None:
        events.append(ev.ExecutionBlocked(state.blocked))
    return [encode_record(ev.Record(n, state.updated, event), start) for n, event in enumerate(events, last_n + 1)]
