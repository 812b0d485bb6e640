"""Builds a status from the records of an instance and from the messages that are posted for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.client.call_tracker import CallTracker
from durablecli.client.orchestration_status import (
    NULL,
    BlockedInfo,
    DurableOrchestrationStatus,
    EngineStatus,
    HeldLocks,
    QuarantineInfo,
    SuspendedInfo,
    UnreadEvent,
)
from durablecli.client.task_failures import TaskFailures, group_task_failures
from durablecli.model import codec
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import (
    EntityLockGranted,
    EntityOperationFailed,
    EventRaised,
    ExecutionStarted,
    OrchestratorStarted,
    Record,
    SubOrchestrationInstanceFailed,
    TaskFailed,
)
from durablecli.model.failure_report import make_report
from durablecli.model.failures import failure_text
from durablecli.model.history_projection import project_history
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.replay.entity_state import fold_entity_log
from durablecli.replay.runtime_state import RuntimeState, fold_history
from durablecli.replay.summary import pending_waits
from durablecli.store.history.file import History
from durablecli.store.hub_reader import InstanceSnapshot
from durablecli.store.inbox.messages import Message
from durablecli.store.inbox.pending_messages import (
    PendingItem,
    PredictedStatus,
    items_for_quarantined,
    pending_items_for,
    predict_status,
)


def parse_records(found: History) -> Iterator[Record]:
    """Decode the records of lines that were checked when they were read."""
    return (codec.decode_record_body(line[: -codec.CRC_SUFFIX_LENGTH]) for line in found.lines)


def keep_if_foldable(found: History | None) -> History | None:
    """Return the history if a status can be built from it, else None.

    Intact lines may still form no valid history, and the fold may then fail anywhere.
    """
    if found is None:
        return None
    try:
        records = list(parse_records(found))
        fold_entity_log(records) if is_entity_id(found.instance) else fold_history(records)
    except Exception:  # noqa: BLE001 - see the docstring
        return None
    return found


def build_status(
    instance: str,
    snapshot: InstanceSnapshot,
    engine: EngineStatus,
    set_aside: QuarantineInfo | None,
    *,
    history: bool = False,
    history_output: bool = False,
    show_input: bool = True,
    records: Sequence[Record] | None = None,
) -> DurableOrchestrationStatus:
    """Build the status that an instance will have once its pending messages are accepted.

    `records` are those of the history, if the caller has parsed them.
    """
    found = snapshot.history
    if records is None:
        records = list(parse_records(found)) if found is not None else []
    state = fold_history(records, found.size) if found is not None else None
    predicted = predict_instance_status(instance, snapshot, state, set_aside)
    if predicted.status is None:
        return DurableOrchestrationStatus(instance_id=instance, engine=engine)
    if predicted.start is not None:
        return _build_starting_status(predicted, predicted.start, snapshot, state, engine, history, show_input)
    if state is None:
        return DurableOrchestrationStatus(instance_id=instance, engine=engine, set_aside=set_aside)
    rows = project_history(records, results=history_output, inputs=show_input) if history else None
    return _build_recorded_status(state, records, predicted, snapshot, engine, rows, show_input, set_aside)


def predict_instance_status(
    instance: str, snapshot: InstanceSnapshot, state: RuntimeState | None, set_aside: QuarantineInfo | None
) -> PredictedStatus:
    requests = pending_items_for(instance, snapshot.pending)
    if set_aside is None:
        return predict_status(None if state is None else state.status, requests)
    return predict_status("Unknown" if state is None else state.status, items_for_quarantined(requests))


def predict_state(instance: str, snapshot: InstanceSnapshot, state: RuntimeState | None) -> RuntimeState | None:
    """Return the state that an instance has once its pending starts and purges are accepted; None if it won't exist."""
    predicted = predict_instance_status(instance, snapshot, state, None)
    if predicted.start is None:
        return state if predicted.status is not None else None
    message, item = predicted.start
    old = state.started if state is not None else ExecutionStarted(item.target, "", "")
    started = ExecutionStarted(
        item.target,
        "",
        item.name or old.name,
        item.input if item.name else old.input,
        item.version if item.name else old.version,
        start_at=item.start_at,
        held=True,
        tags=item.tags if item.name else old.tags,
    )
    return fold_history([Record(1, message.at, started)])


def _build_starting_status(
    predicted: PredictedStatus,
    start: PendingItem,
    snapshot: InstanceSnapshot,
    old: RuntimeState | None,
    engine: EngineStatus,
    history: bool,
    show_input: bool,
) -> DurableOrchestrationStatus:
    message, item = start
    return DurableOrchestrationStatus(
        instance_id=item.target,
        name=item.name or (old.started.name if old is not None else None),
        runtime_status=OrchestrationRuntimeStatus(predicted.status),
        created_time=message.at,
        last_updated_time=message.at,
        raw_input=(item.input or NULL) if show_input else NULL,
        history=[] if history else None,
        version=item.version,
        start_at=item.start_at,
        tags=item.tags if item.name or old is None else old.started.tags,
        requested=predicted.pending_kinds,
        unread_events=tuple(_find_posted_events(each for each in snapshot.pending if each.number > message.number)),
        ends=predicted.will_end,
        engine=engine,
    )


