"""The events of a history: arrivals come from outside the orchestrator, decisions are what its function produced.

The log of an entity is a history too. It holds what others sent, and what came of it in batches of operations.

Kinds are the strings of the Durable Task history where one exists. A record is an event with its envelope: `n` counts
the records of one execution from 1 without gaps, `at` is when it was recorded (UTC). What answers a decision names
the decision's `n`. Fields that hold their default are left out of the line.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Raw

from durablecli.model.failures import Failure

NULL = Raw(b"null")
ABSENT = Raw()
"""No payload at all: falsy, and left out of the line. `Raw | None` can't be decoded: it takes null alone."""


class Event(msgspec.Struct, frozen=True, tag=True, tag_field="type", omit_defaults=True, gc=False):
    """What every kind has in common: its name stands in the line as `type`."""


class Origin(msgspec.Struct, frozen=True, gc=False):
    """The decision that an arrival in another instance answers to: instance, execution and `n`."""

    instance: str
    execution: str
    n: int


# ── arrivals: from outside. `held` marks one that is recorded and not yet applied ──────────────────────────────────


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
    """How many ancestors a sub-orchestration has."""


class BindingOutput(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A value that an activity set on an output binding of type `type`. It is recorded, and not sent.

    `value` is the value as JSON, or its beginning as a string where `size` gives the bytes of the whole.
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
    """All the locks of a request are held."""

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

    The turns from arrival `start` on are taken again; their other decisions are kept. With `resets_timeouts` the retry
    timeouts of all calls that are open count from here.
    """

    start: int = msgspec.field(name="from")
    reason: str = ""
    forgotten: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    message: str | None = None
    resets_timeouts: bool = False


# ── of the ledger: no arrival, no decision; they say what may be applied ───────────────────────────────────────────


class OrchestratorStarted(Event, frozen=True):
    """Applies the held arrival `upto`, and every held one before it, at this record's `at`."""

    upto: int


class EventWaitsChanged(Event, frozen=True):
    """The waits that take events after the turn before: number and name of each. All other waits sleep.

    `unread` counts the events of each name, in lower case, that no wait has taken.
    """

    waits: tuple[tuple[int, str], ...] = ()
    unread: dict[str, int] = {}


class ExecutionBlocked(Event, frozen=True):
    reason: str


class ExecutionUnblocked(Event, frozen=True):
    reason: str = ""


# ── decisions: what the orchestrator function produced ─────────────────────────────────────────────────────────────


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
    """`explicit` says that the orchestrator chose the instance id, which others may choose too."""

    name: str
    instance: str
    input: Raw = NULL
    version: str | None = None
    attempt: int = 1
    retry_of: int | None = None
    explicit: bool = False


class EntityOperationCalled(Event, frozen=True):
    """An operation whose outcome the orchestrator waits for; `entity` is an id as `@counter@a`."""

    entity: str
    name: str
    input: Raw = NULL


class EntityOperationSignaled(Event, frozen=True):
    """An operation that nobody waits for, not before `scheduled_time` where there is one."""

    entity: str
    name: str
    input: Raw = NULL
    scheduled_time: datetime | None = None


class EntityLockRequested(Event, frozen=True):
    """Begins a critical section; `entities` are in the order in which they are locked."""

    entities: tuple[str, ...]


class EntityUnlockSent(Event, frozen=True):
    """Ends the critical section that `lock` asked for, or takes the request back."""

    lock: int


class CustomStatusSet(Event, frozen=True):
    status: Raw


class ContinueAsNew(Event, frozen=True):
    input: Raw = NULL
    save_events: bool = True


class ExecutionCompleted(Event, frozen=True):
    """`status` is Completed, Failed or Terminated; `causes` names the outcomes that ended a failed one.

    `rewind_from` is the first arrival whose turn a rewind takes again, where that isn't the first of the causes: an
    event may have waited for long before it was read. `named` says that the text of the failure begins with the
    orchestrator's name, as it does for apps of Azure.
    """

    status: str
    result: Raw = ABSENT
    failure: Failure | None = None
    causes: tuple[int, ...] = ()
    rewind_from: int = 0
    failure_has_name_prefix: bool = msgspec.field(default=False, name="named")


# ── the log of an entity: what was sent to it ──────────────────────────────────────────────────────────────────────


class EntityStarted(Event, frozen=True):
    """The first record of an entity."""

    instance: str
    execution: str


class EntityOperationReceived(Event, frozen=True):
    """One operation. A sender that `waits` is answered. It isn't run before `scheduled_time`."""

    name: str
    input: Raw = NULL
    sender: Origin | None = msgspec.field(name="from", default=None)
    expects_reply: bool = msgspec.field(default=False, name="waits")
    message: str | None = None
    scheduled_time: datetime | None = None


class EntityDeletionReceived(Event, frozen=True):
    """Take the state away, when its turn comes; no code of the author is asked. With `force` all that stands before it
    fails, also an operation that runs."""

    message: str | None = None
    force: bool = False


class EntityLockReceived(Event, frozen=True):
    """A request for a lock; once it is granted it goes on to the entity that follows in `entities`."""

    entities: tuple[str, ...]
    sender: Origin = msgspec.field(name="from")


class EntityUnlockReceived(Event, frozen=True):
    """Gives the lock back, or takes the request for it back; it goes the same way as the request did."""

    entities: tuple[str, ...]
    sender: Origin = msgspec.field(name="from")


# ── the log of an entity: what came of it ──────────────────────────────────────────────────────────────────────────


class EntityOperationResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What operation `n` returned to a sender that waits, or how it failed."""

    n: int
    result: Raw = ABSENT
    failure: Failure | None = None


class EntityOperationSignal(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A signal that an operation sent to another entity."""

    entity: str
    name: str
    input: Raw = NULL
    scheduled_time: datetime | None = None


class EntityOperationStart(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An orchestration that an operation started; `undelivered` where its id was taken."""

    instance: str
    name: str
    input: Raw = NULL
    version: str | None = None
    undelivered: bool = False


class EntityBatch(Event, frozen=True):
    """The outcome of all operations that waited, up to and with record `upto`.

    Record `upto` may be a deletion as well: then the batch stands for that alone, without code having run.
    `state` is the new state; without one it is as it was before, or gone where `deleted` says so. Operations that
    neither failed nor were waited for leave nothing in `results`.
    """

    upto: int
    state: Raw = ABSENT
    deleted: bool = False
    results: tuple[EntityOperationResult, ...] = ()
    signals: tuple[EntityOperationSignal, ...] = ()
    starts: tuple[EntityOperationStart, ...] = ()


class EntityLock(msgspec.Struct, frozen=True):
    """Who holds the lock of an entity, since when, and all that the same request locks."""

    sender: Origin = msgspec.field(name="from")
    entities: tuple[str, ...]
    since: datetime


class EntityOperationFailure(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last operation of an entity that failed."""

    name: str
    at: datetime
    failure: Failure


class EntitySnapshot(Event, frozen=True):
    """Stands for all records up to `upto`: the file begins anew with it. What still waits follows it once more.

    `senders` are the last operations of those who sent most recently.
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
"""What can be sent to an entity."""
EntityEvent = EntityStarted | EntitySnapshot | EntityArrival | EntityBatch
AnyEvent = Arrival | ControlEvent | Decision | EntityEvent


class Record(NamedTuple):
    """One line of a history: the event in its envelope."""

    n: int
    at: datetime
    event: AnyEvent
