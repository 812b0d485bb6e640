"""The durable client of functions: Azure's methods, texts, statuses and links, sync and async."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
from durablecli.azure.client_binding import ClientBinding
from durablecli.azure.durabletask_types import EntityQuery, OrchestrationFailedError, OrchestrationQuery
from durablecli.azure.http_types import HttpRequest, HttpResponse
from durablecli.client import Client, polling
from durablecli.daemon.embedded_engine import embedded
from durablecli.errors import NotFound, TimedOut, UsageError, WrongState
from durablecli.management_links import BASE_PATH, ManagementEndpoint
from tests.support.waiting import wait_until

_REQUEST = HttpRequest("POST", "http://proxy.example:8080/api/start?x=1")


@df.orchestrator
def echo(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.orchestrator
def patient(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.wait_for_external_event("go"))


@df.orchestrator
def broken(context: df.DurableOrchestrationContext) -> Any:
    raise ValueError("no luck")


@df.entity
def counter(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(int) + (context.get_input() or 0))


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    with testing.hub(echo, patient, broken, counter) as hub:
        yield hub


@pytest.fixture
def client(hub: testing.TestEnvironment) -> SyncDurableFunctionsClient:
    return SyncDurableFunctionsClient(hub.client)


V1 = [
    "start_new",
    "get_status",
    "get_status_all",
    "get_status_by",
    "raise_event",
    "terminate",
    "suspend",
    "resume",
    "rewind",
    "restart",
    "purge_instance_history",
    "purge_instance_history_by",
    "read_entity_state",
    "signal_entity",
    "wait_for_completion_or_create_check_status_response",
]
V2 = [
    "schedule_new_orchestration",
    "get_orchestration_state",
    "get_orchestration_history",
    "list_instance_ids",
    "get_all_orchestration_states",
    "wait_for_orchestration_start",
    "wait_for_orchestration_completion",
    "raise_orchestration_event",
    "terminate_orchestration",
    "suspend_orchestration",
    "resume_orchestration",
    "rewind_orchestration",
    "restart_orchestration",
    "purge_orchestration",
    "purge_orchestrations_by",
    "get_entity",
    "get_all_entities",
    "clean_entity_storage",
]
LINKS = ["create_check_status_response", "create_http_management_payload", "get_client_response_links"]


@pytest.mark.parametrize("name", V1 + V2)
def test_both_clients_have_the_same_methods_and_parameters(name: str) -> None:
    sync, awaited = getattr(SyncDurableFunctionsClient, name), getattr(DurableFunctionsClient, name)
    assert not inspect.iscoroutinefunction(sync)
    assert inspect.iscoroutinefunction(awaited)
    assert list(inspect.signature(sync).parameters) == list(inspect.signature(awaited).parameters)


@pytest.mark.parametrize("name", LINKS)
def test_methods_that_only_make_links_are_not_awaited(name: str) -> None:
    assert getattr(SyncDurableFunctionsClient, name) is getattr(DurableFunctionsClient, name)
    assert not inspect.iscoroutinefunction(getattr(DurableFunctionsClient, name))


# Links.


def test_the_links_of_a_check_status_response_have_the_origin_of_the_request(
    client: SyncDurableFunctionsClient,
) -> None:
    response = client.create_check_status_response(_REQUEST, "a b")
    links = json.loads(response.get_body())
    here = f"http://proxy.example:8080{BASE_PATH}/instances/a%20b"
    assert links == {
        "id": "a b",
        "statusQueryGetUri": here,
        "sendEventPostUri": f"{here}/raiseEvent/{{eventName}}",
        "terminatePostUri": f"{here}/terminate?reason={{text}}",
        "rewindPostUri": f"{here}/rewind?reason={{text}}",
        "purgeHistoryDeleteUri": here,
        "restartPostUri": f"{here}/restart",
        "suspendPostUri": f"{here}/suspend?reason={{text}}",
        "resumePostUri": f"{here}/resume?reason={{text}}",
    }
    assert response.status_code == 202
    assert response.headers["location"] == here
    assert response.headers["Retry-After"] == "10"
    assert response.headers["content-type"] == "application/json"


def test_the_management_payload_takes_an_instance_with_or_without_a_request(
    client: SyncDurableFunctionsClient,
) -> None:
    alone = client.create_http_management_payload("a")
    assert (
        alone == client.create_http_management_payload(instance_id="a") == client.get_client_response_links(None, "a")
    )
    assert alone["statusQueryGetUri"] == f"http://127.0.0.1:7071{BASE_PATH}/instances/a"
    asked = client.create_http_management_payload(_REQUEST, "a", return_internal_server_error_on_failure=True)
    assert asked["statusQueryGetUri"].startswith("http://proxy.example:8080/")
    assert asked["statusQueryGetUri"].endswith("/a?returnInternalServerErrorOnFailure=true")
    assert isinstance(asked, dict)
    with pytest.raises(UsageError, match="needs an instance id"):
        client.create_http_management_payload(_REQUEST)


def test_links_carry_a_code_only_when_a_key_is_in_force(hub: testing.TestEnvironment) -> None:
    client = SyncDurableFunctionsClient(hub.client, endpoint=ManagementEndpoint("https://here", "a/b"))
    links = client.create_http_management_payload("a")
    assert links["statusQueryGetUri"] == f"https://here{BASE_PATH}/instances/a?code=a%2Fb"
    assert links["terminatePostUri"].endswith("/terminate?reason={text}&code=a%2Fb")
    assert "code" not in str(SyncDurableFunctionsClient(hub.client).create_http_management_payload("a"))


# Construction.


def test_a_client_can_be_made_from_a_binding_and_from_a_copy_of_its_text(tmp_path: Path) -> None:
    place = ManagementEndpoint("http://10.0.0.1:7071", "secret")
    with embedded(testing.build_registry(echo), tmp_path / "MyHub") as engine:
        binding = ClientBinding(engine, place)
        described = json.loads(binding)
        assert described["taskHubName"] == "MyHub"
        assert described["managementUrls"]["statusQueryGetUri"].endswith("/instances/INSTANCEID?code=secret")
        for context in (binding, str.__str__(binding)[:], SyncDurableFunctionsClient(binding)):
            made = DurableFunctionsClient(context, "invocation")
            assert made.endpoint == place
            instance = asyncio.run(made.start_new("echo", client_input=1))
            assert engine.wait(instance, 20).output == 1


@pytest.mark.parametrize("context", ["", "no json", "[]", "{}", '{"baseUrl": 1, "taskHubName": "x"}'])
def test_a_client_made_from_anything_else_is_an_error(context: str) -> None:
    with pytest.raises(UsageError, match="invalid client binding"):
        DurableFunctionsClient(context)


# v1: texts and statuses.


def test_errors_have_the_messages_that_apps_check(
    hub: testing.TestEnvironment, client: SyncDurableFunctionsClient
) -> None:
    with pytest.raises(NotFound, match=r"^No instance with ID x found\.$"):
        client.raise_event("x", "go", task_hub_name="any", connection_name="any")
    with pytest.raises(NotFound, match=r"^No instance with ID x found\.$"):
        client.rewind("x", "why", "any", "any")
    for call in (client.terminate, client.suspend, client.resume):
        with pytest.raises(NotFound, match=r"^No instance with ID 'x' found\.$"):
            call("x", "why")
    with pytest.raises(NotFound, match=r"^No instance with ID 'x' found\.$"):
        client.restart("x")
    ended = client.start_new("echo", "done")
    hub.finish(ended)
    with pytest.raises(WrongState, match=r"^Instance with ID done is gone: either completed or failed$"):
        client.raise_event(ended, "go")
    with pytest.raises(WrongState, match=r"^The rewind operation is only supported on failed orches.* instances\.$"):
        client.rewind(ended)
    with pytest.raises(ValueError, match=r"^event_name must be a non-empty string\.$"):
        client.raise_event(ended, "")


def test_terminating_suspending_or_resuming_an_ended_instance_is_no_error(
    hub: testing.TestEnvironment, client: SyncDurableFunctionsClient
) -> None:
    ended = client.start_new("echo", client_input="x")
    hub.finish(ended)
    for call in (client.terminate, client.suspend, client.resume):
        call(ended, "why")
    assert client.get_status(ended).output == "x"


def test_a_signal_takes_its_input_by_either_parameter_name(
    hub: testing.TestEnvironment, client: SyncDurableFunctionsClient
) -> None:
    entity = df.EntityId("counter", "a")
    client.signal_entity(entity, "add", 1, "any hub", "any connection")
    client.signal_entity(entity, "add", input=2)
    client.signal_entity(entity, "add", 0)
    hub.run()
    assert client.read_entity_state(entity, "any hub").entity_state == 3
    client.signal_entity(entity, "add", input=10, signal_time=hub.clock.now() + timedelta(hours=1))
    hub.run()
    found = client.get_entity(entity)
    assert found is not None
    assert (found.get_state(), found.get_state(int), found.includes_state) == (3, 3, True)
    assert [one.id for one in client.get_all_entities(EntityQuery(include_state=False))] == [entity]


@pytest.mark.parametrize(
    ("function", "given", "flag", "status", "body"),
    [
        ("echo", {"a": [1]}, False, 200, {"a": [1]}),
        ("echo", "plain text", False, 200, "plain text"),
        ("echo", None, False, 200, None),
        ("broken", None, False, 200, "Failed"),
        ("broken", None, True, 500, "Failed"),
        ("patient", None, False, 202, "x"),
    ],
)
@pytest.mark.parametrize("awaited", [False, True])
def test_waiting_for_completion_responds_with_the_outcome(
    tmp_path: Path, function: str, given: Any, flag: bool, status: int, body: Any, awaited: bool
) -> None:
    with embedded(testing.build_registry(echo, broken, patient), tmp_path) as engine:
        engine.start_new(function, "x", given)
        arguments = (_REQUEST, "x", 400 if status == 202 else 20_000, 50, flag)
        if awaited:
            waiting = DurableFunctionsClient(engine).wait_for_completion_or_create_check_status_response(*arguments)
            response = asyncio.run(waiting)
        else:
            sync = SyncDurableFunctionsClient(engine)
            response = sync.wait_for_completion_or_create_check_status_response(*arguments)
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/json"
    text = response.get_body().decode()
    if status == 202:
        assert json.loads(text)["id"] == body
    elif function == "broken":
        assert json.loads(text)["runtimeStatus"] == body
    else:
        assert (text if isinstance(body, str) else json.loads(text)) == body


@pytest.mark.parametrize("awaited", [False, True])
def test_waiting_beside_the_engine_reads_the_status_at_the_beginning_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> None:
    reads: list[str] = []
    get_status = Client.get_status

    def record_read(client: Client, instance_id: str) -> Any:
        status = get_status(client, instance_id)
        reads.append(instance_id)
        return status

    monkeypatch.setattr(Client, "get_status", record_read)
    monkeypatch.setattr(polling, "_RECHECK_INTERVAL", 600.0)
    with embedded(testing.build_registry(patient), tmp_path) as engine, ThreadPoolExecutor(1) as threads:
        engine.start_new("patient", "x")

        def wait() -> HttpResponse:
            arguments = (_REQUEST, "x", 600_000, 600_000)
            if not awaited:
                sync = SyncDurableFunctionsClient(engine)
                return sync.wait_for_completion_or_create_check_status_response(*arguments)
            return asyncio.run(
                DurableFunctionsClient(engine).wait_for_completion_or_create_check_status_response(*arguments)
            )

        response = threads.submit(wait)
        wait_until(lambda: reads)
        engine.raise_event("x", "go", 7)
        assert response.result(20).get_body() == b"7"
    assert reads == ["x", "x"]


def test_an_interval_longer_than_the_timeout_is_an_error(client: SyncDurableFunctionsClient) -> None:
    with pytest.raises(ValueError, match=r"^Total timeout 5 \(ms\) should be bigger than retry timeout 10 \(ms\)$"):
        client.wait_for_completion_or_create_check_status_response(_REQUEST, "x", 5, 10)


def test_waiting_for_an_unknown_instance_responds_at_once(client: SyncDurableFunctionsClient) -> None:
    assert client.wait_for_completion_or_create_check_status_response(_REQUEST, "x", 60_000).status_code == 202


# v2: the newer methods.


def test_the_newer_methods_do_the_same_as_the_older(
    hub: testing.TestEnvironment, client: SyncDurableFunctionsClient
) -> None:
    instance = client.schedule_new_orchestration(patient, input=1, instance_id="p", version="2", tags={"a": "b"})
    hub.run()
    assert client.get_orchestration_state("unknown") is None
    client.suspend_orchestration(instance, reason="wait")
    hub.run()
    client.resume_orchestration(instance)
    client.raise_orchestration_event(instance, "go", data=[1])
    hub.run()
    state = client.get_orchestration_state(instance)
    assert state is not None
    assert (state.get_input(), state.get_output(), state.get_custom_status()) == (1, [1], None)
    assert client.get_status(instance).tags == {"a": "b"}
    assert state.runtime_status is df.OrchestrationRuntimeStatus.Completed
    assert client.restart_orchestration(instance) == instance
    hub.run()
    client.terminate_orchestration(instance, output={"why": 1})
    hub.run()
    assert client.get_status(instance).output == '{"why": 1}'
    assert client.get_orchestration_history(instance)[0]["EventType"] == "ExecutionStarted"
    assert client.list_instance_ids().items == [instance]
    assert [one.instance_id for one in client.get_all_orchestration_states(OrchestrationQuery())] == [instance]
    assert client.purge_orchestration(instance).deleted_instance_count == 1
    assert client.purge_orchestrations_by().deleted_instance_count == 0
    with pytest.raises(UsageError, match="reuse_id_policy"):
        client.schedule_new_orchestration("echo", reuse_id_policy=object())


def test_the_state_of_a_failed_instance_has_its_failure_and_can_raise_it(
    hub: testing.TestEnvironment, client: SyncDurableFunctionsClient
) -> None:
    instance = client.start_new("broken")
    hub.finish(instance)
    state = client.get_orchestration_state(instance)
    assert state is not None
    assert state.get_output() is None
    with pytest.raises(OrchestrationFailedError, match="no luck"):
        state.raise_if_failed()
    client.rewind_orchestration(instance, reason="again")


def test_waiting_for_the_start_and_the_end_of_an_instance(tmp_path: Path) -> None:
    async def use(engine: df.Client) -> None:
        client = DurableFunctionsClient(engine)
        instance = await client.schedule_new_orchestration("patient")
        begun = await client.wait_for_orchestration_start(instance, timeout=20)
        assert begun is not None
        with pytest.raises(TimeoutError, match=instance):
            await client.wait_for_orchestration_completion(instance, timeout=0.02)
        with pytest.raises(TimedOut, match="is still Running"):
            await client.wait(instance, timedelta(milliseconds=20))
        with pytest.raises(NotFound):
            await client.wait("unknown", 5)
        await client.raise_event(instance, "go", 5)
        assert (await client.wait(instance)).output == 5
        ended = await client.wait_for_orchestration_completion(instance, timeout=20)
        assert ended is not None
        assert ended.get_output() == 5
        assert await client.wait_for_orchestration_completion("unknown") is None

    with embedded(testing.build_registry(patient), tmp_path) as engine:
        asyncio.run(use(engine))


def test_a_purge_without_a_lower_bound_means_all_time(
    hub: testing.TestEnvironment, client: SyncDurableFunctionsClient
) -> None:
    hub.finish(client.start_new("echo", "one"))
    assert client.purge_instance_history_by(created_time_to=testing.START - timedelta(days=1)).instances_deleted == 0
    assert (
        client.purge_instance_history_by(created_time_to=datetime.now(UTC) + timedelta(days=9)).instances_deleted == 1
    )
    hub.finish(client.start_new("echo", "two"))
    assert client.purge_orchestrations_by(runtime_status=["Failed"]).deleted_instance_count == 0
    assert client.purge_orchestrations_by().deleted_instance_count == 1
    hub.finish(client.start_new("echo", "three"))
    assert client.purge_instance_history_by().instances_deleted == 1
