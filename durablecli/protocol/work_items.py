"""Remote work as the work items that workers receive, with the completion token that an answer gives back."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value

from durablecli.protocol.completion_token import encode_token
from durablecli.protocol.generated import pb
from durablecli.protocol.history_translator import (
    HistoryTranslator,
    make_instance,
    make_orchestrator_started,
    make_trace,
)
from durablecli.protocol.values import execution_id, make_payload, make_text
from durablecli.replay.remote_work import RemoteActivity, RemoteEntityBatch, RemoteTurn, RemoteWork

__all__ = ["CONTINUES_PROPERTY", "SESSIONS_METADATA", "SESSION_PROPERTY", "execution_id", "make_work_item"]

SESSIONS_METADATA = "durablecli-sessions"
"""The header, with the value 1, by which a worker that asks for work says that it keeps sessions."""
SESSION_PROPERTY = "durablecli.session"
"""In a request to a worker that keeps sessions: it may keep the execution for the next turn."""
CONTINUES_PROPERTY = "durablecli.continues"
"""In a request whose history is left out: the token of the turn before it, which the worker has answered."""


def make_work_item(work: RemoteWork) -> pb.WorkItem:
    """Return the work item for a turn, an activity or a batch of entity operations."""
    token = encode_token(work.key)
    match work:
        case RemoteTurn():
            return pb.WorkItem(orchestratorRequest=_make_turn(work), completionToken=token)
        case RemoteActivity():
            return pb.WorkItem(activityRequest=_make_activity(work), completionToken=token)
        case RemoteEntityBatch():
            return pb.WorkItem(entityRequest=_make_entity_batch(work), completionToken=token)


def _make_turn(turn: RemoteTurn) -> pb.OrchestratorRequest:
    key = turn.key
    translator = HistoryTranslator(turn.started, turn.parent, turn.answered)
    past = list(translator.translate_turns(turn.past))
    new = [make_orchestrator_started(key.time)]
    for record in turn.arrivals:
        new += translator.translate_arrival(record)
    return pb.OrchestratorRequest(
        instanceId=key.instance,
        executionId=make_text(execution_id(key.instance, key.execution)),
        pastEvents=past,
        newEvents=new,
        entityParameters=pb.OrchestratorEntityParameters(entityMessageReorderWindow=Duration()),
        properties=_make_properties(turn),
    )


def _make_properties(turn: RemoteTurn) -> dict[str, Value]:
    """The properties for a worker that keeps sessions: it may keep this one, and which turn came before."""
    if not turn.keeps_session:
        return {}
    properties = {SESSION_PROPERTY: Value(bool_value=True)}
    if turn.previous is not None:
        properties[CONTINUES_PROPERTY] = Value(string_value=encode_token(turn.previous))
    return properties


def _make_activity(activity: RemoteActivity) -> pb.ActivityRequest:
    key, task = activity.key, activity.task
    return pb.ActivityRequest(
        name=task.name,
        version=make_text(activity.version),
        input=make_payload(task.input),
        orchestrationInstance=make_instance(key.instance, key.execution),
        taskId=key.n if task.id is None else task.id,
        tags=task.tags,
        parentTraceContext=make_trace(activity.trace),
    )


def _make_entity_batch(batch: RemoteEntityBatch) -> pb.EntityBatchRequest:
    key = batch.key
    operations = [
        pb.OperationRequest(
            operation=each.name,
            requestId=execution_id(f"{key.entity}/{each.n}", key.execution),  # some SDKs parse it as a UUID
            input=make_payload(each.input),
            traceContext=make_trace(each.trace),
        )
        for each in batch.operations
    ]
    return pb.EntityBatchRequest(instanceId=key.entity, entityState=make_payload(batch.state), operations=operations)
