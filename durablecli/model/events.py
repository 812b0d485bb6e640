"""The events of a history: arrivals come from outside the orchestrator, decisions from its function.

The log of an entity is a history too. It holds the messages sent to it, and the batches of operations that it ran.

Kinds have the names of the Durable Task history where one exists. A record is an event in its envelope: `n` counts the
records of one execution from 1 without gaps, `at` is when it was recorded (UTC). The outcome of a decision names the
decision's `n`. Fields with their default value are left out of the line.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw

from durablecli.model.failures import Failure

NULL = Raw(b"null")
ABSENT = Raw()
"""No payload: falsy, and left out of the line. `Raw | None` can't be decoded: it accepts only null."""


class Event(msgspec.Struct, frozen=True, tag=True, tag_field="type", omit_defaults=True, gc=False):
    """The base of all kinds. Its name is in the line as `type`."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The decision that an arrival in another instance belongs to: instance, execution and `n`."""

    instance: str
    execution: str
    n: int


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


class BindingOutput(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A value that an activity set on an output binding of type `type`. It is recorded but not sent.

    `value` is JSON. Of a large value it is only the beginning, as a string, and `size` is the size of all in bytes.
    """

    name: str
    type: str
    status: str
    value: Raw = NULL
    size: int | None = None


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
    reason: str = ""
    message: str | None = None


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
    """Applies the held arrival `upto`, and every held one before it, at this record's `at`."""

    upto: int


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


class TaskScheduled(Event, frozen=True):
    name: str
    input: Raw = NULL
    attempt: int = 1
    retry_of: int | None = None


class TimerCreated(Event, frozen=True):
    fire_at: datetime
    retry_of: int | None = None


class TimerCanceled(Event, frozen=True):
    timer: int


class EventAwaited(Event, frozen=True):
    name: str


class EventSent(Event, frozen=True):
    instance: str
    name: str
    input: Raw = NULL
    undelivered: bool = False


class SubOrchestrationInstanceCreated(Event, frozen=True):
    """`explicit` says that the orchestrator chose the instance id, which others may have chosen too."""

    name: str
    instance: str
    input: Raw = NULL
    version: str | None = None
    attempt: int = 1
    retry_of: int | None = None
    explicit: bool = False


class EntityOperationCalled(Event, frozen=True):
    """An operation whose outcome the orchestrator waits for. `entity` is an id such as `@counter@a`."""

    entity: str
    name: str
    input: Raw = NULL


class EntityOperationSignaled(Event, frozen=True):
    """An operation without an outcome. It runs at `scheduled_time` if there is one."""

    entity: str
    name: str
    input: Raw = NULL
    scheduled_time: datetime | None = None


class EntityLockRequested(Event, frozen=True):
    """Begins a critical section; `entities` are in the order in which they are locked."""

    entities: tuple[str, ...]


class EntityUnlockSent(Event, frozen=True):
    """Ends the critical section that `lock` requested, or cancels the request."""

    lock: int


class CustomStatusSet(Event, frozen=True):
    status: Raw


class ContinueAsNew(Event, frozen=True):
    input: Raw = NULL
    save_events: bool = True


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


# ── the log of an entity: messages sent to it ────────────────────────────────────────────────────────────────────────


class EntityStarted(Event, frozen=True):
    """The first record of an entity."""

    instance: str
    execution: str


class EntityOperationReceived(Event, frozen=True):
    """One operation, which runs at `scheduled_time` if there is one. A sender that `expects_reply` gets its outcome."""

    name: str
    input: Raw = NULL
    sender: Origin | None = msgspec.field(name="from", default=None)
    expects_reply: bool = msgspec.field(default=False, name="waits")
    message: str | None = None
    scheduled_time: datetime | None = None


class EntityDeletionReceived(Event, frozen=True):
    """Deletes the state, when its turn in the queue comes, without running the author's code.

    With `force` all operations before it fail, even a running one.
    """

    message: str | None = None
    force: bool = False


class EntityLockReceived(Event, frozen=True):
    """A request for a lock. Once granted it is passed to the next of `entities`."""

    entities: tuple[str, ...]
    sender: Origin = msgspec.field(name="from")


class EntityUnlockReceived(Event, frozen=True):
    """Releases the lock, or cancels the request for it. It takes the same way as the request."""

    entities: tuple[str, ...]
    sender: Origin = msgspec.field(name="from")


# ── the log of an entity: outcomes ───────────────────────────────────────────────────────────────────────────────────


class EntityOperationResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The result of operation `n` for a sender that expects a reply, or its failure."""

    n: int
    result: Raw = ABSENT
    failure: Failure | None = None


class EntityOperationSignal(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A signal that an operation sent to an entity."""

    entity: str
    name: str
    input: Raw = NULL
    scheduled_time: datetime | None = None


class EntityOperationStart(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An orchestration that an operation started; `undelivered` if its id existed."""

    instance: str
    name: str
    input: Raw = NULL
    version: str | None = None
    undelivered: bool = False


class EntityBatch(Event, frozen=True):
    """The outcome of all queued operations up to and including record `upto`.

    Record `upto` may also be a deletion: then the batch is for that alone, and no code ran. `state` is the new state;
    without one it is unchanged, or deleted if `deleted`. Operations that succeeded and need no reply aren't in
    `results`.
    """

    upto: int
    state: Raw = ABSENT
    deleted: bool = False
    results: tuple[EntityOperationResult, ...] = ()
    signals: tuple[EntityOperationSignal, ...] = ()
    starts: tuple[EntityOperationStart, ...] = ()


class EntityLock(msgspec.Struct, frozen=True):
    """The holder of an entity's lock, since when, and all entities that the same request locks."""

    sender: Origin = msgspec.field(name="from")
    entities: tuple[str, ...]
    since: datetime


class EntityOperationFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last operation of an entity that failed."""

    name: str
    at: datetime
    failure: Failure


class EntitySnapshot(Event, frozen=True):
    """Replaces all records up to `upto` at the start of a new file. Pending records follow it again.

    `senders` are the last operations of the most recent senders.
    """

    instance: str
    execution: str
    upto: int
    created: datetime
    modified: datetime
    state: Raw = ABSENT
    lock: EntityLock | None = None
    failures: int = 0
    last_failure: EntityOperationFailure | None = None
    senders: tuple[Origin, ...] = ()


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
