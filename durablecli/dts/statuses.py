"""Statuses and rows of lists of another engine, without the parts that its protocol doesn't have."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.client import DurableOrchestrationStatus, EntityLockHolder, EntityStatus
from durablecli.client.orchestration_status import NULL
from durablecli.errors import UsageError
from durablecli.model.entity_id import EntityId
from durablecli.model.failure_report import make_brief_cause, make_report
from durablecli.model.failures import Failure, failure_text
from durablecli.model.payloads import to_displayable
from durablecli.model.status import InstanceSummary, OrchestrationRuntimeStatus
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUS_NAMES, STATUSES, field_payload, field_text, field_time, to_failure

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def to_status(state: pb.OrchestrationState, *, show_input: bool = True) -> DurableOrchestrationStatus:
    """Return the status of an instance."""
    failure = _find_failure(state)
    return DurableOrchestrationStatus(
        instance_id=state.instanceId,
        name=state.name,
        runtime_status=OrchestrationRuntimeStatus(_status_name(state)),
        created_time=field_time(state, "createdTimestamp"),
        last_updated_time=field_time(state, "lastUpdatedTimestamp"),
        raw_input=_read_payload(state, "input") if show_input else NULL,
        raw_output=_encode_output(state, failure),
        raw_custom_status=_read_payload(state, "customStatus"),
        version=field_text(state, "version") or None,
        execution=field_text(state, "executionId") or None,
        parent_instance_id=field_text(state, "parentInstanceId") or None,
        start_at=field_time(state, "scheduledStartTimestamp"),
        failure=None if failure is None else make_report(failure),
        tags=dict(state.tags),
        partial=True,
    )


def to_row(state: pb.OrchestrationState) -> InstanceSummary:
    """Return the row of an instance."""
    failure = _find_failure(state)
    created = field_time(state, "createdTimestamp") or _NEVER
    return InstanceSummary(
        id=state.instanceId,
        name=state.name,
        status=_status_name(state),
        execution=state.executionId.value,
        parent=field_text(state, "parentInstanceId") or None,
        version=field_text(state, "version") or None,
        created=created,
        updated=field_time(state, "lastUpdatedTimestamp") or created,
        failure=None if failure is None else make_brief_cause(failure),
        tags=dict(state.tags),
    )


def to_entity_status(entity: pb.EntityMetadata) -> EntityStatus:
    """Return the status of an entity, whose state was asked for."""
    holder = field_text(entity, "lockedBy")
    return EntityStatus(
        entity_id=EntityId.parse(entity.instanceId),
        exists=entity.HasField("serializedState"),
        raw_state=_read_payload(entity, "serializedState"),
        last_updated_time=field_time(entity, "lastModifiedTime"),
        locked_by=EntityLockHolder(holder, None, ()) if holder else None,
        partial=True,
        backlog=entity.backlogQueueSize,
    )


def to_entity_row(entity: pb.EntityMetadata) -> InstanceSummary:
    """Return the row of an entity, whose state was asked for. Its time of creation isn't known."""
    modified = field_time(entity, "lastModifiedTime") or _NEVER
    return InstanceSummary(
        id=entity.instanceId,
        name=entity.instanceId[1:].partition("@")[0],
        status="Exists" if entity.HasField("serializedState") else "Empty",
        execution="",
        parent=None,
        version=None,
        created=modified,
        updated=modified,
        locked_by=field_text(entity, "lockedBy") or None,
        queued=entity.backlogQueueSize,
    )


def to_status_numbers(names: tuple[str, ...]) -> list[pb.OrchestrationStatus]:
    """Return the numbers of runtime statuses in the protocol. Raises UsageError for an unknown one."""
    unknown = next((name for name in names if name not in STATUSES), None)
    if unknown is not None:
        raise UsageError(f"invalid status {unknown!r}; use {', '.join(STATUSES)}")
    return [STATUSES[name] for name in names]


def _status_name(state: pb.OrchestrationState) -> str:
    return STATUS_NAMES.get(state.orchestrationStatus, "Running")


def _read_payload(message: Any, field: str) -> Raw:
    """Return a payload as people see it."""
    return to_displayable(field_payload(message, field))


def _find_failure(state: pb.OrchestrationState) -> Failure | None:
    failed = _status_name(state) == "Failed" and state.HasField("failureDetails")
    return to_failure(state.failureDetails) if failed else None


def _encode_output(state: pb.OrchestrationState, failure: Failure | None) -> Raw:
    if failure is not None:
        return Raw(msgspec.json.encode(failure_text(failure)))
    return _read_payload(state, "output")
