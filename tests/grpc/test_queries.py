"""Lists, purges, histories and entities, with the client of the SDK against a daemon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
from durabletask.client import EntityQuery, OrchestrationQuery, OrchestrationStatus, TaskHubGrpcClient
from durabletask.entities import EntityInstanceId

from durablecli.protocol.generated import pb
from tests.grpc.conftest import catch_error
from tests.support.waiting import wait_until

Status = OrchestrationStatus


def run_all(client: TaskHubGrpcClient, prefix: str, count: int) -> list[str]:
    ids = [f"{prefix}-{number}" for number in range(count)]
    for id in ids:
        client.schedule_new_orchestration("greeting", input="x" * 10, instance_id=id)
        client.wait_for_orchestration_completion(id, timeout=20)
    return ids


def test_a_list_is_filtered_and_paged(client: TaskHubGrpcClient) -> None:
    prefix, before = uuid4().hex, datetime.now(UTC)
    ids = run_all(client, prefix, 5)
    between = datetime.now(UTC)
    client.schedule_new_orchestration("waiter", instance_id=f"{prefix}-live")

    def find(**filters: Any) -> list[str]:
        found = client.get_all_orchestration_states(OrchestrationQuery(**filters))
        return [state.instance_id for state in found if state.instance_id.startswith(prefix)]

    assert find() == [*ids, f"{prefix}-live"]
    assert find(max_instance_count=2) == [*ids, f"{prefix}-live"]
    assert find(runtime_status=[Status.COMPLETED]) == ids
    assert find(runtime_status=[Status.RUNNING, Status.PENDING]) == [f"{prefix}-live"]
    assert find(created_time_from=before, created_time_to=between) == ids
    assert find(created_time_from=between) == [f"{prefix}-live"]
    query = pb.InstanceQuery(instanceIdPrefix={"value": prefix}, maxInstanceCount=4, fetchInputsAndOutputs=True)
    page = client._stub.QueryInstances(pb.QueryInstancesRequest(query=query))
    assert [state.instanceId for state in page.orchestrationState] == ids[:4]
    assert {state.input.value for state in page.orchestrationState} == {f'"{"x" * 10}"'}
    assert page.continuationToken.value


def test_a_page_has_as_many_payloads_as_a_client_accepts(client: TaskHubGrpcClient) -> None:
    prefix = uuid4().hex
    for number in range(3):
        client.schedule_new_orchestration("waiter", input="x" * 1_500_000, instance_id=f"{prefix}-{number}")
    query = OrchestrationQuery(fetch_inputs_and_outputs=True)
    found = client.get_all_orchestration_states(query)
    assert sum(state.instance_id.startswith(prefix) for state in found) == 3


def test_ids_are_listed_in_the_order_of_their_ends(client: TaskHubGrpcClient) -> None:
    before = datetime.now(UTC)
    ids = run_all(client, uuid4().hex, 5)
    after = datetime.now(UTC)
    client.schedule_new_orchestration("waiter")
    run_all(client, uuid4().hex, 1)
    found: list[str] = []
    token = None
    while True:
        page = client.list_instance_ids(
            completed_time_from=before, completed_time_to=after, page_size=2, continuation_token=token
        )
        found += page.items
        if (token := page.continuation_token) is None:
            break
        assert len(page.items) == 2
    assert found == ids
    assert client.list_instance_ids([Status.FAILED], before, after).items == []
    assert client.list_instance_ids([Status.RUNNING]).items == []


def test_a_history_is_told_in_chunks(client: TaskHubGrpcClient) -> None:
    (instance,) = run_all(client, uuid4().hex, 1)
    chunks = list(client._stub.StreamInstanceHistory(pb.StreamInstanceHistoryRequest(instanceId=instance)))
    kinds = [event.WhichOneof("eventType") for chunk in chunks for event in chunk.events]
    assert [kind for kind in kinds if kind != "orchestratorStarted"] == [
        "executionStarted",
        "taskScheduled",
        "taskCompleted",
        "executionCompleted",
    ]
    request = pb.StreamInstanceHistoryRequest(instanceId="nobody")
    code, _ = catch_error(lambda: list(client._stub.StreamInstanceHistory(request)))
    assert code is grpc.StatusCode.NOT_FOUND


# ── purge ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_has_ended_is_purged(client: TaskHubGrpcClient) -> None:
    one, two, three = run_all(client, uuid4().hex, 3)
    live = client.schedule_new_orchestration("waiter")
    client.wait_for_orchestration_start(live, timeout=20)
    assert client.purge_orchestration(one).deleted_instance_count == 1
    assert client.get_orchestration_state(one) is None
    for id in (one, live, "nobody"):
        assert client.purge_orchestration(id).deleted_instance_count == 0
    batch = pb.PurgeInstancesRequest(instanceBatch=pb.InstanceBatch(instanceIds=[one, two, three, live]))
    purged = client._stub.PurgeInstances(batch)
    assert (purged.deletedInstanceCount, purged.isComplete.value) == (2, True)
    assert client.get_orchestration_state(live) is not None


def test_a_filter_selects_what_is_purged(client: TaskHubGrpcClient) -> None:
    run_all(client, uuid4().hex, 1)
    before = datetime.now(UTC)
    ids = run_all(client, uuid4().hex, 2)
    live = client.schedule_new_orchestration("waiter")
    assert client.purge_orchestrations_by(before, runtime_status=[Status.RUNNING]).deleted_instance_count == 0
    assert client.purge_orchestrations_by(before, timeout=timedelta(microseconds=1)).is_complete is False
    assert client.purge_orchestrations_by(before, datetime.now(UTC)).deleted_instance_count == 2
    assert [client.get_orchestration_state(id) for id in ids] == [None, None]
    assert client.get_orchestration_state(live) is not None


def test_children_are_purged_if_it_is_asked_for(client: TaskHubGrpcClient) -> None:
    for recursive in (True, False):
        parent = client.schedule_new_orchestration("parent")
        client.wait_for_orchestration_start(f"{parent}-child", timeout=20)
        client.terminate_orchestration(parent, recursive=True)
        client.wait_for_orchestration_completion(parent, timeout=20)
        client.wait_for_orchestration_completion(f"{parent}-child", timeout=20)
        assert client.purge_orchestration(parent, recursive=recursive).deleted_instance_count == 1 + recursive
        assert (client.get_orchestration_state(f"{parent}-child") is None) is recursive


def test_the_history_of_a_child_tells_its_parent(client: TaskHubGrpcClient) -> None:
    parent = client.schedule_new_orchestration("parent")
    child = f"{parent}-child"
    client.wait_for_orchestration_start(child, timeout=20)

    def read_parent() -> tuple[str, str]:
        chunks = client._stub.StreamInstanceHistory(pb.StreamInstanceHistoryRequest(instanceId=child))
        told = next(iter(chunks)).events[1].executionStarted.parentInstance
        return told.name.value, told.orchestrationInstance.instanceId

    assert read_parent() == ("parent", parent)
    client.terminate_orchestration(parent, recursive=False)
    client.wait_for_orchestration_completion(parent, timeout=20)
    client.purge_orchestration(parent, recursive=False)
    assert read_parent() == ("", parent)


# ── entities ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_state(client: TaskHubGrpcClient, entity: EntityInstanceId) -> Any:
    found = client.get_entity(entity)
    return found and found.get_state()


def test_an_entity_is_signaled_and_read(client: TaskHubGrpcClient) -> None:
    entity = EntityInstanceId("Counter", uuid4().hex)
    assert client.get_entity(entity) is None
    client.signal_entity(entity, "add", input=3)
    wait_until(lambda: read_state(client, entity) == "3", description="a state")
    found = client.get_entity(entity, include_state=False)
    assert found is not None
    assert (str(found.id), found.backlog_queue_size, found.get_locked_by()) == (str(entity), 0, None)
    assert found.last_modified.timestamp() == pytest.approx(datetime.now().timestamp(), abs=30)  # noqa: DTZ005
    client.signal_entity(entity, "add", input=3, signal_time=datetime.now(UTC) + timedelta(seconds=0.7))
    assert read_state(client, entity) == "3"
    wait_until(lambda: read_state(client, entity) == "6", description="the scheduled operation")


def test_entities_are_listed_and_cleaned(client: TaskHubGrpcClient) -> None:
    mark = uuid4().hex
    entities = [EntityInstanceId("counter", f"{mark}-{number}") for number in range(3)]
    for entity in entities:
        client.signal_entity(entity, "add", input=1)
        wait_until(partial(read_state, client, entity), description="a state")

    def find(**filters: Any) -> list[str]:
        query = EntityQuery(instance_id_starts_with=f"@Counter@{mark}", **filters)
        return [found.id.key for found in client.get_all_entities(query)]

    assert find() == find(page_size=2) == [entity.key for entity in entities]
    assert find(last_modified_from=datetime.now(UTC)) == []
    client.signal_entity(entities[0], "delete")
    wait_until(lambda: client.get_entity(entities[0]) is None, description="deleted")
    assert find() == [entity.key for entity in entities[1:]]
    assert find(include_transient=True) == [entity.key for entity in entities]
    assert client.clean_entity_storage().empty_entities_removed >= 1
    assert find(include_transient=True) == [entity.key for entity in entities[1:]]
    assert client.clean_entity_storage().empty_entities_removed == 0
    purge = pb.PurgeInstancesRequest(instanceId=str(entities[1]))
    assert client._stub.PurgeInstances(purge).deletedInstanceCount == 1
    assert client._stub.PurgeInstances(purge).deletedInstanceCount == 0
    assert find() == [entities[2].key]


# ── input that can't be used, and the hub ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("QueryInstances", pb.QueryInstancesRequest(query={"continuationToken": {"value": "?"}})),
        ("QueryInstances", pb.QueryInstancesRequest(query={"runtimeStatus": [99]})),
        ("ListInstanceIds", pb.ListInstanceIdsRequest(lastInstanceKey={"value": "x"})),
        ("PurgeInstances", pb.PurgeInstancesRequest()),
        ("GetEntity", pb.GetEntityRequest(instanceId="nonsense")),
        ("SignalEntity", pb.SignalEntityRequest(instanceId="@x", name="add")),
        ("QueryEntities", pb.QueryEntitiesRequest(query={"continuationToken": {"value": "?"}})),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(client: TaskHubGrpcClient, method: str, request_: Any) -> None:
    code, text = catch_error(lambda: getattr(client._stub, method)(request_))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text
    assert "\n" not in text


def test_a_client_cannot_delete_the_hub(client: TaskHubGrpcClient) -> None:
    stub: Any = client._stub
    stub.CreateTaskHub(pb.CreateTaskHubRequest())
    for call in (
        lambda: stub.CreateTaskHub(pb.CreateTaskHubRequest(recreateIfExists=True)),
        lambda: stub.DeleteTaskHub(pb.DeleteTaskHubRequest()),
    ):
        code, text = catch_error(call)
        assert (code, "stop the daemon" in text) == (grpc.StatusCode.FAILED_PRECONDITION, True)
