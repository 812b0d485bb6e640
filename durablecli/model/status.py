"""The status of an instance: its runtime status, its pending waits, and its row in lists."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

from durablecli.model.failure_report import FailureCause
from durablecli.model.reported_heartbeat import ReportedHeartbeat
from durablecli.model.reported_progress import ReportedProgress


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

MAX_LISTED_WAITS = 20
"""Waits in a row of a list: of an instance with ten thousand open tasks the first say enough."""


class PendingWait(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """One wait of an instance: kind is activity, event, timer, retry, child, entity, lock, turn, start or suspended.

    `id` is the `n` of the decision, `child` the instance id of a sub-orchestration, `attempt` counts from 1. `entity`
    is the entity for which it waits; a lock is requested from all `entities` in turn, and `holder` has it now. `label`
    is the name that the orchestrator gave to the call, `progress` what a running activity has reported, and `heartbeat`
    its last sign of life.

    A `turn` is that of the orchestrator `name`, which has arrivals to apply.

    A retry waits until `fire_at` for `attempt`, the next one of the call `name`. In a status, `attempts` is how many
    attempts the policy of a call that has failed allows, and `last_error` its last failure: type and message.
    """

    kind: str
    id: int | None = None
    name: str | None = None
    since: datetime | None = None
    fire_at: datetime | None = None
    child: str | None = None
    attempt: int | None = None
    attempts: int | None = None
    last_error: str | None = None
    entity: str | None = None
    entities: tuple[str, ...] = ()
    holder: str | None = None
    label: str | None = None
    progress: ReportedProgress | None = None
    heartbeat: ReportedHeartbeat | None = None


class InstanceSummary(msgspec.Struct, frozen=True):
    """The row of one instance in lists, derived from its history and kept in the index. Times are UTC.

    `parent` is the instance that started it as a sub-orchestration; a root has none. `tags` are those it was started
    with. `set_aside` is the reason why the engine doesn't use it; then the other fields are what could be read.

    The row of an entity has the `status` Exists or Empty; `locked_by` is the instance that holds its lock, and `queued`
    the number of its pending operations and requests.

    `failure` is what a failed instance failed with; a long message is cut.
    """

    id: str
    name: str
    status: str
    execution: str
    parent: str | None
    version: str | None
    created: datetime
    updated: datetime
    records: int = 0
    bytes: int = 0
    next_due: datetime | None = None
    has_pending_work: bool = False
    waiting: tuple[PendingWait, ...] = ()
    blocked: str | None = None
    blocked_at: datetime | None = None
    locked_by: str | None = None
    queued: int = 0
    set_aside: str | None = None
    failure: FailureCause | None = None
    tags: dict[str, str] = {}
