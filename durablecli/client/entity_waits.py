"""Explains the waits of an orchestration: who holds the lock of an entity, what is queued before the request, why the
entity is blocked, and whether an activity is running or queued."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec

from durablecli.client.entity_status import QueuedEntityRequest
from durablecli.client.running_work import ExecutorUsage, ReportedActivities, RunningEntityBatch
from durablecli.model import events as ev
from durablecli.model.events import Origin
from durablecli.model.status import PendingWait
from durablecli.replay.entity_state import EntityRuntimeState

_MAX_ENTITIES = 20
"""The number of entities that are read to explain waits for operations; an instance may wait for thousands."""

_EXPLAINED_KINDS = ("entity", "lock", "activity")


class EntityWait(PendingWait, frozen=True, omit_defaults=True, rename="camel"):
    """A wait for an entity, with what delays it.

    `holder` has held the lock since `held_since`; `holder_status` is suspended or blocked if that instance can't
    proceed. If no other instance holds the lock, `ahead` counts the requests queued before this one, `first` is the
    first of them, and the entity has been running operations since `running_since`. `blocked` is why it runs none.
    """

    held_since: datetime | None = None
    holder_status: str | None = msgspec.field(default=None, name="holderStands")
    ahead: int = 0
    first: QueuedEntityRequest | None = None
    running_since: datetime | None = None
    blocked: str | None = None


class ActivityWait(PendingWait, frozen=True, omit_defaults=True, rename="camel"):
    """A wait for an activity that is running or queued (`state`) since `state_since`, as the engine reports. If it is
    queued, `behind` is what occupies the executor."""

    state: str | None = None
    state_since: datetime | None = None
    behind: ExecutorUsage | None = None


class Lookups(NamedTuple):
    """The reads that an explanation needs: the state of an entity, whether an instance is suspended or blocked, the
    running operations of entities, and the activities that the engine reports."""

    entity: Callable[[str], EntityRuntimeState | None]
    instance: Callable[[str], str | None] = lambda instance: None
    running: Callable[[], Mapping[str, RunningEntityBatch]] = dict
    activities: Callable[[], ReportedActivities | None] = lambda: None


def explain_waits(
    waits: tuple[PendingWait, ...], instance: str, execution: str, lookups: Lookups
) -> tuple[PendingWait, ...]:
    """Return the same waits; those for entities and activities say what delays them."""
    if not any(one.kind in _EXPLAINED_KINDS for one in waits):
        return waits
    visited: set[str] = set()

    @cache
    def find_limited(entity: str) -> EntityRuntimeState | None:
        visited.add(entity)
        return lookups.entity(entity) if len(visited) <= _MAX_ENTITIES else None

    limited = lookups._replace(entity=find_limited)

    def explain(one: PendingWait) -> PendingWait:
        origin = Origin(instance, execution, one.id or 0)
        match one.kind:
            case "entity":
                return _explain_operation(one, origin, limited)
            case "lock":
                return _explain_lock(one, origin, lookups)
            case "activity":
                return _explain_activity(one, origin, lookups.activities())
            case _:
                return one

    return tuple(map(explain, waits))


def _explain_activity(wait: PendingWait, sender: Origin, activities: ReportedActivities | None) -> PendingWait:
    found = activities.find(sender.instance, sender.execution, sender.n) if activities is not None else None
    if activities is None or found is None:
        return wait
    work, runs = found
    behind = None if runs else activities.get_usage(work.executor)
    state = "running" if runs else "queued"
    return ActivityWait(**msgspec.structs.asdict(wait), state=state, state_since=work.since, behind=behind)


def _explain_operation(wait: PendingWait, sender: Origin, lookups: Lookups) -> PendingWait:
    state = lookups.entity(wait.entity) if wait.entity else None
    return wait if state is None else _explain_at_entity(wait, state, sender, lookups)


def _explain_lock(wait: PendingWait, sender: Origin, lookups: Lookups) -> PendingWait:
    """Locks are taken in the order of `entities`: the instance waits for the first that it doesn't hold."""

    def is_not_yet_held(entity: str) -> bool:
        state = lookups.entity(entity)
        return state is None or state.lock is None or state.lock.sender != sender

    at = bisect_left(wait.entities, True, key=is_not_yet_held)
    state = lookups.entity(wait.entities[at]) if at < len(wait.entities) else None
    if state is None:
        return wait
    return _explain_at_entity(msgspec.structs.replace(wait, entity=wait.entities[at]), state, sender, lookups)


def _explain_at_entity(wait: PendingWait, state: EntityRuntimeState, sender: Origin, lookups: Lookups) -> EntityWait:
    lock = state.lock
    found: dict[str, Any] = msgspec.structs.asdict(wait) | {"blocked": state.blocked}
    if lock is not None and (wait.kind == "lock" or not _is_same_execution(lock.sender, sender)):
        holder = lock.sender.instance
        found |= {"holder": holder, "held_since": lock.since, "holder_status": lookups.instance(holder)}
        return EntityWait(**found)
    in_line = list(state.in_line())
    ahead = list(takewhile(lambda record: not _is_from(record.event, sender), in_line))
    running = lookups.running().get(state.id)
    if len(ahead) < len(in_line):  # else the request hasn't arrived yet, or is already done
        found |= {"ahead": len(ahead), "first": QueuedEntityRequest.from_record(ahead[0]) if ahead else None}
    if running is not None and running.count_running(state):
        found["running_since"] = running.since
    return EntityWait(**found)


def _is_same_execution(holder: Origin, sender: Origin) -> bool:
    return (holder.instance, holder.execution) == (sender.instance, sender.execution)


def _is_from(event: ev.AnyEvent, sender: Origin) -> bool:
    return isinstance(event, ev.EntityOperationReceived | ev.EntityLockReceived) and event.sender == sender
