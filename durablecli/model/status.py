"""What people ask about an instance: its runtime status, what it waits for, and the row that lists show."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec


class OrchestrationRuntimeStatus(Enum):
    """The statuses of Durable Functions; value and name are the same word."""

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
    """One thing an instance waits for: kind is activity, event, timer, child, entity, lock, start or suspended.

    `id` is the `n` of the decision, `child` the instance id of a sub-orchestration, `attempts` counts from 1.
    `entity` is where it waits; a lock is asked for at all `entities` in turn, and `holder` is who has it meanwhile.
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
    """One instance in a list: derived from its history, kept in the index. Times are UTC; `next_due` too.

    `set_aside` says why the engine leaves it alone; then the rest is as much of it as could be read.

    A row may stand for an entity: then `status` is Exists or Empty, `locked_by` the instance that holds its lock, and
    `queued` counts what waits for it.
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
