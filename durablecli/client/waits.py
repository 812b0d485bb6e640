"""Where an orchestration waits at entities: at which of them, who holds its lock since when, or why it is blocked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cache

import msgspec

from durablecli.model.events import Origin
from durablecli.model.status import Waiting
from durablecli.replay.entity import EntityLedger

_MOST = 20
"""So many entities are looked at: an instance that waits for thousands of operations is told about the first."""

Look = Callable[[str], EntityLedger | None]


class EntityWait(Waiting, frozen=True, omit_defaults=True, rename="camel"):
    """A wait with what its entity says: `holder` has the lock since `held_since`, `blocked` is why nothing runs."""

    held_since: datetime | None = None
    blocked: str | None = None


def told(waits: tuple[Waiting, ...], instance: str, execution: str, look: Look) -> tuple[Waiting, ...]:
    """The same waits; those for entities say what stands in their way. `look` gives the ledger of an entity."""
    if not any(one.kind in _ASKED for one in waits):
        return waits
    looked: set[str] = set()

    @cache
    def bounded(entity: str) -> EntityLedger | None:
        looked.add(entity)
        return look(entity) if len(looked) <= _MOST else None

    return tuple(
        _ASKED[one.kind](one, Origin(instance, execution, one.id or 0), bounded) if one.kind in _ASKED else one
        for one in waits
    )


def _operation(wait: Waiting, sender: Origin, look: Look) -> Waiting:
    ledger = look(wait.entity) if wait.entity else None
    if ledger is None or ledger.lock is None:
        return _at(wait, ledger, None)
    holder = ledger.lock.sender
    is_ours = (holder.instance, holder.execution) == (sender.instance, sender.execution)
    return _at(wait, ledger, None if is_ours else holder)


def _lock(wait: Waiting, sender: Origin, look: Look) -> Waiting:
    """The locks are taken in the order of `entities`: it waits at the first that it doesn't hold."""
    for entity in wait.entities:
        ledger = look(entity)
        if ledger is None:
            return wait
        holder = ledger.lock.sender if ledger.lock else None
        if holder != sender:
            return _at(msgspec.structs.replace(wait, entity=entity), ledger, holder)
    return wait


def _at(wait: Waiting, ledger: EntityLedger | None, holder: Origin | None) -> Waiting:
    since = ledger.lock.since if ledger and ledger.lock and holder else None
    return EntityWait(
        **msgspec.structs.asdict(wait) | {"holder": holder.instance if holder else None},
        held_since=since,
        blocked=ledger.blocked if ledger else None,
    )


_ASKED: dict[str, Callable[[Waiting, Origin, Look], Waiting]] = {"entity": _operation, "lock": _lock}
