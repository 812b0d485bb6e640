"""Finds the call whose failure an instance has failed with, also in the sub-orchestrations below it."""

from __future__ import annotations

from durablecli.client import Client
from durablecli.client.task_failures import CALL_KINDS, FailableCall, find_failed_calls
from durablecli.errors import DurableError
from durablecli.model import events as ev
from durablecli.model.failure_report import make_cause
from durablecli.model.failures import Failure, iter_chain
from durablecli.model.hook_delivery import FailedCall, HookError, HookEvent, limit_text, make_head
from durablecli.model.redaction import redact_records

_MAX_DEPTH = 20


def find_failed_call(client: Client, event: HookEvent) -> FailedCall | None:
    """Find the call whose failure ended an execution; if the orchestrator raised an error of its own, the last call
    that failed before. None if no call failed, or the history is gone."""
    instance, execution = event.instance, event.execution
    found: FailedCall | None = None
    for _ in range(_MAX_DEPTH):
        records = _read_records(client, instance)
        if not records or not _is_of_execution(records, execution):
            return found
        one = _find_in_records(instance, records)
        if one is None:
            return found
        found = one
        if one.kind != "child" or one.target is None:
            return found
        instance, execution = one.target, ""
    return found


def _read_records(client: Client, instance: str) -> list[ev.Record]:
    try:
        return list(redact_records(client.get_history(instance)))
    except DurableError:
        return []  # purged, or damaged


def _is_of_execution(records: list[ev.Record], execution: str) -> bool:
    started = records[0].event
    return not execution or (isinstance(started, ev.ExecutionStarted) and started.execution == execution)


def _find_in_records(instance: str, records: list[ev.Record]) -> FailedCall | None:
    ends = [record.event for record in records if isinstance(record.event, ev.ExecutionCompleted)]
    chain = list(iter_chain(ends[-1].failure)) if ends and ends[-1].failure is not None else []
    texts = {(link.type, link.message) for link in chain}
    failed = list(find_failed_calls(records))
    ending = [one for one in failed if (one[2].type, one[2].message) in texts]
    chosen = ending or failed
    return _describe(instance, records, *chosen[-1]) if chosen else None


def _describe(instance: str, records: list[ev.Record], n: int, call: FailableCall, failure: Failure) -> FailedCall:
    cause = make_cause(failure)
    location = f"{cause.at.file}:{cause.at.line}" if cause.at is not None else None
    target: str | None = None
    label: str | None = None
    match call:
        case ev.TaskScheduled():
            label = call.label
        case ev.SubOrchestrationInstanceCreated():
            target, label = call.instance, call.label
        case ev.EntityOperationCalled():
            target = call.entity
    return FailedCall(
        CALL_KINDS[type(call)],
        call.name,
        instance,
        _count_attempts(records, n, call),
        label,
        target,
        make_head(call.input) if call.input else None,
        HookError(cause.type, limit_text(cause.message), location),
    )


def _count_attempts(records: list[ev.Record], n: int, call: FailableCall) -> int:
    first = getattr(call, "retry_of", None)
    if first is None:
        return 1
    return 1 + sum(
        1
        for record in records
        if record.n <= n
        and getattr(record.event, "retry_of", None) == first
        and not isinstance(record.event, ev.TimerCreated)
    )
