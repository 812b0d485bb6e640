"""A history as the HTTP API of Durable Functions shows it (`showHistory=true`).

A scheduled task, or a called operation, is merged into the row of its outcome; without an outcome it is a row of its
own. Kinds that only durablecli has are left out. Entities use the terms of the Durable Task history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.binding_output import BindingOutput
from durablecli.model.codec import format_timestamp
from durablecli.model.failures import Failure
from durablecli.model.json_codec import decode_json
from durablecli.model.payloads import to_displayable
from durablecli.model.redaction import redact_records

_INTERNAL_EVENTS = (
    ev.OrchestratorStarted,
    ev.EventAwaited,
    ev.EventWaitsChanged,
    ev.TimerCanceled,
    ev.TaskCanceled,
    ev.CustomStatusSet,
    ev.ExecutionBlocked,
    ev.ExecutionUnblocked,
)
_SCHEDULED_EVENTS = (ev.TaskScheduled, ev.SubOrchestrationInstanceCreated, ev.EntityOperationCalled)
_COMPLETED_EVENTS = (ev.TaskCompleted, ev.SubOrchestrationInstanceCompleted, ev.EntityOperationCompleted)
_FAILED_EVENTS = (ev.TaskFailed, ev.SubOrchestrationInstanceFailed, ev.EntityOperationFailed)
_OUTCOME_EVENTS = _COMPLETED_EVENTS + _FAILED_EVENTS


def _payload_to_json(payload: Raw) -> Any:
    return decode_json(to_displayable(payload))


def project_history(
    records: Iterable[ev.Record], *, results: bool = False, inputs: bool = False
) -> list[dict[str, Any]]:
    """Return the rows of a history in order, with results and inputs as parsed JSON if asked for."""
    records = list(redact_records(records))
    return _HistoryProjection(records, results, inputs).rows(records)


class _HistoryProjection:
    def __init__(self, records: Sequence[ev.Record], results: bool, inputs: bool) -> None:
        self._show_results = results
        self._show_inputs = inputs
        self._records_by_n = {record.n: record for record in records}
        self._tasks_with_outcome = {
            record.event.task for record in records if isinstance(record.event, _OUTCOME_EVENTS)
        }

    def rows(self, records: Sequence[ev.Record]) -> list[dict[str, Any]]:
        return [
            {
                "EventType": type(record.event).__name__,
                "Timestamp": format_timestamp(record.at),
                **self._fields(record.event),
            }
            for record in records
            if not isinstance(record.event, _INTERNAL_EVENTS)
            and not (isinstance(record.event, _SCHEDULED_EVENTS) and record.n in self._tasks_with_outcome)
        ]

    def _fields(self, event: ev.AnyEvent) -> dict[str, Any]:
        match event:
            case ev.ExecutionStarted():
                start = {} if event.start_at is None else {"ScheduledStartTime": format_timestamp(event.start_at)}
                return {"FunctionName": event.name, **start, **self._input_field(event.input)}
            case ev.TaskScheduled():
                return {"Name": event.name, **_label_field(event.label), **self._input_field(event.input)}
            case ev.SubOrchestrationInstanceCreated():
                label = _label_field(event.label)
                return {"Name": event.name, "InstanceId": event.instance, **label, **self._input_field(event.input)}
            case ev.EventSent():
                return {"Name": event.name, "InstanceId": event.instance, **self._input_field(event.input)}
            case ev.EventRaised():
                return {"Name": event.name, **self._input_field(event.input)}
            case ev.TaskCompleted():
                return {
                    **self._decision_fields(event.task),
                    **self._result_field(event.result),
                    **self._outputs_field(event.outputs),
                }
            case ev.SubOrchestrationInstanceCompleted() | ev.EntityOperationCompleted():
                return {**self._decision_fields(event.task), **self._result_field(event.result)}
            case ev.TaskFailed() | ev.SubOrchestrationInstanceFailed() | ev.EntityOperationFailed():
                return {**self._decision_fields(event.task), "FailureDetails": failure_details(event.failure)}
            case _:
                return self._other_fields(event)

    def _other_fields(self, event: ev.AnyEvent) -> dict[str, Any]:
        match event:
            case ev.TimerCreated():
                return {"FireAt": format_timestamp(event.fire_at)}
            case ev.TimerFired():
                created = self._records_by_n.get(event.timer)
                return self._other_fields(created.event) if created else {}
            case ev.ExecutionSuspended() | ev.ExecutionResumed() | ev.ExecutionTerminated() | ev.ExecutionRewound():
                return {"Reason": event.reason}
            case ev.ContinueAsNew():
                return {"OrchestrationStatus": "ContinuedAsNew", **self._result_field(event.input)}
            case ev.ExecutionCompleted():
                return {"OrchestrationStatus": event.status, **self._end_fields(event)}
            case _:
                return self._entity_fields(event)

    def _entity_fields(self, event: ev.AnyEvent) -> dict[str, Any]:
        match event:
            case ev.EntityOperationCalled():
                return {"InstanceId": event.entity, "Operation": event.name, **self._input_field(event.input)}
            case ev.EntityOperationSignaled():
                due = {} if event.scheduled_time is None else {"ScheduledTime": format_timestamp(event.scheduled_time)}
                return {"InstanceId": event.entity, "Operation": event.name, **due, **self._input_field(event.input)}
            case ev.EntityLockRequested():
                return {"LockSet": list(event.entities)}
            case ev.EntityLockGranted():
                return self._lock_set(event.task)
            case ev.EntityUnlockSent():
                return self._lock_set(event.lock)
            case _:
                return {}

    def _lock_set(self, request: int) -> dict[str, Any]:
        decision = self._records_by_n.get(request)
        return self._entity_fields(decision.event) if decision else {}

    def _decision_fields(self, task: int) -> dict[str, Any]:
        """The fields that the row of an outcome takes from its decision."""
        decision = self._records_by_n.get(task)
        if decision is None or not isinstance(decision.event, _SCHEDULED_EVENTS):
            return {}
        event = decision.event
        if isinstance(event, ev.EntityOperationCalled):
            return {"ScheduledTime": format_timestamp(decision.at), **self._entity_fields(event)}
        child = {"InstanceId": event.instance} if isinstance(event, ev.SubOrchestrationInstanceCreated) else {}
        head = {"ScheduledTime": format_timestamp(decision.at), "FunctionName": event.name}
        return {**head, **child, **_label_field(event.label), **self._input_field(event.input)}

    def _end_fields(self, event: ev.ExecutionCompleted) -> dict[str, Any]:
        if event.failure is not None:
            return {"FailureDetails": failure_details(event.failure)}
        return self._result_field(event.result) if event.result else {}

    def _input_field(self, raw: msgspec.Raw) -> dict[str, Any]:
        return {"Input": _payload_to_json(raw)} if self._show_inputs else {}

    def _outputs_field(self, outputs: Sequence[BindingOutput]) -> dict[str, Any]:
        """The values set on output bindings, if any: a field that only durablecli has."""
        return {"Outputs": [self._binding_output(each) for each in outputs]} if outputs else {}

    def _binding_output(self, output: BindingOutput) -> dict[str, Any]:
        value = {"Value": _payload_to_json(output.value)} if self._show_results else {}
        size = {} if output.size is None else {"Size": output.size}
        return {"Name": output.name, "Type": output.type, "Status": output.status, **value, **size}

    def _result_field(self, raw: msgspec.Raw) -> dict[str, Any]:
        return {"Result": _payload_to_json(raw)} if self._show_results else {}


def _label_field(label: str | None) -> dict[str, Any]:
    """The name that the orchestrator gave to a call, if any: a field that only durablecli has."""
    return {"Label": label} if label else {}


def failure_details(failure: Failure) -> dict[str, Any]:
    """Return a failure in the terms of the Durable Task history."""
    details: dict[str, Any] = {
        "ErrorType": failure.type,
        "ErrorMessage": failure.message,
        "StackTrace": failure.traceback or None,
    }
    if failure.attributes:
        details["Properties"] = _payload_to_json(failure.attributes)
    if failure.cause is not None:
        details["InnerFailure"] = failure_details(failure.cause)
    return details
