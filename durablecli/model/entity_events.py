"""The events of an entity's log: the messages sent to it, and the batches of operations that it ran."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw

from durablecli.model.event_base import ABSENT, NULL, Event, Origin
from durablecli.model.failures import Failure
from durablecli.model.trace_context import TraceContext

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
    trace: TraceContext | None = None


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
    """An orchestration that an operation started, to begin at `start_at`; `undelivered` if its id existed."""

    instance: str
    name: str
    input: Raw = NULL
    version: str | None = None
    undelivered: bool = False
    start_at: datetime | None = None
    tags: dict[str, str] = {}


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
