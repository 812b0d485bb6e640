"""The parameters and results of the client's newer methods, named as in durabletask."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Raw

from durablecli.client import DurableOrchestrationStatus, EntityStatus
from durablecli.model.entity_id import EntityId
from durablecli.model.payloads import decode
from durablecli.model.status import OrchestrationRuntimeStatus

T = TypeVar("T")


class OrchestrationFailedError(Exception):
    """Raised by `OrchestrationState.raise_if_failed`."""


@dataclass(frozen=True)
class OrchestrationQuery:
    """A filter of instances; `max_instance_count` None means all of them."""

    created_time_from: datetime | None = None
    created_time_to: datetime | None = None
    runtime_status: list[OrchestrationRuntimeStatus] | None = None
    max_instance_count: int | None = None
    fetch_inputs_and_outputs: bool = False
    instance_id_prefix: str | None = None


@dataclass(frozen=True)
class EntityQuery:
    """A filter of entities. Those without a state are left out unless `include_transient`."""

    instance_id_starts_with: str | None = None
    last_modified_from: datetime | None = None
    last_modified_to: datetime | None = None
    include_state: bool = True
    include_transient: bool = False
    page_size: int | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some items, and the token for the next page."""

    items: list[T]
    continuation_token: str | None = None


@dataclass(frozen=True)
class PurgeInstancesResult:
    """The number of purged instances."""

    deleted_instance_count: int
    is_complete: bool = True

    @property
    def instances_deleted(self) -> int:
        """The number, as the older client names it."""
        return self.deleted_instance_count


@dataclass(frozen=True)
class CleanEntityStorageResult:
    """The number of removed entities. Whatever ends the holder of a lock releases it, so no lock is ever orphaned."""

    empty_entities_removed: int
    orphaned_locks_released: int = 0


@dataclass(frozen=True)
class FailureDetails:
    """Why an instance failed."""

    message: str
    error_type: str = "TaskFailedError"
    stack_trace: str | None = None


@dataclass(frozen=True)
class OrchestrationState:
    """The state of an instance. The `serialized_` fields are JSON, or None without a value."""

    instance_id: str
    name: str
    runtime_status: OrchestrationRuntimeStatus
    created_at: datetime | None
    last_updated_at: datetime | None
    serialized_input: str | None = None
    serialized_output: str | None = None
    serialized_custom_status: str | None = None
    failure_details: FailureDetails | None = None

    @classmethod
    def from_status(cls, status: DurableOrchestrationStatus, payloads: bool = True) -> OrchestrationState | None:
        """Convert a status; None if there is no such instance."""
        if status.runtime_status is None:
            return None
        failed = status.runtime_status is OrchestrationRuntimeStatus.Failed
        return cls(
            status.instance_id,
            status.name or "",
            status.runtime_status,
            status.created_time,
            status.last_updated_time,
            _to_json_text(status.shown_input) if payloads else None,
            _to_json_text(status.shown_output) if payloads and not failed else None,
            _to_json_text(status.shown_custom_status) if payloads else None,
            FailureDetails(str(status.output)) if failed else None,
        )

    def get_input(self) -> Any:
        """The input, decoded."""
        return _from_json_text(self.serialized_input)

    def get_output(self) -> Any:
        """The output, decoded."""
        return _from_json_text(self.serialized_output)

    def get_custom_status(self) -> Any:
        """The custom status, decoded."""
        return _from_json_text(self.serialized_custom_status)

    def raise_if_failed(self) -> None:
        """Raise OrchestrationFailedError if it failed."""
        if self.failure_details is not None:
            raise OrchestrationFailedError(f"Orchestration '{self.instance_id}' failed: {self.failure_details.message}")


@dataclass(frozen=True)
class EntityMetadata:
    """The state of an entity."""

    id: EntityId
    last_modified: datetime | None
    backlog_queue_size: int
    locked_by: str | None
    includes_state: bool
    serialized_state: str | None = None

    @classmethod
    def from_status(cls, status: EntityStatus, state: bool = True) -> EntityMetadata | None:
        """Convert a status; None if the entity has never received an operation."""
        if not status:
            return None
        return cls(
            status.entity_id,
            status.last_operation_time or status.last_updated_time,
            len(status.queued),
            status.locked_by.instance if status.locked_by else None,
            state,
            _to_json_text(status.shown_state) if state else None,
        )

    def get_state(self, intended_type: type[T] | None = None) -> Any:
        """The state, decoded as `intended_type` if one is given."""
        if self.serialized_state is None:
            return None
        return decode(Raw(self.serialized_state.encode()), Any if intended_type is None else intended_type)


def _to_json_text(raw: Raw) -> str | None:
    text = bytes(raw).decode()
    return None if text == "null" else text


def _from_json_text(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
