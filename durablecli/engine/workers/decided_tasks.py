"""The work that a commit has decided on, before it is dispatched to a worker pool."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.trace_context import TraceContext

WorkKey = tuple[str, str, int]
"""The instance or entity, its execution, and the `n` of the decision or of the last operation."""


class ActivityTask(msgspec.Struct, frozen=True, gc=False):
    """One activity to run: the decision, and what the activity needs."""

    instance: str
    execution: str
    n: int
    task: ev.TaskScheduled
    redelivered: bool = False
    trace: TraceContext | None = None
    """The trace of the execution."""
    version: str | None = None
    """The version of the orchestration."""


class EntityOperation(NamedTuple):
    """One operation to run: record `n` of the entity's log. The result is recorded if a caller `waits` for it."""

    n: int
    name: str
    input: Raw
    waits: bool
    trace: TraceContext | None = None


class EntityBatchTask(NamedTuple):
    """Operations of one entity to run one after another, beginning with this state."""

    entity: str
    execution: str
    state: Raw
    operations: list[EntityOperation]
    at: datetime
