"""The state of an orchestration as clients of the protocol see it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec import Raw

from durablecli.model.event_base import ABSENT
from durablecli.model.failures import Failure
from durablecli.protocol.generated import pb
from durablecli.protocol.values import STATUSES, execution_id, make_failure, make_payload, make_text, make_time
from durablecli.replay.runtime_state import RuntimeState


class OrchestrationFields(NamedTuple):
    """What clients see of an instance. One without an `execution` is on disk as a message only."""

    instance: str
    name: str
    status: str
    created: datetime | None
    updated: datetime | None
    completed: datetime | None = None
    version: str | None = None
    execution: str | None = None
    parent: str | None = None
    start_at: datetime | None = None
    input: Raw = ABSENT
    output: Raw = ABSENT
    custom_status: Raw = ABSENT
    failure: Failure | None = None
    tags: Mapping[str, str] = {}


def read_fields(state: RuntimeState) -> OrchestrationFields:
    """Return the fields of an instance with a history."""
    started = state.started
    return OrchestrationFields(
        instance=state.instance,
        name=started.name,
        status=state.status,
        created=state.created,
        updated=state.updated,
        completed=state.updated if state.ended else None,
        version=started.version,
        execution=state.execution,
        parent=started.parent.instance if started.parent else None,
        start_at=started.start_at,
        input=started.input,
        output=state.result,
        custom_status=state.custom_status,
        failure=state.failure,
        tags=started.tags,
    )


def make_orchestration_state(fields: OrchestrationFields, *, payloads: bool = True) -> pb.OrchestrationState:
    """Return the state for clients; without `payloads` it has no input and no output."""
    has_id = fields.execution is not None
    return pb.OrchestrationState(
        instanceId=fields.instance,
        name=fields.name,
        version=make_text(fields.version),
        orchestrationStatus=STATUSES[fields.status],
        scheduledStartTimestamp=make_time(fields.start_at),
        createdTimestamp=make_time(fields.created),
        lastUpdatedTimestamp=make_time(fields.updated),
        completedTimestamp=make_time(fields.completed),
        input=make_payload(fields.input) if payloads else None,
        output=make_payload(fields.output) if payloads else None,
        customStatus=make_payload(fields.custom_status),
        failureDetails=make_failure(fields.failure),
        executionId=make_text(execution_id(fields.instance, fields.execution or "") if has_id else None),
        parentInstanceId=make_text(fields.parent),
        tags=fields.tags,
    )
