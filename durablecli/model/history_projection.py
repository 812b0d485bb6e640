"""A history as the HTTP API of Durable Functions shows it (`showHistory=true`).

A scheduled task, or a called operation, is folded into the row of its outcome; one that has none yet stays as its own
row. Kinds that only durablecli has are left out. Entities are in the words of the Durable Task history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.codec import stamp
from durablecli.model.failures import Failure
from durablecli.model.payloads import displayable
from durablecli.model.redaction import redacted

_OURS = (
    ev.OrchestratorStarted,
    ev.EventAwaited,
    ev.EventWaitsChanged,
    ev.TimerCanceled,
    ev.CustomStatusSet,
    ev.ExecutionBlocked,
    ev.ExecutionUnblocked,
)
_SCHEDULED = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated, ev.EntityOperationCalled)
_COMPLETED = (ev.TaskCompleted, ev.SubOrchestrationInstanceCompleted, ev.EntityOperationCompleted)
_FAILED = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed, ev.EntityOperationFailed)
_OUTCOMES = _COMPLETED + _FAILED

_decode = msgspec.json.Decoder().decode


def _json(payload: Raw) -> Any:
    return _decode(displayable(payload))


def project_history(
    records: Iterable[ev.Record], *, results: bool = False, inputs: bool = False
) -> list[dict[str, Any]]:
    """The rows of a history, in its order; with `results` and `inputs` as parsed JSON where asked for."""
    records = list(redacted(records))
    return _Projection(records, results, inputs).rows(records)


class _Projection:
    def __init__(self, records: Sequence[ev.Record], results: bool, inputs: bool) -> None:
        self._results = results
        self._inputs = inputs
        self._decided = {record.n: record for record in records}
        self._answered = {record.event.task for record in records if isinstance(record.event, _OUTCOMES)}

    def rows(self, records: Sequence[ev.Record]) -> list[dict[str, Any]]:
        return [
            {"EventType": type(record.event).__name__, "Timestamp": stamp(record.at), **self._fields(record.event)}
            for record in records
            if not isinstance(record.event, _OURS)
            and not (isinstance(record.event, _SCHEDULED) and record.n in self._answered)
        ]

    def _fields(self, event: ev.AnyEvent) -> dict[str, Any]:
        match event:
            case ev.ExecutionStarted():
                start = {} if event.start_at is None else {"ScheduledStartTime": stamp(event.start_at)}
                return {"FunctionName": event.name, **start, **self._input(event.input)}
            case ev.TaskScheduled():
                return {"Name": event.name, **self._input(event.input)}
            case ev.SubOrchestrationInstanceCreated() | ev.EventSent():
                return {"Name": event.name, "InstanceId": event.instance, **self._input(event.input)}
            case ev.EventRaised():
                return {"Name": event.name, **self._input(event.input)}
            case ev.TaskCompleted():
                return {**self._scheduled(event.task), **self._result(event.result), **self._outputs(event.outputs)}
            case ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                return {**self._scheduled(event.task), **self._result(event.result)}
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                return {**self._scheduled(event.task), "FailureDetails": failure_details(event.failure)}
            case _:
                return self._fields_of_the_rest(event)

    def _fields_of_the_rest(self, event: ev.AnyEvent) -> dict[str, Any]:
        match event:
            case ev.TimerCreated():
                return {"FireAt": stamp(event.fire_at)}
            case ev.TimerFired():
                created = self._decided.get(event.timer)
                return self._fields_of_the_rest(created.event) if created else {}
            case ev.ExecutionSuspended() | ev.ExecutionResumed() | ev.ExecutionTerminated() | ev.ExecutionRewound():
                return {"Reason": event.reason}
            case ev.ContinueAsNew():
                return {"OrchestrationStatus": "ContinuedAsNew", **self._result(event.input)}
            case ev.ExecutionCompleted():
                return {"OrchestrationStatus": event.status, **self._end(event)}
            case _:
                return self._of_entities(event)

    def _of_entities(self, event: ev.AnyEvent) -> dict[str, Any]:
        match event:
            case ev.EntityOperationCalled():
                return {"InstanceId": event.entity, "Operation": event.name, **self._input(event.input)}
            case ev.EntityOperationSignaled():
                due = {} if event.scheduled_time is None else {"ScheduledTime": stamp(event.scheduled_time)}
                return {"InstanceId": event.entity, "Operation": event.name, **due, **self._input(event.input)}
            case ev.EntityLockRequested():
                return {"LockSet": list(event.entities)}
            case ev.EntityLockGranted():
                return self._lock_set(event.task)
            case ev.EntityUnlockSent():
                return self._lock_set(event.lock)
            case _:
                return {}

    def _lock_set(self, request: int) -> dict[str, Any]:
        decision = self._decided.get(request)
        return self._of_entities(decision.event) if decision else {}

    def _scheduled(self, task: int) -> dict[str, Any]:
        """What the row of an outcome takes over from its decision."""
        decision = self._decided.get(task)
        if decision is None or not isinstance(decision.event, _SCHEDULED):
            return {}
        event = decision.event
        if isinstance(event, ev.EntityOperationCalled):
            return {"ScheduledTime": stamp(decision.at), **self._of_entities(event)}
        child = {"InstanceId": event.instance} if isinstance(event, ev.SubOrchestrationInstanceCreated) else {}
        head = {"ScheduledTime": stamp(decision.at), "FunctionName": event.name}
        return {**head, **child, **self._input(event.input)}

    def _end(self, event: ev.ExecutionCompleted) -> dict[str, Any]:
        if event.failure is not None:
            return {"FailureDetails": failure_details(event.failure)}
        return self._result(event.result) if event.result else {}

    def _input(self, raw: msgspec.Raw) -> dict[str, Any]:
        return {"Input": _json(raw)} if self._inputs else {}

    def _outputs(self, outputs: Sequence[ev.Output]) -> dict[str, Any]:
        """The values set on output bindings; durablecli's own field, there only where such values are."""
        return {"Outputs": [self._output(each) for each in outputs]} if outputs else {}

    def _output(self, output: ev.Output) -> dict[str, Any]:
        value = {"Value": _json(output.value)} if self._results else {}
        size = {} if output.size is None else {"Size": output.size}
        return {"Name": output.name, "Type": output.type, "Status": output.status, **value, **size}

    def _result(self, raw: msgspec.Raw) -> dict[str, Any]:
        return {"Result": _json(raw)} if self._results else {}


def failure_details(failure: Failure) -> dict[str, Any]:
    """A failure in the words of the Durable Task history."""
    details: dict[str, Any] = {
        "ErrorType": failure.type,
        "ErrorMessage": failure.message,
        "StackTrace": failure.traceback or None,
    }
    if failure.attributes:
        details["Properties"] = _json(failure.attributes)
    if failure.cause is not None:
        details["InnerFailure"] = failure_details(failure.cause)
    return details