def _build_recorded_status(
    state: RuntimeState,
    records: Iterable[Record],
    predicted: PredictedStatus,
    snapshot: InstanceSnapshot,
    engine: EngineStatus,
    history: list[dict[str, Any]] | None,
    show_input: bool,
    set_aside: QuarantineInfo | None,
) -> DurableOrchestrationStatus:
    started, calls = state.started, CallTracker(records)
    is_current = predicted.status == state.status
    return DurableOrchestrationStatus(
        instance_id=state.instance,
        name=started.name,
        runtime_status=OrchestrationRuntimeStatus(predicted.status),
        created_time=state.created,
        last_updated_time=state.updated,
        raw_input=started.input if show_input else NULL,
        raw_output=_encode_output(state) if is_current else NULL,
        raw_custom_status=state.custom_status or NULL,
        history=history,
        version=started.version,
        execution=state.execution,
        parent_instance_id=started.parent.instance if started.parent else None,
        forked_from=started.forked_from,
        records=state.last_n,
        waiting_for=tuple(map(calls.explain_retry, pending_waits(state))),
        holds=_find_held_locks(state, records),
        blocked=None if state.blocked is None else BlockedInfo(state.blocked, state.blocked_at),
        set_aside=set_aside,
        suspended=_suspended_info(state),
        requested=predicted.pending_kinds,
        unread_events=_find_unread_events(state, records, snapshot.pending),
        ends=predicted.will_end,
        start_at=started.start_at,
        failure=make_report(state.failure) if is_current and state.failure is not None else None,
        task_failures=_find_task_failures(state, records),
        tags=started.tags,
        engine=engine,
        task_counts=calls.count(),
        is_remote=is_remote(records),
    )


_TASK_FAILED_EVENTS = frozenset((TaskFailed, SubOrchestrationInstanceFailed, EntityOperationFailed))


def _find_task_failures(state: RuntimeState, records: Iterable[Record]) -> tuple[TaskFailures, ...]:
    if state.end_status == "Completed" or not any(type(record.event) in _TASK_FAILED_EVENTS for record in records):
        return ()
    return group_task_failures(records)


def _find_unread_events(
    state: RuntimeState, records: Iterable[Record], messages: list[Message]
) -> tuple[UnreadEvent, ...]:
    """Return the events that a live instance has received and not read, in the order of arrival."""
    if state.ended:
        return ()
    unread = {} if is_remote(records) else dict(state.event_waits.unread_counts)
    held = {record.n for record in state.held}
    found: list[UnreadEvent] = []
    for record in reversed(list(records)):
        event = record.event
        if not isinstance(event, EventRaised):
            continue
        if record.n in held:
            found.append(UnreadEvent(event.name, record.at, "held"))
        elif unread.get(event.name.casefold()):
            unread[event.name.casefold()] -= 1
            found.append(UnreadEvent(event.name, record.at, "unread"))
    return (*reversed(found), *_find_posted_events(messages))


def _find_posted_events(messages: Iterable[Message]) -> Iterator[UnreadEvent]:
    for message in messages:
        for item in message.items if message.kind == "raise-event" else ():
            if item.name is not None:  # of thousands of events, only the first are read
                yield UnreadEvent(item.name, message.at, "posted")


def inactive_status(state: RuntimeState) -> str | None:
    """Return "suspended" or "blocked" if the instance can't proceed by itself."""
    if state.suspended is not None:
        return "suspended"
    return "blocked" if state.blocked is not None else None


def is_remote(records: Iterable[Record]) -> bool:
    """Whether the last turn ran on a worker, which alone knows the events that were read."""
    last = None
    for record in records:
        if isinstance(record.event, OrchestratorStarted):
            last = record.event
    return last is not None and last.time is not None


def _find_held_locks(state: RuntimeState, records: Iterable[Record]) -> tuple[HeldLocks, ...]:
    if not state.locks:
        return ()
    granted = {event.task: each.at for each in records if isinstance(event := each.event, EntityLockGranted)}
    return tuple(HeldLocks(request.entities, granted.get(n)) for n, request in state.locks.items())


def _suspended_info(state: RuntimeState) -> SuspendedInfo | None:
    if state.suspended is None:
        return None
    return SuspendedInfo(state.suspended, state.suspended_at, len(state.held))


def _encode_output(state: RuntimeState) -> Raw:
    if state.failure is not None:
        text = failure_text(state.failure)
        if state.failure_has_name_prefix:
            text = f"Orchestrator function '{state.started.name}' failed: {text}"
        return Raw(msgspec.json.encode(text))
    return state.result or NULL
