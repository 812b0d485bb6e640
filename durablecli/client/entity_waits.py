"""Explains the waits of an orchestration: who holds the lock of an entity, what is queued before the request, why the
entity is blocked, whether an activity is running or queued, and which worker has remote work."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import takewhile
from typing import Any, NamedTuple

import msgspec

from durablecli.client.entity_status import QueuedEntityRequest
from durablecli.client.remote_workers import RemoteWorkers, WorkerWait
from durablecli.client.running_work import ExecutorUsage, ReportedActivities, RunningEntityBatch
from durablecli.model import events as ev
from durablecli.model.entity_id import parse_entity_name
from durablecli.model.events import Origin
from durablecli.model.status import InstanceSummary, PendingWait
from durablecli.replay.entity_state import EntityRuntimeState
from durablecli.store.query import Page

_MAX_ENTITIES = 20
"""The number of entities that are read to explain waits for operations; an instance may wait for thousands."""

_EXPLAINED_KINDS = ("entity", "lock", "activity", "start", "turn")


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
    worker: WorkerWait | None = None


class ActivityWait(PendingWait, frozen=True, omit_defaults=True, rename="camel"):
    """A wait for an activity that is running or queued (`state`) since `state_since`, as the engine reports. If it is
    queued, `behind` is what occupies the executor, `ahead` counts the calls before it, and `limit` is how many run at
    once. If it waits for the rate of its function, `rate` is that, as `5 per 1 s`, `key` its key, and the next call may
    begin at `next_at`. A remote activity has a `worker`, or waits for one."""

    state: str | None = None
    state_since: datetime | None = None
    behind: ExecutorUsage | None = None
    worker: WorkerWait | None = None
    ahead: int = 0
    limit: int | None = None
    rate: str | None = None
    key: str | None = None
    next_at: datetime | None = None


class TurnWait(PendingWait, frozen=True, omit_defaults=True, rename="camel"):
    """A wait for the next turn of a remote orchestrator, which a worker runs."""

    worker: WorkerWait | None = None


class Lookups(NamedTuple):
    """The reads that an explanation needs: the state of an entity, whether an instance is suspended or blocked, the
    running operations of entities, the activities that the engine reports, and its workers."""

    entity: Callable[[str], EntityRuntimeState | None]
    instance: Callable[[str], str | None] = lambda instance: None
    running: Callable[[], Mapping[str, RunningEntityBatch]] = dict
    activities: Callable[[], ReportedActivities | None] = lambda: None
    workers: Callable[[], RemoteWorkers | None] = lambda: None


def explain_waits(
    waits: tuple[PendingWait, ...],
    instance: str,
    execution: str,
    lookups: Lookups,
    name: str | None = None,
    version: str | None = None,
) -> tuple[PendingWait, ...]:
    """Return the same waits of the orchestrator `name`; those for entities, calls and turns say what delays them.

    A turn that the engine runs itself isn't waited for: that only takes its next cycles.
    """
    if not any(one.kind in _EXPLAINED_KINDS for one in waits):
        return waits
    visited: set[str] = set()

    @cache
    def find_limited(entity: str) -> EntityRuntimeState | None:
        visited.add(entity)
        return lookups.entity(entity) if len(visited) <= _MAX_ENTITIES else None

    limited = lookups._replace(entity=find_limited)

    def explain(one: PendingWait) -> PendingWait | None:
        origin = Origin(instance, execution, one.id or 0)
        match one.kind:
            case "entity":
                return _explain_operation(one, origin, limited)
            case "lock":
                return _explain_lock(one, origin, lookups)
            case "activity":
                return _explain_activity(one, origin, lookups, version)
            case "start":
                is_due = one.fire_at is not None and one.fire_at <= datetime.now(UTC)
                return (is_due and _explain_turn(one, name, origin, lookups.workers(), version)) or one
            case "turn":
                return _explain_turn(one, name or one.name, origin, lookups.workers(), version)
            case _:
                return one

    return tuple(found for one in waits if (found := explain(one)) is not None)


def explain_rows(
    rows: Sequence[InstanceSummary], read_workers: Callable[[], RemoteWorkers | None]
) -> list[InstanceSummary]:
    """Return the same rows; their waits for turns say which worker runs them, and those of the engine are left out."""
    if not any(one.kind == "turn" for row in rows for one in row.waiting):
        return list(rows)
    workers = read_workers()

    def explain(row: InstanceSummary) -> InstanceSummary:
        found = (
            _explain_turn(one, row.name, Origin(row.id, row.execution, 0), workers, row.version)
            if one.kind == "turn"
            else one
            for one in row.waiting
        )
        return msgspec.structs.replace(row, waiting=tuple(one for one in found if one is not None))

    return [explain(row) for row in rows]


def explain_page(page: Page, read_workers: Callable[[], RemoteWorkers | None]) -> Page:
    """Return the same page, its rows explained."""
    return msgspec.structs.replace(page, rows=explain_rows(page.rows, read_workers))


def _explain_turn(
    wait: PendingWait, name: str | None, sender: Origin, workers: RemoteWorkers | None, version: str | None
) -> TurnWait | None:
    """Explain the wait for a turn, or for a start that is due; None if the engine itself runs the orchestrator."""
    if workers is None or not name or not workers.is_remote("orchestrator", name):
        return None
    worker = workers.explain_turn(sender.instance, sender.execution, name, version)
    return TurnWait("turn", name=name, since=wait.fire_at or wait.since, worker=worker)


def _explain_activity(wait: PendingWait, sender: Origin, lookups: Lookups, version: str | None) -> PendingWait:
    workers, activities = lookups.workers(), lookups.activities()
    if workers is not None and wait.name and workers.is_remote("activity", wait.name):
        worker = workers.explain_activity(sender.instance, sender.execution, sender.n, wait.name, version)
        state = "running" if worker.since is not None else "queued"
        return ActivityWait(
            **msgspec.structs.asdict(wait), state=state, state_since=worker.since or wait.since, worker=worker
        )
    found = activities.find(sender.instance, sender.execution, sender.n) if activities is not None else None
    if activities is None or found is None:
        return wait
    work, runs = found
    state = "running" if runs else "queued"
    known = msgspec.structs.asdict(wait) | {
        "progress": work.progress, "heartbeat": work.heartbeat, "state": state, "state_since": work.since,
    }  # fmt: skip
    if runs:
        return ActivityWait(**known)
    if work.key is None:
        behind, limit = activities.get_usage(work.executor), activities.get_capacity(work.executor)
        return ActivityWait(**known, behind=behind, ahead=work.ahead, limit=limit)
    found_limit = activities.find_limit(work)
    known |= {"ahead": work.ahead, "key": work.key or None}
    if found_limit is None:
        return ActivityWait(**known)
    if found_limit.rate is not None:
        return ActivityWait(**known, rate=found_limit.rate, next_at=found_limit.next_at)
    return ActivityWait(**known, limit=found_limit.max_concurrency)


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
    workers, name = lookups.workers(), parse_entity_name(state.id)
    if workers is not None and workers.is_remote("entity", name):
        found["worker"] = workers.explain_batch(state.id, state.execution, running.id if running else 0, name)
    return EntityWait(**found)


def _is_same_execution(holder: Origin, sender: Origin) -> bool:
    return (holder.instance, holder.execution) == (sender.instance, sender.execution)


def _is_from(event: ev.AnyEvent, sender: Origin) -> bool:
    return isinstance(event, ev.EntityOperationReceived | ev.EntityLockReceived) and event.sender == sender
