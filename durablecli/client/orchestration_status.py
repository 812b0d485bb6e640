"""How an instance stands, as people and programs ask for it: the status payload of Durable Functions and, beyond it,
what the instance waits for, why it is blocked, and whether an engine runs that could move it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.model.payloads import to_displayable
from durablecli.model.redaction import redact_payload
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus, PendingWait

NULL = Raw(b"null")


class BlockedInfo(msgspec.Struct, frozen=True):
    """The code doesn't fit the history, or isn't loaded; the instance goes on when it fits again."""

    reason: str
    since: datetime | None


class QuarantineInfo(msgspec.Struct, frozen=True):
    """The engine leaves it alone: its history is damaged, or it failed unexpectedly. `kept` counts what was sent to it
    and will be delivered once it can be used again; `since` is None while no engine has met it."""

    reason: str
    since: datetime | None
    kept: int = 0


class SuspendedInfo(msgspec.Struct, frozen=True):
    """Held by whom, since when, and how many arrivals are kept for the time after."""

    reason: str
    since: datetime | None
    kept: int


class HeldLocks(msgspec.Struct, frozen=True):
    """The locks of one critical section that it is in, since when."""

    entities: tuple[str, ...]
    since: datetime | None


class UnreadEvent(msgspec.Struct, frozen=True):
    """An external event that nothing has read yet. `state` says where it is: `posted` for an engine to take, `held`
    until the instance goes on, or `unread`, as the instance hasn't waited for it."""

    name: str
    since: datetime
    state: str


class EngineStatus(msgspec.Struct, frozen=True):
    """The engine of the hub: `alive`, or the last one that was seen."""

    alive: bool
    pid: int | None = None
    since: datetime | None = None
    last_seen: datetime | None = None


class DurableOrchestrationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one instance. It is falsy if there is no such instance.

    `input_`, `output` and `custom_status` are decoded JSON; the `raw_` fields are the JSON itself. The output of a
    failed instance is its failure's message, that of a terminated one the reason. `requested` names the verbs that
    are on disk and that no engine has taken yet; the status is the one that they lead to, except that an instance
    isn't called Terminated before it is: then `ends` is set.
    """

    instance_id: str
    name: str | None = None
    runtime_status: OrchestrationRuntimeStatus | None = None
    created_time: datetime | None = None
    last_updated_time: datetime | None = None
    raw_input: Raw = NULL
    raw_output: Raw = NULL
    raw_custom_status: Raw = NULL
    history: list[dict[str, Any]] | None = None
    version: str | None = None
    execution: str | None = None
    parent_instance_id: str | None = None
    records: int = 0
    waiting_for: tuple[PendingWait, ...] = ()
    holds: tuple[HeldLocks, ...] = ()
    blocked: BlockedInfo | None = None
    set_aside: QuarantineInfo | None = None
    suspended: SuspendedInfo | None = None
    engine: EngineStatus = EngineStatus(alive=False)
    requested: tuple[str, ...] = ()
    unread_events: tuple[UnreadEvent, ...] = ()
    ends: bool = False
    start_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.runtime_status is not None or self.set_aside is not None

    @property
    def shown_input(self) -> Raw:
        """The input for a display: the credentials of an HTTP call are redacted."""
        return to_displayable(redact_payload(self.name, self.raw_input))

    @property
    def shown_output(self) -> Raw:
        """The output for a display, likewise."""
        return to_displayable(redact_payload(self.name, self.raw_output))

    @property
    def input_(self) -> Any:
        """What the instance was started with."""
        return msgspec.json.decode(self.shown_input)

    @property
    def output(self) -> Any:
        """What the orchestrator returned, or why it ended otherwise."""
        return msgspec.json.decode(self.shown_output)

    @property
    def custom_status(self) -> Any:
        """What the orchestrator set last."""
        return msgspec.json.decode(to_displayable(self.raw_custom_status))

    @property
    def ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self.runtime_status is not None and self.runtime_status.value in ENDED_STATUSES

    @property
    def taken(self) -> bool:
        """Whether an engine has begun it; before that only its start is on disk."""
        return self.execution is not None

    def payload(self) -> dict[str, Any]:
        """The body of `GET instances/{id}` of the HTTP API, with waitingFor, holds, blocked and daemon added, and
        unreadEvents if there are any."""
        body: dict[str, Any] = {
            "name": self.name,
            "instanceId": self.instance_id,
            "runtimeStatus": self.runtime_status and self.runtime_status.value,
            "input": self.shown_input,
            "customStatus": self.raw_custom_status,
            "output": self.shown_output,
            "createdTime": format_seconds(self.created_time),
            "lastUpdatedTime": format_seconds(self.last_updated_time),
            "waitingFor": self.waiting_for,
            "holds": self.holds,
            "blocked": self.blocked,
            "daemon": {"pid": self.engine.pid, "since": self.engine.since} if self.engine.alive else None,
        }
        if self.unread_events:
            body["unreadEvents"] = self.unread_events
        if self.set_aside is not None:
            body["setAside"] = self.set_aside
        if self.history is not None:
            body["historyEvents"] = self.history
        return body

    def to_json(self) -> dict[str, Any]:
        """The keys of the Python SDK, with decoded values and times in microseconds."""
        return {
            "name": self.name,
            "instanceId": self.instance_id,
            "createdTime": _format_microseconds(self.created_time),
            "lastUpdatedTime": _format_microseconds(self.last_updated_time),
            "output": self.output,
            "input": self.input_,
            "runtimeStatus": self.runtime_status and self.runtime_status.value,
            "customStatus": self.custom_status,
            "history": self.history,
        }


class PurgeHistoryResult(msgspec.Struct, frozen=True):
    """How many instances a purge reaches."""

    instances_deleted: int


def format_seconds(time: datetime | None) -> str | None:
    """`2026-11-22T09:00:05Z`."""
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _format_microseconds(time: datetime | None) -> str | None:
    return None if time is None else time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
