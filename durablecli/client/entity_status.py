"""The status of an entity: its state, who holds its lock, and what is queued for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.client.orchestration_status import NULL, BlockedInfo, EngineStatus, QuarantineInfo, format_seconds
from durablecli.client.remote_workers import WorkerWait
from durablecli.client.running_work import RunningOperations
from durablecli.model import events as ev
from durablecli.model.entity_id import EntityId
from durablecli.model.payloads import to_displayable
from durablecli.model.traceback_text import SourceLine


class EntityStateResponse(msgspec.Struct, frozen=True):
    """Whether an entity has a state, and the state, decoded."""

    entity_exists: bool
    entity_state: Any = None


class EntityLockHolder(msgspec.Struct, frozen=True):
    """The orchestration that holds the lock, since when, and all entities that it locked together, if that is known."""

    instance: str
    since: datetime | None
    entities: tuple[str, ...]


class QueuedEntityRequest(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A queued request of kind operation, delete or lock.

    `id` is the number of its record, `sender` the instance that sent it (None: a client), `scheduled_time` the time
    before which it doesn't run.
    """

    kind: str
    id: int
    since: datetime
    name: str | None = None
    sender: str | None = None
    scheduled_time: datetime | None = None

    @classmethod
    def from_record(cls, record: ev.Record) -> QueuedEntityRequest:
        """Return the request that a record of the log holds."""
        n, at, event = record.n, record.at, record.event
        match event:
            case ev.EntityOperationReceived():
                sender = event.sender.instance if event.sender else None
                return cls("operation", n, at, event.name, sender, event.scheduled_time)
            case ev.EntityLockReceived():
                return cls("lock", n, at, sender=event.sender.instance)
            case _:
                return cls("delete", n, at)


class PendingEntityMessage(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A message of kind signal, delete or purge that is on disk and that no engine has accepted yet."""

    kind: str
    since: datetime
    name: str | None = None
    scheduled_time: datetime | None = None


class LastOperationFailure(msgspec.Struct, frozen=True):
    """The last operation that failed; `type` is the qualified name of the exception.

    `source` is the line of the author's code that raised it, and `traceback` is without durablecli's frames.
    """

    operation: str
    at: datetime
    type: str
    message: str
    source: SourceLine | None = None
    traceback: str = ""


class EntityStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one entity. It is falsy if nothing was ever sent to it.

    `exists` is whether it has a state. `queued` is in the order of execution; while the lock is held, the requests of
    its holder come first. `running` counts the operations that are running, `failures` those that failed. `worker` is
    the one that runs the operations of a remote entity, or for which they wait.

    A `partial` status is that of an entity of another engine. Its times of creation and of the last operation, its
    failures, its engine, and each of the `backlog` queued requests aren't known then.
    """

    entity_id: EntityId
    exists: bool = False
    raw_state: Raw = NULL
    created_time: datetime | None = None
    last_updated_time: datetime | None = None
    last_operation_time: datetime | None = None
    execution: str | None = None
    locked_by: EntityLockHolder | None = None
    queued: tuple[QueuedEntityRequest, ...] = ()
    running: RunningOperations | None = None
    scheduled: tuple[QueuedEntityRequest, ...] = ()
    failures: int = 0
    last_failure: LastOperationFailure | None = None
    blocked: BlockedInfo | None = None
    set_aside: QuarantineInfo | None = None
    requested: tuple[PendingEntityMessage, ...] = ()
    engine: EngineStatus = EngineStatus(alive=False)
    worker: WorkerWait | None = None
    partial: bool = False
    backlog: int = 0

    def __bool__(self) -> bool:
        return self.taken or bool(self.requested) or self.set_aside is not None

    @property
    def taken(self) -> bool:
        """Whether an engine has accepted anything for it; before that, only messages are on disk."""
        return self.execution is not None or self.partial

    @property
    def status_name(self) -> str:
        """Exists, Empty (no state), Pending (messages that no engine has accepted) or Unknown (an unreadable log)."""
        if self.set_aside is not None and not self.taken:
            return "Unknown"
        return "Exists" if self.exists else "Empty" if self.taken else "Pending"

    @property
    def word(self) -> str:
        """The former name of `status_name`."""
        return self.status_name

    @property
    def state(self) -> Any:
        """The state, decoded; None if there is none."""
        return msgspec.json.decode(self.shown_state)

    @property
    def shown_state(self) -> Raw:
        """The state as JSON for display."""
        return to_displayable(self.raw_state)

    def payload(self) -> dict[str, Any]:
        """Return the body that the HTTP API gives for an entity."""
        lock = self.locked_by
        body: dict[str, Any] = {
            "entityId": str(self.entity_id),
            "name": self.entity_id.name,
            "key": self.entity_id.key,
            "exists": self.exists,
            "state": self.shown_state,
        }
        if self.partial:
            return body | {
                "lastUpdatedTime": format_seconds(self.last_updated_time),
                "lockedBy": lock and {"instanceId": lock.instance},
                "backlog": self.backlog,
            }
        body |= {
            "createdTime": format_seconds(self.created_time),
            "lastUpdatedTime": format_seconds(self.last_updated_time),
            "lastOperationTime": format_seconds(self.last_operation_time),
            "lockedBy": lock and {"instanceId": lock.instance, "since": lock.since, "entities": lock.entities},
            "queued": self.queued,
            "running": self.running,
            "scheduled": self.scheduled,
            "failures": self.failures,
            "lastFailure": self.last_failure,
            "blocked": self.blocked,
            "requested": self.requested,
            "daemon": {"pid": self.engine.pid, "since": self.engine.since} if self.engine.alive else None,
        }
        if self.worker is not None:
            body["worker"] = self.worker
        if self.set_aside is not None:
            body["setAside"] = self.set_aside
        return body
