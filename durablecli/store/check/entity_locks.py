"""Detection of stale entity locks: the holder must be a running orchestration that requested the lock."""

from __future__ import annotations

from collections.abc import Callable

from durablecli.model.events import EntityLock, EntityLockRequested
from durablecli.replay.entity_state import fold_entity_log
from durablecli.replay.runtime_state import fold_history
from durablecli.store.disk import Disk
from durablecli.store.history.file import History
from durablecli.store.recovery import readable_records


def held_lock(disk: Disk, root: str, log: History) -> EntityLock | None:
    """Return the lock that is currently held, according to the log of an entity."""
    return fold_entity_log(readable_records(disk, root, log.instance, log.execution, log.lines)).lock


def why_lock_is_stale(
    disk: Disk, root: str, lock: EntityLock, read_history: Callable[[str], History | None]
) -> str | None:
    """Return why a lock should not be held; None if it is valid. `read_history` returns the history of an instance."""
    sender = lock.sender
    history = read_history(sender.instance)
    if history is None or not history.lines:
        return "is gone"
    if history.execution != sender.execution:
        return "has begun another execution since"
    records = readable_records(disk, root, history.instance, history.execution, history.lines)
    state = fold_history(records, keep_turns=False)
    if state.ended:
        return "has ended"
    if not isinstance(state.locks.get(sender.n) or state.open_decisions.get(sender.n), EntityLockRequested):
        return "never asked for it, or gave it back"
    return None
