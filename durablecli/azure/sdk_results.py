"""Results of a client as objects of the `durabletask` SDK's classes, for apps that import it."""

from __future__ import annotations

from typing import Any

from durabletask import history
from durabletask.client import (
    CleanEntityStorageResult,
    OrchestrationState,
    OrchestrationStatus,
    Page,
    PurgeInstancesResult,
)
from durabletask.entities import EntityInstanceId, EntityMetadata
from durabletask.internal.helpers import failure_details_from_protobuf
from durabletask.internal.history_helpers import collect_history_events
from durabletask.serialization import DEFAULT_DATA_CONVERTER
from durabletask.task import FailureDetails
from msgspec import Raw

from durablecli.client import Client, DurableOrchestrationStatus, EntityStatus
from durablecli.model import events as ev
from durablecli.model.boxed_text import to_text
from durablecli.protocol.generated import pb
from durablecli.protocol.history_translator import HistoryTranslator
from durablecli.protocol.values import STATUS_NAMES, STATUSES, make_failure
from durablecli.replay.runtime_state import fold_history

__all__ = [
    "CleanEntityStorageResult",
    "Page",
    "PurgeInstancesResult",
    "make_entity",
    "make_state",
    "read_history",
    "read_reuse_policy",
]


def make_state(client: Client, status: DurableOrchestrationStatus, payloads: bool) -> Any:
    """Return the state of an instance. Its times are naive and in UTC, as in the SDK."""
    failed = status.status_name == "Failed"
    return OrchestrationState(
        status.instance_id,
        status.name or "",
        OrchestrationStatus(STATUSES[status.status_name]),
        _to_naive(status.created_time),
        _to_naive(status.last_updated_time),
        _to_text(status.shown_input, payloads),
        _to_text(status.shown_output, payloads and not failed),
        _to_text(status.raw_custom_status, payloads),
        _read_failure(client, status.instance_id) if failed else None,
        DEFAULT_DATA_CONVERTER,
    )


def _read_failure(client: Client, instance_id: str) -> FailureDetails | None:
    """Read the failure from the end of the history."""
    _, records = client.get_status_with_records(instance_id)
    for record in reversed(records):
        if isinstance(record.event, ev.ExecutionCompleted):
            details = make_failure(record.event.failure)
            return None if details is None else failure_details_from_protobuf(details)
    return None


def make_entity(status: EntityStatus, state: bool) -> EntityMetadata | None:
    """Return the state of an entity; None if it has no state, no lock and no queue."""
    if not (status.exists or status.locked_by or status.queued):
        return None
    changed = status.last_operation_time or status.last_updated_time
    assert changed is not None
    return EntityMetadata(
        EntityInstanceId(status.entity_id.name, status.entity_id.key),
        changed,
        len(status.queued),
        status.locked_by.instance if status.locked_by else "",
        state,
        _to_text(status.raw_state, state),
        DEFAULT_DATA_CONVERTER,
    )


def read_history(client: Client, instance_id: str) -> list[history.HistoryEvent]:
    """Return the events of the last execution; raises NotFound."""
    state = fold_history(client.get_history(instance_id))
    events = HistoryTranslator(state.started).translate_turns(state.turns or ())
    return collect_history_events([pb.HistoryChunk(events=events)])


def read_reuse_policy(policy: pb.OrchestrationIdReusePolicy) -> tuple[str, ...]:
    """Return the statuses in which an instance with the same id is replaced."""
    return tuple(dict.fromkeys(STATUS_NAMES[number] for number in policy.replaceableStatus))


def _to_text(payload: Raw, wanted: bool) -> str | None:
    return to_text(payload) if wanted else None


def _to_naive(time: Any) -> Any:
    return None if time is None else time.replace(tzinfo=None)
