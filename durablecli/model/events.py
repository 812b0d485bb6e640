"""The events of a history: arrivals come from outside the orchestrator, decisions are what its function produced.

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


class TaskCompleted(Event, frozen=True):
    task: int
    result: Raw = NULL
    held: bool = False


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
    """From here on `forgotten` outcomes and `void` decisions (with their outcomes) no longer count."""

    start: int = msgspec.field(name="from")
    reason: str = ""
    forgotten: tuple[int, ...] = ()
    void: tuple[int, ...] = ()
    message: str | None = None


# ── of the ledger: no arrival, no decision; they say what may be applied ───────────────────────────────────────────


class OrchestratorStarted(Event, frozen=True):
    """Applies the held arrival `upto`, and every held one before it, at this record's `at`."""

    upto: int


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
    name: str
    instance: str
    input: Raw = NULL
    version: str | None = None
    attempt: int = 1
    retry_of: int | None = None


class CustomStatusSet(Event, frozen=True):
    status: Raw


class ContinueAsNew(Event, frozen=True):
    input: Raw = NULL
    save_events: bool = True


class ExecutionCompleted(Event, frozen=True):
    """`status` is Completed, Failed or Terminated; `causes` names the failed outcomes that ended a failed one."""

    status: str
    result: Raw = ABSENT
    failure: Failure | None = None
    causes: tuple[int, ...] = ()


Arrival = (
    ExecutionStarted
    | TaskCompleted
    | TaskFailed
    | TimerFired
    | EventRaised
    | SubOrchestrationInstanceCompleted
    | SubOrchestrationInstanceFailed
    | ExecutionSuspended
    | ExecutionResumed
    | ExecutionTerminated
    | ExecutionRewound
)
Mark = OrchestratorStarted | ExecutionBlocked | ExecutionUnblocked
Decision = (
    TaskScheduled
    | TimerCreated
    | TimerCanceled
    | EventAwaited
    | EventSent
    | SubOrchestrationInstanceCreated
    | CustomStatusSet
    | ContinueAsNew
    | ExecutionCompleted
)
AnyEvent = Arrival | Mark | Decision
DECISIONS: tuple[type[Event], ...] = (
    TaskScheduled,
    TimerCreated,
    TimerCanceled,
    EventAwaited,
    EventSent,
    SubOrchestrationInstanceCreated,
    CustomStatusSet,
    ContinueAsNew,
    ExecutionCompleted,
)


class Record(NamedTuple):
    """One line of a history: the event in its envelope."""

    n: int
    at: datetime
    event: AnyEvent
