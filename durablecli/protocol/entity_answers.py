"""The answer of a worker to a batch of entity operations."""

from __future__ import annotations

from durablecli.errors import UsageError
from durablecli.model import events as ev
from durablecli.model.validation import check_one_line_name, check_operation_name
from durablecli.protocol.answer_fields import (
    read_entity_id,
    read_failure,
    read_instance_id,
    read_time,
    read_version,
)
from durablecli.protocol.generated import pb
from durablecli.protocol.values import field_payload
from durablecli.replay.remote_work import EntityBatchAnswer, EntityBatchKey, OperationAnswer


def read_entity_answer(result: pb.EntityBatchResult, key: EntityBatchKey) -> EntityBatchAnswer:
    """Return the results of the operations, the new state, and what they have sent.

    An orchestration that is started without an id has the empty one: the engine makes it.
    """
    signals: list[ev.EntityOperationSignal] = []
    starts: list[ev.EntityOperationStart] = []
    for action in result.actions:
        match action.WhichOneof("operationActionType"):
            case "sendSignal":
                signals.append(_read_signal(action.sendSignal))
            case "startNewOrchestration":
                starts.append(_read_start(action.startNewOrchestration))
            case _:
                raise UsageError("an action of an entity has no type, or one that this version doesn't know")
    return EntityBatchAnswer(
        key,
        tuple(map(_read_result, result.results)),
        field_payload(result, "entityState") if result.HasField("entityState") else ev.ABSENT,
        tuple(signals),
        tuple(starts),
        read_failure(result.failureDetails) if result.HasField("failureDetails") else None,
    )


def _read_result(result: pb.OperationResult) -> OperationAnswer:
    match result.WhichOneof("resultType"):
        case "success":
            # the Python SDK sends an empty text where an operation returns nothing
            return OperationAnswer(field_payload(result.success, "result") if result.success.result.value else ev.NULL)
        case "failure":
            return OperationAnswer(failure=read_failure(result.failure.failureDetails))
        case _:
            raise UsageError("the result of an operation is neither a success nor a failure")


def _read_signal(action: pb.SendSignalAction) -> ev.EntityOperationSignal:
    return ev.EntityOperationSignal(
        read_entity_id(action.instanceId),
        check_operation_name(action.name),
        field_payload(action, "input"),
        read_time(action, "scheduledTime", "the time of a signal"),
    )


def _read_start(action: pb.StartNewOrchestrationAction) -> ev.EntityOperationStart:
    return ev.EntityOperationStart(
        read_instance_id(action.instanceId) if action.instanceId else "",
        check_one_line_name(action.name, "an orchestrator"),
        field_payload(action, "input"),
        read_version(action),
        start_at=read_time(action, "scheduledTime", "the time of a start"),
    )
