"""Writing the log of an entity anew: as a snapshot and what still waits, without the records that are lost.

The state of an entity is the last one recorded, so a lost record before it costs nothing but itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from durablecli.model import events as ev
from durablecli.model.codec import crc_seed, encode_record
from durablecli.replay.entity_state import EntityRuntimeState


def fold_with_gaps(records: Iterable[ev.Record]) -> EntityRuntimeState:
    """The ledger of a log of which some records are missing."""
    ledger = EntityRuntimeState()
    for record in records:
        if isinstance(record.event, ev.EntityBatch):
            _stand_in(ledger, record.event.upto, record)
        ledger.apply(record)
    return ledger


def _stand_in(ledger: EntityRuntimeState, n: int, batch: ev.Record) -> None:
    """Let something stand in line for a lost operation that a batch ends with: what came later isn't done by it."""
    line = ledger.runnable
    if any(record.n == n for record in line):
        return
    at = next((index for index, record in enumerate(line) if record.n > n), len(line))
    line.insert(at, ev.Record(n, batch.at, ev.EntityOperationReceived("")))


def with_lock(ledger: EntityRuntimeState, lock: ev.EntityLock) -> EntityRuntimeState:
    """The same, with the lock held by an orchestration that was granted it, as its history says.

    The records that say so here are lost. Whoever seems to hold the lock instead asks for it first.
    """
    asks = [] if ledger.lock is None else [ev.EntityLockReceived(ledger.lock.entities, ledger.lock.sender)]
    waiting = [record for record in ledger.pending_records() if not _asks(record.event, lock.sender)]
    ledger.lock = lock
    found = EntityRuntimeState()
    found.apply(ev.Record(0, ledger.updated, ledger.make_snapshot()))
    for event in asks:
        found.apply(ev.Record(0, ledger.updated, event))
    for record in waiting:
        found.apply(record)
    found.last_n = ledger.last_n
    return found


def _asks(event: ev.AnyEvent, sender: ev.Origin) -> bool:
    return isinstance(event, ev.EntityLockReceived) and event.sender == sender


def rewritten(
    ledger: EntityRuntimeState, last: int, drop: Callable[[ev.Record], bool] = lambda record: False
) -> list[bytes]:
    """The lines of a file that begins with a snapshot, after record `last`; what waits and isn't dropped follows."""
    start = crc_seed(ledger.id, ledger.execution)
    waiting = [record.event for record in ledger.pending_records() if not drop(record)]
    ledger.last_n = last
    events = [ledger.make_snapshot(), *waiting]
    if ledger.blocked is not None:
        events.append(ev.ExecutionBlocked(ledger.blocked))
    return [encode_record(ev.Record(n, ledger.updated, event), start) for n, event in enumerate(events, last + 1)]
