"""The events of a history: arrivals come from outside the orchestrator, decisions from its function.

The log of an entity is a history too: `entity_events` has its kinds, which are also found here.

Kinds have the names of the Durable Task history where one exists. A record is an event in its envelope: `n` counts the
records of one execution from 1 without gaps, `at` is when it was recorded (UTC). The outcome of a decision names the
decision's `n`. Fields with their default value are left out of the line.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw

from durablecli.model.binding_output import BindingOutput
from durablecli.model.entity_events import (
    EntityBatch,
    EntityDeletionReceived,
    EntityLock,
    EntityLockReceived,
    EntityOperationFailure,
    EntityOperationReceived,
    EntityOperationResult,
    EntityOperationSignal,
    EntityOperationStart,
    EntitySnapshot,
    EntityStarted,
    EntityUnlockReceived,
)
from durablecli.model.event_base import ABSENT, NULL, Event, Origin
from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext

__all__ = [
    "ABSENT",
    "NULL",
    "AnyEvent",
    "Arrival",
    "ContinueAsNew",
    "ControlEvent",
    "CustomStatusSet",
    "Decision",
    "EntityArrival",
    "EntityBatch",
    "EntityDeletionReceived",
    "EntityEvent",
    "EntityLock",
    "EntityLockGranted",
    "EntityLockReceived",
    "EntityLockRequested",
    "EntityOperationCalled",
    "EntityOperationCompleted",
    "EntityOperationFailed",
    "EntityOperationFailure",
    "EntityOperationReceived",
    "EntityOperationResult",
    "EntityOperationSignal",
    "EntityOperationSignaled",
    "EntityOperationStart",
    "EntitySnapshot",
    "EntityStarted",
    "EntityUnlockReceived",
    "EntityUnlockSent",
    "Event",
    "EventAwaited",
    "EventRaised",
    "EventSent",
    "EventWaitsChanged",
    "ExecutionBlocked",
    "ExecutionCompleted",
    "ExecutionResumed",
    "ExecutionRewound",
    "ExecutionStarted",
    "ExecutionSuspended",
    "ExecutionTerminated",
    "ExecutionUnblocked",
    "OrchestratorStarted",
    "Origin",
    "Record",
    "SubOrchestrationInstanceCompleted",
    "SubOrchestrationInstanceCreated",
    "SubOrchestrationInstanceFailed",
    "TaskCanceled",
    "TaskCompleted",
    "TaskFailed",
    "TaskScheduled",
    "TimerCanceled",
    "TimerCreated",
    "TimerFired",
]

# ── arrivals, from outside: `held` marks one that is recorded and not yet applied ────────────────────────────────────


class ExecutionStarted(Event, frozen=True):
    instance: str
    execution: str
    name: str
    input: Raw = NULL
    version: str | None = None
    parent: Origin | None = None
    start_at: datetime | None = None
    custom_status: Raw = ABSENT
    message: str | None = None
    held: bool = False
    depth: int = 0
    """The number of ancestors of a sub-orchestration."""
    tags: dict[str, str] = {}
    trace: TraceContext | None = None
    """The parent of the execution's span, if the execution is traced."""
    forked_from: Origin | None = None
    """The instance, the execution and the record before which this one was forked from it."""


class TaskCompleted(Event, frozen=True):
    task: int
    result: Raw = NULL
    held: bool = False
    outputs: tuple[BindingOutput, ...] = ()


class TaskFailed(Event, frozen=True):
    task: int
    failure: Failure
    held: bool = False


class TimerFired(Event, frozen=True):
    timer: int
    held: bool = False


class EventRaised(Event, frozen=True):
    name: str
    input: Raw = NULL
    message: str | None = None
    sender: Origin | None = msgspec.field(name="from", default=None)
    held: bool = False


class SubOrchestrationInstanceCompleted(Event, frozen=True):
    task: int
    result: Raw = NULL
    held: bool = False


class SubOrchestrationInstanceFailed(Event, frozen=True):
    task: int
    failure: Failure
    held: bool = False


class EntityOperationCompleted(Event, frozen=True):
    task: int
    result: Raw = NULL
    held: bool = False


class EntityOperationFailed(Event, frozen=True):
    task: int
    failure: Failure
    held: bool = False


class EntityLockGranted(Event, frozen=True):
    """All locks of a request are held."""

    task: int
    held: bool = False


class ExecutionSuspended(Event, frozen=True):
    reason: str = ""
    message: str | None = None


class ExecutionResumed(Event, frozen=True):
    reason: str = ""
    message: str | None = None


class ExecutionTerminated(Event, frozen=True):
    """`output` is the output of the execution; without one it is the reason."""

    reason: str = ""
    message: str | None = None
    output: Raw = ABSENT


class ExecutionRewound(Event, frozen=True):
    """From here on `forgotten` outcomes and `void` decisions (with their outcomes) no longer count.

    The turns from arrival `start` on are repeated, keeping their other decisions. With `resets_timeouts` the retry
    timeouts of all open calls count from here.
    """

    start: int = msgspec.field(name="from")
    reason: str = ""
    forgotten: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    message: str | None = None
    resets_timeouts: bool = False


# ── control events: neither arrivals nor decisions ───────────────────────────────────────────────────────────────────


class OrchestratorStarted(Event, frozen=True):
    """Applies the held arrival `upto`, and every held one before it, at this record's `at`.

    `time` is the current time that remote code was given for the turn.
    """

    upto: int
    time: datetime | None = None


