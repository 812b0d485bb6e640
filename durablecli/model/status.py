"""The status of an instance: its runtime status, its pending waits, and its row in lists."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec


class OrchestrationRuntimeStatus(Enum):
    """The statuses of Durable Functions; value and name are the same."""

    Running = "Running"
    Completed = "Completed"
    ContinuedAsNew = "ContinuedAsNew"
    Failed = "Failed"
    Canceled = "Canceled"
    Terminated = "Terminated"
    Pending = "Pending"
    Suspended = "Suspended"


ENDED_STATUSES = frozenset({"Completed", "Failed", "Terminated", "Canceled"})


class PendingWait(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One wait of an instance: kind is activity, event, timer, child, entity, lock, start or suspended.

    `id` is the `n` of the decision, `child` the instance id of a sub-orchestration, `attempt` counts from 1. `entity`
    is the entity for which it waits; a lock is requested from all `entities` in turn, and `holder` has it now.
    """

    kind: str
    id: int | None = None
    name: str | None = None
    since: datetime | None = None
    fire_at: datetime | None = None
    child: str | None = None
    attempt: int | None = None
    entity: str | None = None
    entities: tuple[str, ...] = ()
    holder: str | None = None


class InstanceSummary(msgspec.Struct, frozen=True):
    """The row of one instance in lists, derived from its history and kept in the index. Times are UTC.

    `set_aside` is the reason why the engine doesn't use it; then the other fields are what could be read.

    The row of an entity has the `status` Exists or Empty; `locked_by` is the instance that holds its lock, and `queued`
    the number of its pending operations and requests.
    """

    id: str
    name: str
    status: str
    execution: str
    parent: str | None
    version: str | None
    created: datetime
    updated: datetime
    records: int
    bytes: int
    next_due: datetime | None
    has_pending_work: bool
    waiting: tuple[PendingWait, ...]
    blocked: str | None
    blocked_at: datetime | None
    locked_by: str | None = None
    queued: int = 0
    set_aside: str | None = None
