"""Where an orchestration waits at entities: at which of them, who holds its lock since when, what stands before it, or
why it is blocked. And whether the activities that it waits for run or are queued."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec

from durablecli.client.entity_status import Queued
from durablecli.client.running_work import Activities, Running, Slots
from durablecli.model import events as ev
from durablecli.model.events import Origin
from durablecli.model.status import PendingWait
from durablecli.replay.entity_state import EntityRuntimeState

_MOST = 20
"""So many entities are looked at for the operations that an instance waits for; of thousands these are the first."""

_EXPLAINED = ("entity", "lock", "activity")


class EntityWait(PendingWait, frozen=True, omit_defaults=True, rename="camel"):
    """A wait with what its entity says.

    `holder` has the lock since `held_since`; `holder_stands` is suspended or blocked if that one can't go on. Where
    nobody else holds it, `ahead` counts what stands before that which is waited for, `first` is the first of these, and
    `running_since` tells since when the entity runs operations. `blocked` is why it runs none.
    """

    held_since: datetime | None = None
    holder_stands: str | None = None
    ahead: int = 0
    first: Queued | None = None
    running_since: datetime | None = None
    blocked: str | None = None


class ActivityWait(PendingWait, frozen=True, omit_defaults=True, rename="camel"):
    """A wait for an activity with what the engine says: its `state` is running or queued, since `state_since`. For a
    queued one, `behind` is what runs in its place."""

    state: str | None = None
    state_since: datetime | None = None
    behind: Slots | None = None


class Looks(NamedTuple):
    """How to look around: at an entity's ledger, at how an instance stands (suspended, blocked), at what runs for
    entities, at the activities of the engine."""

    entity: Callable[[str], EntityRuntimeState | None]
    instance: Callable[[str], str | None] = lambda instance: None
    running: Callable[[], Mapping[str, Running]] = dict
    activities: Callable[[], Activities | None] = lambda: None


def told(waits: tuple[PendingWait, ...], instance: str, execution: str, looks: Looks) -> tuple[PendingWait, ...]:
    """The same waits; those for entities and activities say what stands in their way."""
    if not any(one.kind in _EXPLAINED for one in waits):
        return waits
    looked: set[str] = set()

    @cache
    def bounded(entity: str) -> EntityRuntimeState | None:
        looked.add(entity)
        return looks.entity(entity) if len(looked) <= _MOST else None

    few = looks._replace(entity=bounded)

    def explained(one: PendingWait) -> PendingWait:
        origin = Origin(instance, execution, one.id or 0)
        match one.kind:
            case "entity":
                return _operation(one, origin, few)
            case "lock":
                return _lock(one, origin, looks)
            case "activity":
                return _activity(one, origin, looks.activities())
            case _:
                return one

    return tuple(map(explained, waits))


def _activity(wait: PendingWait, sender: Origin, activities: Activities | None) -> PendingWait:
    found = activities.find(sender.instance, sender.execution, sender.n) if activities is not None else None
    if activities is None or found is None:
        return wait
    work, runs = found
    behind = None if runs else activities.slots(work.executor)
    state = "running" if runs else "queued"
    return ActivityWait(**msgspec.structs.asdict(wait), state=state, state_since=work.since, behind=behind)


def _operation(wait: PendingWait, sender: Origin, looks: Looks) -> PendingWait:
    ledger = looks.entity(wait.entity) if wait.entity else None
    return wait if ledger is None else _at(wait, ledger, sender, looks)


def _lock(wait: PendingWait, sender: Origin, looks: Looks) -> PendingWait:
    """The locks are taken in the order of `entities`: it waits at the first that it doesn't hold."""

    def is_to_come(entity: str) -> bool:
        ledger = looks.entity(entity)
        return ledger is None or ledger.lock is None or ledger.lock.sender != sender

    at = bisect_left(wait.entities, True, key=is_to_come)
    ledger = looks.entity(wait.entities[at]) if at < len(wait.entities) else None
    if ledger is None:
        return wait
    return _at(msgspec.structs.replace(wait, entity=wait.entities[at]), ledger, sender, looks)


def _at(wait: PendingWait, ledger: EntityRuntimeState, sender: Origin, looks: Looks) -> EntityWait:
    lock = ledger.lock
    found: dict[str, Any] = msgspec.structs.asdict(wait) | {"blocked": ledger.blocked}
    if lock is not None and (wait.kind == "lock" or not _is_same(lock.sender, sender)):
        holder = lock.sender.instance
        found |= {"holder": holder, "held_since": lock.since, "holder_stands": looks.instance(holder)}
        return EntityWait(**found)
    standing = list(ledger.in_line())
    ahead = list(takewhile(lambda record: not _is_from(record.event, sender), standing))
    running = looks.running().get(ledger.id)
    if len(ahead) < len(standing):  # else it hasn't come yet, or is done already
        found |= {"ahead": len(ahead), "first": Queued.of(ahead[0]) if ahead else None}
    if running is not None and running.among(ledger):
        found["running_since"] = running.since
    return EntityWait(**found)


def _is_same(holder: Origin, sender: Origin) -> bool:
    return (holder.instance, holder.execution) == (sender.instance, sender.execution)


def _is_from(event: ev.AnyEvent, sender: Origin) -> bool:
    return isinstance(event, ev.EntityOperationReceived | ev.EntityLockReceived) and event.sender == sender