class EventWaitsChanged(Event, frozen=True):
    """The active event waits after the turn before: number and name of each. All others are inactive.

    `unread` counts the events of each name, in lower case, that no wait has taken.
    """

    waits: tuple[tuple[int, str], ...] = ()
    unread: dict[str, int] = {}


class ExecutionBlocked(Event, frozen=True):
    reason: str


class ExecutionUnblocked(Event, frozen=True):
    reason: str = ""


# ── decisions, from the orchestrator function ────────────────────────────────────────────────────────────────────────
#
# Remote code gives its decisions an `id` of its own, which may repeat, and requests to entities a `request`.


class TaskScheduled(Event, frozen=True):
    name: str
    input: Raw = NULL
    attempt: int = 1
    retry_of: int | None = None
    label: str | None = None  # the name that the orchestrator gave to the call, for people
    id: int | None = None
    version: str | None = None
    tags: dict[str, str] = {}
    timeout: float | None = None  # seconds, if the call sets one; else the activity's own counts
    heartbeat_timeout: float | None = None
    priority: int = 0


class TaskCanceled(Event, frozen=True):
    """Cancels a call to an activity or a sub-orchestration: its outcome doesn't count any more."""

    task: int


class TimerCreated(Event, frozen=True):
    fire_at: datetime
    retry_of: int | None = None
    attempts: int | None = None  # how many attempts the policy of a call that is retried allows
    id: int | None = None


class TimerCanceled(Event, frozen=True):
    timer: int


class EventAwaited(Event, frozen=True):
    name: str


class EventSent(Event, frozen=True):
    instance: str
    name: str
    input: Raw = NULL
    undelivered: bool = False
    id: int | None = None


class SubOrchestrationInstanceCreated(Event, frozen=True):
    """`explicit` says that the orchestrator chose the instance id, which others may have chosen too."""

    name: str
    instance: str
    input: Raw = NULL
    version: str | None = None
    attempt: int = 1
    retry_of: int | None = None
    explicit: bool = False
    label: str | None = None
    id: int | None = None
    tags: dict[str, str] = {}


class EntityOperationCalled(Event, frozen=True):
    """An operation whose outcome the orchestrator waits for. `entity` is an id such as `@counter@a`.

    It runs at `scheduled_time` if there is one.
    """

    entity: str
    name: str
    input: Raw = NULL
    id: int | None = None
    request: str | None = None
    scheduled_time: datetime | None = None


class EntityOperationSignaled(Event, frozen=True):
    """An operation without an outcome. It runs at `scheduled_time` if there is one."""

    entity: str
    name: str
    input: Raw = NULL
    scheduled_time: datetime | None = None
    id: int | None = None
    request: str | None = None


class EntityLockRequested(Event, frozen=True):
    """Begins a critical section; `entities` are in the order in which they are locked."""

    entities: tuple[str, ...]
    id: int | None = None
    request: str | None = None


class EntityUnlockSent(Event, frozen=True):
    """Ends the critical section that `lock` requested, or cancels the request.

    Remote code ends it for each `entity` by itself; the first of these ends it for all.
    """

    lock: int
    id: int | None = None
    request: str | None = None
    entity: str | None = None


class CustomStatusSet(Event, frozen=True):
    status: Raw


class ContinueAsNew(Event, frozen=True):
    """Begins the next execution, of `version` if that is given."""

    input: Raw = NULL
    save_events: bool = True
    version: str | None = None


class ExecutionCompleted(Event, frozen=True):
    """`status` is Completed, Failed or Terminated; `causes` names the outcomes that ended a failed one.

    `rewind_from` is the first arrival whose turn a rewind repeats, if that isn't the first of the causes: an event may
    have been unread for long. `failure_has_name_prefix` says that the text of the failure begins with the
    orchestrator's name, as in Azure apps.
    """

    status: str
    result: Raw = ABSENT
    failure: Failure | None = None
    causes: tuple[int, ...] = ()
    rewind_from: int = 0
    failure_has_name_prefix: bool = msgspec.field(default=False, name="named")


Arrival = (
    ExecutionStarted
    | TaskCompleted
    | TaskFailed
    | TimerFired
    | EventRaised
    | SubOrchestrationInstanceCompleted
    | SubOrchestrationInstanceFailed
    | EntityOperationCompleted
    | EntityOperationFailed
    | EntityLockGranted
    | ExecutionSuspended
    | ExecutionResumed
    | ExecutionTerminated
    | ExecutionRewound
)
ControlEvent = OrchestratorStarted | EventWaitsChanged | ExecutionBlocked | ExecutionUnblocked
Decision = (
    TaskScheduled
    | TaskCanceled
    | TimerCreated
    | TimerCanceled
    | EventAwaited
    | EventSent
    | SubOrchestrationInstanceCreated
    | EntityOperationCalled
    | EntityOperationSignaled
    | EntityLockRequested
    | EntityUnlockSent
    | CustomStatusSet
    | ContinueAsNew
    | ExecutionCompleted
)
EntityArrival = EntityOperationReceived | EntityDeletionReceived | EntityLockReceived | EntityUnlockReceived
"""The messages that an entity receives."""
EntityEvent = EntityStarted | EntitySnapshot | EntityArrival | EntityBatch
AnyEvent = Arrival | ControlEvent | Decision | EntityEvent


class Record(msgspec.Struct, frozen=True, gc=False):
    """One line of a history: the event in its envelope."""

    n: int
    at: datetime
    event: AnyEvent
