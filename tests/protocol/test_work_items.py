"""Work items, as workers get them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec import Raw

from durablecli.model import events as ev
from durablecli.model.trace_context import TraceContext
from durablecli.protocol.completion_token import decode_token
from durablecli.protocol.values import execution_id
from durablecli.protocol.work_items import make_work_item
from durablecli.replay.remote_work import (
    ActivityKey,
    EntityBatchKey,
    ParentName,
    RemoteActivity,
    RemoteEntityBatch,
    RemoteOperation,
    RemoteTurn,
    TurnKey,
)
from durablecli.replay.runtime_state import fold_history

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_turn_says_what_was_applied_before_and_what_it_applies() -> None:
    started = ev.ExecutionStarted("i", "1", "o", held=True, parent=ev.Origin("p", "1", 9))
    records = [
        ev.Record(1, START, started),
        ev.Record(2, START, ev.OrchestratorStarted(1, START)),
        ev.Record(3, START, ev.TaskScheduled("a", id=0)),
        ev.Record(4, START, ev.TaskCompleted(3, Raw(b"1"), held=True)),
    ]
    state = fold_history(records)
    assert state.turns is not None
    key = TurnKey("i", "1", 4, 4, START + timedelta(seconds=5))
    item = make_work_item(RemoteTurn(key, started, tuple(state.turns), tuple(state.held), ParentName("po", 0)))
    assert decode_token(item.completionToken) == key
    request = item.orchestratorRequest
    assert (request.instanceId, request.executionId.value) == ("i", execution_id("i", "1"))
    past = [event.WhichOneof("eventType") for event in request.pastEvents]
    assert past == ["orchestratorStarted", "executionStarted", "taskScheduled"]
    new = [event.WhichOneof("eventType") for event in request.newEvents]
    assert new == ["orchestratorStarted", "taskCompleted"]
    assert request.newEvents[0].timestamp.ToDatetime(tzinfo=UTC) == key.time
    parent = request.pastEvents[1].executionStarted.parentInstance
    assert (parent.name.value, parent.taskScheduledId, parent.orchestrationInstance.instanceId) == ("po", 0, "p")
    assert request.HasField("entityParameters")


def test_a_turn_may_have_no_arrivals() -> None:
    """As after a rewind: the orchestrator decides anew what is no longer recorded."""
    started = ev.ExecutionStarted("i", "1", "o")
    request = make_work_item(RemoteTurn(TurnKey("i", "1", 0, 7, START), started, (), ())).orchestratorRequest
    assert [event.WhichOneof("eventType") for event in request.newEvents] == ["orchestratorStarted"]


def test_an_activity_has_the_id_of_its_call_or_else_its_number() -> None:
    key = ActivityKey("i", "1", 7)
    for id, expected in ((0, 0), (3, 3), (None, 7)):
        item = make_work_item(RemoteActivity(key, ev.TaskScheduled("a", Raw(b"[1]"), id=id, tags={"k": "v"}), "2"))
        assert decode_token(item.completionToken) == key
        request = item.activityRequest
        assert (request.name, request.version.value, request.input.value) == ("a", "2", "[1]")
        assert (request.taskId, dict(request.tags)) == (expected, {"k": "v"})
        assert request.orchestrationInstance.executionId.value == execution_id("i", "1")


def test_a_batch_has_the_state_and_its_operations_in_order() -> None:
    key = EntityBatchKey("@counter@a", "1", 5)
    operations = (RemoteOperation(4, "add", Raw(b"1"), False), RemoteOperation(5, "get", ev.NULL, True))
    item = make_work_item(RemoteEntityBatch(key, Raw(b"3"), operations))
    assert decode_token(item.completionToken) == key
    request = item.entityRequest
    assert (request.instanceId, request.entityState.value) == ("@counter@a", "3")
    assert [(each.operation, each.input.value) for each in request.operations] == [("add", "1"), ("get", "")]
    ids = {UUID(each.requestId) for each in request.operations}
    assert len(ids) == 2


def test_an_entity_without_a_state_has_none_on_the_wire() -> None:
    batch = RemoteEntityBatch(EntityBatchKey("@a@b", "1", 1), ev.ABSENT, ())
    assert not make_work_item(batch).entityRequest.HasField("entityState")


def test_calls_name_the_parent_of_their_span() -> None:
    trace = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1")
    key = ActivityKey("i", "1", 3)
    found = make_work_item(RemoteActivity(key, ev.TaskScheduled("a"), None, trace)).activityRequest.parentTraceContext
    assert (found.traceParent, found.spanID) == (trace.traceparent, "b7ad6b7169203331")
    assert found.traceState.value == "vendor=1"
    plain = make_work_item(RemoteActivity(key, ev.TaskScheduled("a"))).activityRequest
    assert not plain.HasField("parentTraceContext")
    operations = (RemoteOperation(4, "add", ev.NULL, False, trace), RemoteOperation(5, "add", ev.NULL, False))
    batch = RemoteEntityBatch(EntityBatchKey("@e@a", "1", 5), ev.ABSENT, operations)
    traced, other = make_work_item(batch).entityRequest.operations
    assert traced.traceContext.traceParent == trace.traceparent
    assert not other.HasField("traceContext")
