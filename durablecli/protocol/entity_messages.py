"""Operations of an entity as another engine hands them to a worker, in the older and the newer form; their results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.boxed_text import from_text
from durablecli.protocol.generated import pb
from durablecli.protocol.values import field_payload, field_text, make_failure, make_payload, make_text, make_time


class ForeignOperation(NamedTuple):
    """One operation: its name and input."""

    name: str
    input: Raw


class EntityWork(NamedTuple):
    """Operations to run one after another. `infos` is what the newer form wants back with their results."""

    entity: str
    state: Raw
    operations: tuple[ForeignOperation, ...]
    infos: tuple[pb.OperationInfo, ...]


def read_entity_batch(request: pb.EntityBatchRequest) -> EntityWork:
    """Read a request in the older form."""
    operations = tuple(ForeignOperation(each.operation, field_payload(each, "input")) for each in request.operations)
    return EntityWork(request.instanceId, _read_state(request), operations, ())


def read_entity_request(request: pb.EntityRequest) -> EntityWork:
    """Read a request in the newer form, whose operations are events."""
    operations, infos = [], []
    for event in request.operationRequests:
        kind = event.WhichOneof("eventType")
        if kind not in ("entityOperationCalled", "entityOperationSignaled"):
            continue
        body = getattr(event, kind)
        operations.append(ForeignOperation(body.operation, field_payload(body, "input")))
        sender = None
        if kind == "entityOperationCalled":
            execution = make_text(field_text(body, "parentExecutionId"))
            sender = pb.OrchestrationInstance(instanceId=body.parentInstanceId.value, executionId=execution)
        infos.append(pb.OperationInfo(requestId=body.requestId, responseDestination=sender))
    return EntityWork(request.instanceId, _read_state(request), tuple(operations), tuple(infos))


def _read_state(request: pb.EntityBatchRequest | pb.EntityRequest) -> Raw:
    text = field_text(request, "entityState")
    return from_text(text) if text else ev.ABSENT


def make_entity_result(
    work: EntityWork,
    results: Iterable[ev.EntityOperationResult],
    state: Raw,
    signals: Iterable[ev.EntityOperationSignal],
    starts: Iterable[ev.EntityOperationStart],
    token: str,
) -> pb.EntityBatchResult:
    """Return the answer to a request: a result for each operation, the state if there is one, and what was sent."""
    made = pb.EntityBatchResult(completionToken=token, operationInfos=work.infos)
    if state:
        # A state of null is a state: no text would mean that there is none.
        made.entityState.CopyFrom(
            make_payload(state) or pb.EntityBatchResult(entityState={"value": "null"}).entityState
        )
    for result in results:
        if result.failure is not None:
            failed = pb.OperationResultFailure(failureDetails=make_failure(result.failure))
            made.results.add(failure=failed)
        else:
            made.results.add(success=pb.OperationResultSuccess(result=make_payload(result.result)))
    for signal in signals:
        sent = pb.SendSignalAction(
            instanceId=signal.entity,
            name=signal.name,
            input=make_payload(signal.input),
            scheduledTime=make_time(signal.scheduled_time),
        )
        made.actions.add(id=len(made.actions), sendSignal=sent)
    for start in starts:
        begun = pb.StartNewOrchestrationAction(
            instanceId=start.instance,
            name=start.name,
            input=make_payload(start.input),
            version=make_text(start.version),
        )
        made.actions.add(id=len(made.actions), startNewOrchestration=begun)
    return made
