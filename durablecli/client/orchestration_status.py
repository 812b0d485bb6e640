"""The status of an instance: the fields of Durable Functions, and what the instance is waiting for, why it is blocked,
and whether an engine is running."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar, overload

import msgspec
from msgspec import Raw

from durablecli.client.call_tracker import TaskCounts
from durablecli.client.task_failures import TaskFailures
from durablecli.errors import NotFound, OrchestrationFailed, OrchestrationTerminated, WrongState
from durablecli.model.annotations import check_expected_type
from durablecli.model.events import Origin
from durablecli.model.failure_report import FailureReport
from durablecli.model.payloads import decode, to_displayable
from durablecli.model.redaction import redact_payload
from durablecli.model.reported_progress import ReportedProgress
from durablecli.model.status import ENDED_STATUSES, OrchestrationRuntimeStatus, PendingWait

T = TypeVar("T")
NULL = Raw(b"null")


class BlockedInfo(msgspec.Struct, frozen=True):
    """Why an instance is blocked: its code is missing or doesn't match its history. It resumes once that is fixed."""

    reason: str
    since: datetime | None


class QuarantineInfo(msgspec.Struct, frozen=True):
    """Why an instance is quarantined: its history is damaged, or the engine failed on it.

    `kept` counts the messages held back until it can be used again; `since` is None if no engine has found it yet.
    """

    reason: str
    since: datetime | None
    kept: int = 0


class SuspendedInfo(msgspec.Struct, frozen=True):
    """Why and since when an instance is suspended, and how many arrivals are held until it is resumed."""

    reason: str
    since: datetime | None
    kept: int


class HeldLocks(msgspec.Struct, frozen=True):
    """The entities that an instance has locked together, and since when."""

    entities: tuple[str, ...]
    since: datetime | None


class UnreadEvent(msgspec.Struct, frozen=True):
    """An external event that the instance hasn't read. `state` is `posted` (no engine has accepted it),
    `held` (until the instance is resumed) or `unread` (the instance hasn't waited for it)."""

    name: str
    since: datetime
    state: str


class EngineStatus(msgspec.Struct, frozen=True):
    """The running engine of a hub (`alive`), or the last one that was seen."""

    alive: bool
    pid: int | None = None
    since: datetime | None = None
    last_seen: datetime | None = None


class DurableOrchestrationStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The status of one instance. It is falsy if there is no such instance.

    `input_`, `output` and `custom_status` are decoded JSON; the `raw_` fields are the JSON itself. The output of a
    failed instance is the message of its failure, that of a terminated one the reason. `requested` names the verbs
    that are on disk and that no engine has accepted yet. The status is the one that they lead to, with one exception:
    an instance that is about to be terminated keeps its status, and `ends` is set.

    `is_remote` is whether its last turn ran on a worker; then the external events that it waits for aren't known.

    `failure` says how a failed instance failed, and where. `task_failures` are the failures of its tasks, equal ones
    together; a completed instance has none. `progress` is what the orchestrator has reported last; it is live, and gone
    when the engine stops.

    A `partial` status is that of an instance of another engine. What it waits for, its locks, what blocks it, its
    records and its engine aren't known then.
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
    forked_from: Origin | None = None
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
    failure: FailureReport | None = None
    task_failures: tuple[TaskFailures, ...] = ()
    tags: dict[str, str] = {}
    progress: ReportedProgress | None = None
    task_counts: TaskCounts = TaskCounts()
    is_remote: bool = False
    partial: bool = False

    def __bool__(self) -> bool:
        return self.runtime_status is not None or self.set_aside is not None

    @property
    def status_name(self) -> str:
        """The runtime status as text; Unknown if the history can't be read."""
        return "Unknown" if self.runtime_status is None else self.runtime_status.value

    @property
    def shown_input(self) -> Raw:
        """The input as JSON for display, with the credentials of an HTTP call redacted."""
        return to_displayable(redact_payload(self.name, self.raw_input))

    @property
    def shown_output(self) -> Raw:
        """The output as JSON for display, redacted in the same way."""
        return to_displayable(redact_payload(self.name, self.raw_output))

    @property
    def input_(self) -> Any:
        """The input, decoded."""
        return msgspec.json.decode(self.shown_input)

    @property
    def output(self) -> Any:
        """The output, decoded."""
        return msgspec.json.decode(self.shown_output)

    @overload
    def get_output(self, expected_type: type[T]) -> T: ...
    @overload
    def get_output(self, expected_type: Any = Any) -> Any: ...
    def get_output(self, expected_type: Any = Any) -> Any:
        """Return the output as an object of this type: `status.get_output(Outcome)`.

        Raises Mismatch, with the path, if it doesn't match; OrchestrationFailed and OrchestrationTerminated if the
        instance has ended so; WrongState if it hasn't ended, and NotFound if there is none.
        """
        match self.runtime_status:
            case OrchestrationRuntimeStatus.Completed:
                return decode(self.raw_output, check_expected_type(expected_type))
            case OrchestrationRuntimeStatus.Failed:
                reason = self.output if self.failure is None else self.failure.text
                raise OrchestrationFailed(f"{self.instance_id} has failed: {reason}", self.failure)
            case OrchestrationRuntimeStatus.Terminated:
                reason = f": {self.output}" if self.output else ""
                raise OrchestrationTerminated(f"{self.instance_id} was terminated{reason}")
            case None if not self:
                raise NotFound(f"no instance '{self.instance_id}'")
        raise WrongState(f"{self.instance_id} has no output yet: it is {self.status_name}")

    @property
    def custom_status(self) -> Any:
        """The custom status that the orchestrator set last, decoded."""
        return msgspec.json.decode(self.shown_custom_status)

    @property
    def shown_custom_status(self) -> Raw:
        """The custom status as JSON for display."""
        return to_displayable(self.raw_custom_status)

    @property
    def ended(self) -> bool:
        """Whether the instance has completed, failed or been terminated."""
        return self.runtime_status is not None and self.runtime_status.value in ENDED_STATUSES

    @property
    def lacks_engine(self) -> bool:
        """Whether it is known that no engine is running."""
        return not self.partial and not self.engine.alive

    @property
    def taken(self) -> bool:
        """Whether an engine has accepted the start; before that, only a message is on disk."""
        return self.execution is not None

    def payload(self) -> dict[str, Any]:
        """Return the body of `GET instances/{id}` of the HTTP API, plus the fields that only this project has."""
        body: dict[str, Any] = {
            "name": self.name,
            "instanceId": self.instance_id,
            "runtimeStatus": self.runtime_status and self.runtime_status.value,
            "input": self.shown_input,
            "customStatus": self.shown_custom_status,
            "output": self.shown_output,
            "createdTime": format_seconds(self.created_time),
            "lastUpdatedTime": format_seconds(self.last_updated_time),
        }
        if not self.partial:
            body |= {
                "waitingFor": self.waiting_for,
                "holds": self.holds,
                "blocked": self.blocked,
                "daemon": {"pid": self.engine.pid, "since": self.engine.since} if self.engine.alive else None,
            }
        if self.failure is not None:
            body["failure"] = self.failure
        if self.task_failures:
            body["taskFailures"] = self.task_failures
        if self.tags:
            body["tags"] = self.tags
        if self.progress is not None:
            body["progress"] = self.progress
        if self.task_counts.total:
            body["taskCounts"] = self.task_counts
        if self.unread_events:
            body["unreadEvents"] = self.unread_events
        if self.is_remote:
            body["remote"] = True
        if self.set_aside is not None:
            body["setAside"] = self.set_aside
        if self.history is not None:
            body["historyEvents"] = self.history
        return body

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the Python SDK, with decoded values and times in microseconds."""
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
    """How many instances a purge deletes."""

    instances_deleted: int


def format_seconds(time: datetime | None) -> str | None:
    """Format a time as `2026-11-22T09:00:05Z`."""
    return None if time is None else f"{time.isoformat('T', 'seconds')[:19]}Z"


def _format_microseconds(time: datetime | None) -> str | None:
    return None if time is None else f"{time.isoformat('T', 'microseconds')[:26]}Z"
