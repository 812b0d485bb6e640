"""The client of another engine as a Python object: a wait over a restart, and what a status takes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from durablecli.client import HubClient, MessageItem, Query
from durablecli.dts.engine_client import EngineClient, open_engine_client
from durablecli.dts.statuses import to_entity_row, to_entity_status, to_row, to_status
from durablecli.errors import Conflict, EngineUnavailable, NotFound, TimedOut, UsageError, WrongState
from durablecli.model.status import OrchestrationRuntimeStatus
from durablecli.protocol.generated import pb
from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.ports import find_free_port

T0 = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
APP = """
import durablecli as df


@df.orchestrator
def approval(context):
    return (yield context.wait_for_external_event("Approved"))


@df.orchestrator
def echo(context):
    return context.get_input()
"""


class Engine:
    """A daemon with gRPC on a port of its own, which can be killed and started again, and a client of it."""

    def __init__(self, folder: Path) -> None:
        (folder / "app.py").write_text(APP)
        self._hub = CliHarness(folder)
        self._port = find_free_port()
        self.daemon = self.start()
        self.client = open_engine_client(f"dts://127.0.0.1:{self._port}")

    def start(self) -> DurableProcess:
        self.daemon = self._hub.start("run-daemon", "--app", "app.py", "--grpc", str(self._port))
        self.daemon.wait_for_output("listening for gRPC on ")
        return self.daemon

    def close(self) -> None:
        self.client.close()
        self._hub.close()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(engine: Engine) -> EngineClient:
    return engine.client


def test_a_wait_goes_on_over_a_restart_of_the_engine(engine: Engine, client: EngineClient) -> None:
    client.start_new("approval", "a")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.wait, "a", 60)
        with pytest.raises(TimedOut):
            client.wait("a", 0.3)
        engine.daemon.kill()
        with pytest.raises(EngineUnavailable, match=r"^cannot reach 127\.0\.0\.1:\d+: "):
            client.raise_event("a", "Approved", 1)
        engine.start()
        client.raise_event("a", "Approved", 2)
        assert waiting.result(60).output == 2


def test_the_methods_of_a_client_are_those_of_a_hub_in_files(client: EngineClient) -> None:
    hub: HubClient = client
    tags = {"customer": "42"}
    assert hub.start_new("echo", "a", {"x": [1]}, "1.0", tags=tags) == "a"
    status = hub.wait("a", 20)
    assert (status.output, status.input_, status.version, status.tags) == ({"x": [1]}, {"x": [1]}, "1.0", tags)
    with_history = hub.get_status("a", show_history=True, show_history_output=True)
    assert [row["EventType"] for row in with_history.history or ()] == ["ExecutionStarted", "ExecutionCompleted"]
    with pytest.raises(Conflict, match="instance id 'a' already exists and is Completed"):
        hub.start_new("echo", "a", if_exists="fail")
    assert hub.start_new("echo", "a", 7) == "a"  # replaces an ended one
    assert hub.wait("a", 20).output == 7
    hub.start_new("approval", "b")
    with pytest.raises(Conflict):
        hub.start_new("approval", "b")
    client.suspend("b", "lunch")
    with pytest.raises(WrongState, match="b is Suspended: terminate it first"):
        client.purge_instance_history("b")
    client.resume("b")
    client.terminate("b", "no use")
    assert hub.wait("b", 20).output == "no use"
    assert {status.instance_id for status in client.get_status_all()} == {"a", "b"}
    assert [status.instance_id for status in client.get_status_by(runtime_status=["Terminated"])] == ["b"]
    assert sorted(hub.iter_ids(Query(prefix="a"))) == ["a"]
    assert client.purge_instance_history("nobody").instances_deleted == 0
    assert client.purge_instance_history_by(created_time_to=T0).instances_deleted == 0
    assert (
        client.purge_instance_history_by(runtime_status=[OrchestrationRuntimeStatus.Completed]).instances_deleted == 1
    )
    assert client.purge_instance_history("b").instances_deleted == 1
    with pytest.raises(NotFound):
        hub.wait("b")


def test_a_batch_that_fails_says_what_was_started(client: EngineClient, monkeypatch: pytest.MonkeyPatch) -> None:
    start = client.start_new
    started: list[str] = []

    def start_once(*arguments: object, **options: object) -> str:
        if started:
            raise EngineUnavailable("cannot reach it")
        started.append(start(*arguments, **options))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(client, "start_new", start_once)
    with pytest.raises(EngineUnavailable) as raised:
        client.start_many("echo", [1, 2, 3])
    batch = started[0].removesuffix("-0")
    assert str(raised.value) == f"cannot reach it; 1 of 3 instances were started, with the ids {batch}-…"


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.engine(),
        lambda client: client.children(["a"]),
        lambda client: client.live_history("a"),
        lambda client: client.rewind_preview("a"),
        lambda client: client.check_entity_allowed("delete", MessageItem("@a@b")),
        lambda client: client.purge_entities(["@a@b"]),
    ],
)
def test_what_only_a_hub_in_files_knows_is_refused(
    client: EngineClient, call: Callable[[EngineClient], object]
) -> None:
    with pytest.raises(UsageError, match=r"^the Durable Task protocol can't "):
        call(client)


# ── statuses ───────────────────────────────────────────────────────────────────────────────────────────────────────


def stamp(seconds: float) -> Timestamp:
    made = Timestamp()
    made.FromDatetime((T0 + timedelta(seconds=seconds)).replace(tzinfo=None))
    return made


def text(value: str) -> StringValue:
    return StringValue(value=value)


def test_a_status_takes_over_all_fields() -> None:
    state = pb.OrchestrationState(
        instanceId="a",
        name="tour",
        version=text("2"),
        orchestrationStatus=pb.ORCHESTRATION_STATUS_SUSPENDED,
        scheduledStartTimestamp=stamp(1),
        createdTimestamp=stamp(2),
        lastUpdatedTimestamp=stamp(3),
        input=text("plain words"),
        customStatus=text("half way"),
        executionId=text("e"),
        parentInstanceId=text("p"),
        tags={"k": "v"},
    )
    status = to_status(state)
    assert status.partial
    assert (status.status_name, status.name, status.version, status.execution) == ("Suspended", "tour", "2", "e")
    assert (status.parent_instance_id, status.tags) == ("p", {"k": "v"})
    assert [status.start_at, status.created_time, status.last_updated_time] == [
        T0 + timedelta(seconds=seconds) for seconds in (1, 2, 3)
    ]
    assert (status.input_, status.custom_status, status.output) == ("plain words", "half way", None)
    assert to_status(state, show_input=False).input_ is None
    row = to_row(state)
    assert (row.id, row.status, row.parent, row.version, row.created) == (
        "a", "Suspended", "p", "2", T0 + timedelta(seconds=2),
    )  # fmt: skip


def test_an_unknown_status_number_is_shown_as_running() -> None:
    assert to_status(pb.OrchestrationState(instanceId="a", orchestrationStatus=99)).status_name == "Running"  # type: ignore[arg-type]


def test_a_failure_is_the_output_of_a_failed_instance() -> None:
    details = pb.TaskFailureDetails(
        errorType="ValueError",
        errorMessage="bad",
        innerFailure=pb.TaskFailureDetails(errorType="KeyError", errorMessage="'x'"),
    )
    failed = pb.ORCHESTRATION_STATUS_FAILED
    status = to_status(pb.OrchestrationState(instanceId="a", orchestrationStatus=failed, failureDetails=details))
    assert status.output == "ValueError: bad"
    assert status.failure is not None
    assert [cause.text for cause in status.failure.causes] == ["KeyError: 'x'"]


def test_an_entity_has_its_state_holder_and_backlog() -> None:
    found = pb.EntityMetadata(
        instanceId="@counter@k",
        lastModifiedTime=stamp(1),
        backlogQueueSize=3,
        lockedBy=text("holder"),
        serializedState=text('{"n": 1}'),
    )
    status = to_entity_status(found)
    assert status.payload() == {
        "entityId": "@counter@k",
        "name": "counter",
        "key": "k",
        "exists": True,
        "state": status.raw_state,
        "lastUpdatedTime": "2026-01-02T03:04:06Z",
        "lockedBy": {"instanceId": "holder"},
        "backlog": 3,
    }
    assert status.state == {"n": 1}
    row = to_entity_row(found)
    assert (row.id, row.name, row.status, row.locked_by, row.queued) == (
        "@counter@k", "counter", "Exists", "holder", 3,
    )  # fmt: skip
    assert to_entity_row(pb.EntityMetadata(instanceId="@counter@k")).status == "Empty"
