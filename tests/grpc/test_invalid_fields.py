"""Fields that hold what no value of ours can: the client is told so, and nothing is an error of the server."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from durabletask.client import TaskHubGrpcClient
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from durablecli.protocol.generated import pb
from tests.grpc.conftest import catch_error

TOO_LATE, NEGATIVE = Timestamp(seconds=10**15), Timestamp(nanos=-1)
FIRST = Timestamp(seconds=-62135596800)


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("StartInstance", pb.CreateInstanceRequest(name="greeting", scheduledStartTimestamp=TOO_LATE)),
        ("SignalEntity", pb.SignalEntityRequest(instanceId="@counter@x", name="add", scheduledTime=NEGATIVE)),
        ("QueryInstances", pb.QueryInstancesRequest(query=pb.InstanceQuery(createdTimeFrom=TOO_LATE))),
        ("QueryEntities", pb.QueryEntitiesRequest(query=pb.EntityQuery(lastModifiedTo=NEGATIVE))),
        ("ListInstanceIds", pb.ListInstanceIdsRequest(completedTimeTo=TOO_LATE)),
        (
            "PurgeInstances",
            pb.PurgeInstancesRequest(purgeInstanceFilter=pb.PurgeInstanceFilter(createdTimeTo=TOO_LATE)),
        ),
    ],
)
def test_a_time_that_is_none_is_refused(client: TaskHubGrpcClient, method: str, request_message: Any) -> None:
    code, text = catch_error(lambda: getattr(client._stub, method)(request_message))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "must lie between the years 1 and 9999" in text


def test_the_first_time_of_all_is_before_everything(client: TaskHubGrpcClient) -> None:
    query = pb.InstanceQuery(createdTimeTo=FIRST)
    assert not client._stub.QueryInstances(pb.QueryInstancesRequest(query=query)).orchestrationState


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63)])
def test_a_purge_may_have_any_timeout(client: TaskHubGrpcClient, seconds: int) -> None:
    given = pb.PurgeInstanceFilter(createdTimeTo=FIRST, timeout=Duration(seconds=seconds))
    answer = client._stub.PurgeInstances(pb.PurgeInstancesRequest(purgeInstanceFilter=given))
    assert answer.deletedInstanceCount == 0


@pytest.mark.parametrize("method", ["GetInstance", "WaitForInstanceStart", "WaitForInstanceCompletion"])
def test_an_entity_is_no_instance(client: TaskHubGrpcClient, method: str) -> None:
    client._stub.SignalEntity(pb.SignalEntityRequest(instanceId="@counter@x", name="add"))
    answer = getattr(client._stub, method)(pb.GetInstanceRequest(instanceId="@counter@x"))
    assert not answer.exists
