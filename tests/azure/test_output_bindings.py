"""Bindings: parameters receive their values; the values set on outputs are recorded and not sent."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

import durablecli as df
from durablecli import testing
from durablecli.apps.load import load_targets, unload
from durablecli.azure.activities import inject_clients
from durablecli.azure.functions import CloudEvent, Document, Out, QueueMessage
from durablecli.azure.invocation import ClientProvider
from durablecli.azure.output_bindings import MAX_VALUE_BYTES
from durablecli.bindings import CloudTrigger, get_bindings
from durablecli.builtin import timer_functions, timer_starts
from durablecli.cli.history_rows import HistoryFormatter
from durablecli.engine.workers.worker_process import WorkerResponse
from durablecli.http.function_routes import build_routes
from durablecli.model import events as ev
from durablecli.model.binding_output import BindingOutput
from durablecli.registry import Registry
from durablecli.serving.api_keys import ApiKeys

APPS = Path(__file__).parent / "apps"
ORDER = {"id": "o1", "email": "ann@example.com"}


@pytest.fixture(autouse=True)
def unloaded() -> Iterator[None]:
    yield
    unload()


@pytest.fixture
def newer() -> Iterator[testing.TestEnvironment]:
    with load_hub("bindings_v2") as hub:
        yield hub


@pytest.fixture
def older() -> Iterator[testing.TestEnvironment]:
    with load_hub("bindings_v1") as hub:
        yield hub


def load_hub(name: str) -> testing.TestEnvironment:
    loaded = load_targets([name], APPS)
    assert [module for module in loaded.modules if module.error] == []
    hub = testing.hub(loaded.registry)
    inject_clients(loaded.registry, lambda: ClientProvider(hub.client))
    return hub


def post(hub: testing.TestEnvironment, path: str, body: object = None) -> httpx.Response:
    served = Starlette(routes=build_routes(hub.registry, hub.client, ApiKeys()))

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(served, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request("POST", path, content=b"" if body is None else json.dumps(body))

    return asyncio.run(send())


def read_outputs(hub: testing.TestEnvironment, instance: str) -> dict[str, tuple[str, Any]]:
    """The types and values of all outputs of an instance, by name."""
    found = [
        each
        for record in hub.client.get_history(instance)
        if isinstance(record.event, ev.TaskCompleted)
        for each in record.event.outputs
    ]
    assert {each.status for each in found} <= {"not sent"}
    return {each.name: (each.type, msgspec.json.decode(each.value)) for each in found}


def run_to_completion(hub: testing.TestEnvironment, name: str, given: object) -> tuple[str, Any]:
    instance = hub.client.start_new(name, client_input=given)
    status = hub.finish(instance)
    assert status.runtime_status is df.OrchestrationRuntimeStatus.Completed, status.output
    return instance, status.output


# Outputs of activities.


def test_an_activity_receives_its_bindings_and_its_outputs_are_recorded(newer: testing.TestEnvironment) -> None:
    instance, output = run_to_completion(newer, "order_orchestrator", ORDER)
    assert output == {
        "receipt": "receipt for o1",
        "sent": "notify ann@example.com",
        "stored": 7,
        "routed": "route o1",
    }
    found = read_outputs(newer, instance)
    assert list(found)[3:] == ["documents", "event", "bus", "topic", "grid", "row", "picture", "$return"]
    assert found == {
        "receipt": ("blob", "receipt for o1"),
        "message": ("sendGrid", '{"personalizations": [{"to": [{"email": "ann@example.com"}]}]}'),
        "sms": ("twilioSms", '{"body": "on its way", "to": "+1"}'),
        "documents": ("cosmosDB", [{"id": "o1"}]),
        "event": ("eventHub", "second"),
        "bus": ("serviceBus", json.dumps(ORDER)),
        "topic": ("serviceBus", ["a", "b"]),
        "grid": (
            "eventGrid",
            {"id": "1", "data": {"a": 1}, "subject": "s", "event_type": "t", "data_version": "1.0"},
        ),
        "row": ("table", '{"RowKey": "o1"}'),
        "picture": ("blob", "iVBORw=="),
        "$return": ("queue", "route o1"),
    }


def test_function_json_binds_parameters_in_any_order_with_or_without_annotations(
    older: testing.TestEnvironment,
) -> None:
    instance, output = run_to_completion(older, "Order", 5)
    assert output[0] == "Invoice 5"
    assert "'rows' (cosmosDB)" in output[1]
    assert read_outputs(older, instance) == {
        "outputBlob": ("blob", "invoice over 5"),
        "message": ("twilioSms", '{"body": "paid"}'),
        "$return": ("queue", "Invoice 5"),
    }


def test_the_history_shows_outputs_as_not_sent(newer: testing.TestEnvironment) -> None:
    instance, _ = run_to_completion(newer, "order_orchestrator", ORDER)
    records = newer.client.get_history(instance)
    rows = [HistoryFormatter(record.at).format(record)[-1] for record in records]
    assert 'of 2: "receipt for o1"; not sent: receipt (blob) "receipt for o1"' in rows
    lines = [json.loads(line.text) for line in newer.client.get_lines(instance)]
    (line,) = [line for line in lines if line.get("task") == 2]
    assert line["outputs"] == [
        {"name": "receipt", "type": "blob", "status": "not sent", "value": "receipt for o1"},
    ]
    projected = newer.client.project_history(instance)
    (row,) = [row for row in projected if row.get("FunctionName") == "write_receipt"]
    assert row["Outputs"] == [{"Name": "receipt", "Type": "blob", "Status": "not sent", "Value": "receipt for o1"}]
    newer.restart()
    assert newer.client.get_history(instance) == records


def test_an_unsupported_input_binding_fails_the_activity_with_a_reason(newer: testing.TestEnvironment) -> None:
    instance, output = run_to_completion(newer, "reads_a_blob", None)
    assert "'read_blob' can't be called here: its input binding 'blob' (blob) would need an Azure service" in output
    scheduled = [one for one in newer.client.get_history(instance) if isinstance(one.event, ev.TaskScheduled)]
    assert len(scheduled) == 1, "another attempt would fail in the same way"


def make_app_with_output(set_: Any) -> tuple[df.DFApp, type[Out[Any]]]:
    """An app for durablecli whose activity sets an output."""
    app = df.DFApp()

    @app.activity_trigger(input_name="given")
    @app.queue_output(arg_name="out", queue_name="q", connection="c")
    def act(out: Out[Any], given: int) -> int:
        out.set(set_)
        return given + 1

    @app.orchestration_trigger(context_name="context")
    def flow(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.call_activity("act", context.get_input()))

    return app, Out


class Odd:
    """An object that JSON can't represent."""

    def __repr__(self) -> str:
        return "odd \udc80"


class Worse:
    def __repr__(self) -> str:
        raise ValueError("no")


class File:
    def read(self) -> bytes:
        return b"content"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("text", "text"),
        (b"bytes", "bytes"),
        (bytearray(b"\xff"), "/w=="),
        ({"a": [1, {"b": b"c"}]}, {"a": [1, {"b": "c"}]}),
        (QueueMessage(id="1", body=b"hello"), {"id": "1", "body": "hello"}),
        ([QueueMessage(body="x")], [{"body": "x"}]),
        (CloudEvent("plain"), {"arguments": ["plain"]}),
        (Document({"a": 1}), {"a": 1}),
        (File(), "content"),
        (float("nan"), "nan"),
        (Odd(), "odd \\udc80"),
        (Worse(), "<Worse>"),
        ("\ud800", "'\\ud800'"),
    ],
    ids=range(13),
)
def test_any_value_set_on_an_output_is_recorded(value: object, shown: object) -> None:
    app, _ = make_app_with_output(value)
    with testing.hub(app) as hub:
        instance, output = run_to_completion(hub, "flow", 1)
        assert output == 2
        assert read_outputs(hub, instance) == {"out": ("queue", shown)}


def test_an_output_that_is_not_set_is_not_recorded() -> None:
    app, _ = make_app_with_output(None)
    with testing.hub(app) as hub:
        instance, _ = run_to_completion(hub, "flow", 1)
        assert read_outputs(hub, instance) == {}
        assert "outputs" not in "".join(line.text.decode() for line in hub.client.get_lines(instance))


def test_a_long_value_is_recorded_truncated_with_its_size() -> None:
    app, _ = make_app_with_output("é" * 1_000_000)
    with testing.hub(app) as hub:
        instance, _ = run_to_completion(hub, "flow", 1)
        (output,) = [
            each
            for record in hub.client.get_history(instance)
            if isinstance(record.event, ev.TaskCompleted)
            for each in record.event.outputs
        ]
        assert output.size == 2_000_002
        assert MAX_VALUE_BYTES - 4 < len(bytes(output.value)) < MAX_VALUE_BYTES + 10
        rows = [HistoryFormatter(record.at).format(record)[-1] for record in hub.client.get_history(instance)]
        assert any("(2,000,002 bytes)" in row for row in rows)


def test_outputs_of_a_failed_activity_are_not_recorded() -> None:
    app = df.DFApp()

    @app.activity_trigger(input_name="given")
    @app.queue_output(arg_name="out", queue_name="q", connection="c")
    def act(given: int, out: Out[str]) -> None:
        out.set("too early")
        raise OSError("no")

    @app.orchestration_trigger(context_name="context")
    def flow(context: df.DurableOrchestrationContext) -> Any:
        yield context.call_activity("act", 1)

    with testing.hub(app) as hub:
        instance = hub.client.start_new("flow")
        assert hub.finish(instance).runtime_status is df.OrchestrationRuntimeStatus.Failed
        assert read_outputs(hub, instance) == {}


def test_outputs_of_a_worker_process_are_recorded() -> None:
    given = WorkerResponse(ev.NULL, outputs=(BindingOutput("a", "queue", "not sent", msgspec.Raw(b"1")),))
    assert msgspec.json.decode(msgspec.json.encode(given), type=WorkerResponse) == given


# Outputs of other functions.


def test_an_http_function_responds_and_its_outputs_are_logged(
    newer: testing.TestEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "durablecli.function")
    response = post(newer, "/api/orders", ORDER)
    assert response.status_code == 202
    assert newer.finish("o1").output["stored"] == 7
    assert 'not sent: audit (queue): {"id":"a1","body":"{\\"started\\": \\"o1\\"}"}' in caplog.text
    assert newer.finish(post(newer, "/api/orders/sync", ORDER).text).output["stored"] == 7


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/api/by_out/ann", 203, "Hello ann"),
        ("/api/by_generic", 200, "generic"),
        ("/api/nothing", 204, ""),
    ],
)
def test_only_the_binding_of_the_response_sets_it(
    newer: testing.TestEnvironment, path: str, status: int, text: str
) -> None:
    response = post(newer, path)
    assert (response.status_code, response.text) == (status, text)


@pytest.mark.parametrize(("path", "status", "text"), [("/api/by_out", 201, "by out"), ("/api/to_queue", 204, "")])
def test_function_json_can_bind_the_response_to_a_parameter(
    older: testing.TestEnvironment, path: str, status: int, text: str
) -> None:
    response = post(older, path)
    assert (response.status_code, response.text) == (status, text)


def test_an_http_function_with_output_and_old_client_starts(older: testing.TestEnvironment) -> None:
    response = post(older, "/api/orders/4")
    assert response.status_code == 202
    assert older.finish(response.json()["id"]).output[0] == "Invoice 4"


def test_an_http_function_with_an_unsupported_input_reports_it(newer: testing.TestEnvironment) -> None:
    response = post(newer, "/api/catalog")
    assert (response.status_code, response.json()["ExceptionType"]) == (501, "BindingUnavailable")
    assert "input binding 'catalog' (blob)" in response.json()["ExceptionMessage"]


def test_an_unsupported_negotiation_is_reported(older: testing.TestEnvironment) -> None:
    response = post(older, "/api/negotiate")
    assert response.status_code == 501
    assert "'info' (signalRConnectionInfo)" in response.text


def start_timers(hub: testing.TestEnvironment) -> None:
    timer_functions.register_timers(hub.registry, lambda: ClientProvider(hub.client))
    assert hub.client.mailbox is not None
    timer_starts.ensure_timers(
        hub.registry, hub.client, hub.client.mailbox, hub.clock.now(), is_complete=True, warn=hub.output_lines.append
    )
    hub.run()


def test_outputs_of_a_timer_function_are_logged(
    newer: testing.TestEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "durablecli.timer")
    start_timers(newer)
    assert "timer function 'nightly_report': not sent: report (queue): \"report, past due: False\"" in caplog.text


def test_a_timer_function_with_an_unsupported_input_logs_its_failure(
    older: testing.TestEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    start_timers(older)
    assert "'rows' (table)" in older.client.get_status("timer:TimerStart").custom_status["failure"]


def test_a_timer_function_starts_an_orchestration(newer: testing.TestEnvironment) -> None:
    start_timers(newer)
    newer.advance(timedelta(minutes=5))
    (instance,) = [one.instance_id for one in newer.client.get_status_all() if one.name == "order_orchestrator"]
    assert newer.finish(instance).output["sent"] == "notify ops@example.com"


# Warnings at load.


def test_unsupported_bindings_are_reported_at_load() -> None:
    warnings = load_targets(["bindings_v2"], APPS).warnings
    assert "not run here: queue_start (queueTrigger)" in warnings
    assert "write_receipt runs, but nothing is sent by its receipt (blob)" in warnings
    assert "read_blob fails when it is called: only Azure provides its input blob (blob)" in warnings
    assert "catalog fails when it is called: only Azure provides its input catalog (blob)" in warnings
    assert not any("by_out" in remark or "http_start_sync" in remark for remark in warnings)


def original_decorators() -> list[str]:
    try:
        original = importlib.import_module("azure.functions").FunctionApp
    except ImportError:
        return ["queue_output"]
    ends = ("_trigger", "_input", "_output", "_trigger_v3", "_input_v3", "_output_v3", "_property", "_tool")
    return [name for name in dir(original) if name.endswith(ends) and name[0] != "_"]


@pytest.mark.parametrize("name", original_decorators())
def test_a_function_with_any_decorator_of_the_original_loads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    argument = {
        "activity_trigger": "input_name",
        "orchestration_trigger": "context_name",
        "entity_trigger": "context_name",
        "durable_client_input": "client_name",
    }.get(name, "arg_name")
    more = {"timer_trigger": ", schedule='0 0 3 * * *'"}.get(name, ", connection='c', path='p', queue_name='q'")
    more = "" if argument != "arg_name" or name == "mcp_tool" else more
    given = "metadata='{}'" if name == "mcp_tool" else f"{argument}='x'"
    trigger = "" if "trigger" in name or name == "mcp_tool" else "@app.activity_trigger(input_name='given')\n"
    if name.startswith("generic"):
        more = ", type='queueTrigger'" if "trigger" in name else ", type='queue'"
    Path("function_app.py").write_text(
        "import azure.functions as func\nimport azure.durable_functions as df\napp = df.DFApp()\n"
        f"{trigger}@app.{name}({given}{more})\ndef work(x, given=None): return 1\n"
    )
    loaded = load_targets(["."])
    (function,) = loaded.registry
    assert [module.error for module in loaded.modules] == [None]
    if name.endswith(("_output", "_output_v3")):
        assert list(function.outputs) == ["x"]
        assert ("x" in function.outputs) == any("nothing is sent" in warning for warning in loaded.warnings)
    elif name.endswith(("_input", "_input_v3")) and name != "durable_client_input":
        assert (list(function.bindings), dict(function.outputs)) == (["x"], {})
        assert any("fails when it is called" in remark for remark in loaded.warnings)


@pytest.mark.parametrize("name", original_decorators())
def test_a_decorator_has_the_same_effect_as_in_the_original(name: str) -> None:
    original = pytest.importorskip("azure.durable_functions").DFApp()

    def work(x: object) -> None: ...

    def other(x: object) -> None: ...

    required = [
        one for one in inspect.signature(getattr(original, name)).parameters.values() if one.default is one.empty
    ]
    given = {one.name: "x" for one in required if one.kind is not one.VAR_KEYWORD}
    if name in ("mcp_tool", "mcp_tool_property"):
        pytest.skip("it binds nothing by itself")
    if name == "event_grid_output":
        given["connection"] = "c"
    built = getattr(original, name)(**given)(work)._function
    expected = {(each.type, each.name, int(each.direction) == 1) for each in built.get_bindings()}
    getattr(df.DFApp(), name)(**given)(other)
    found = get_bindings(other)
    assert found is not None
    kinds = {**found.cloud_bindings}
    if found.client is not None:
        kinds[found.client] = "durableClient"
    if isinstance(found.trigger, CloudTrigger):
        kinds["x"] = found.trigger.kind
    elif found.argument is not None:
        kinds[found.argument] = f"{found.kind}Trigger".replace("orchestratorT", "orchestrationT")
    assert {(kind, argument, argument in found.outputs) for argument, kind in kinds.items()} == expected


def test_an_activity_of_a_plain_app_is_bound_by_name_and_decoded_by_annotation() -> None:
    app = df.DFApp()

    @app.activity_trigger(input_name="given")
    @app.blob_output(arg_name="out", path="p", connection="c")
    def act(context: df.ActivityContext, out: Out[str], given: int) -> str:
        out.set("x")
        return f"{context.name} {given + 1}"

    @app.orchestration_trigger(context_name="context")
    def flow(context: df.DurableOrchestrationContext) -> Any:
        return (yield context.call_activity("act", context.get_input()))

    with testing.hub(app) as hub:
        assert run_to_completion(hub, "flow", 1)[1] == "act 2"
        instance = hub.client.start_new("flow", client_input="no number")
        assert hub.finish(instance).runtime_status is df.OrchestrationRuntimeStatus.Failed


def test_a_registry_can_be_bound_twice() -> None:
    registry = Registry()
    app, _ = make_app_with_output("x")
    for _ in range(2):
        registry.add_module(make_module(app))
        inject_clients(registry, lambda: pytest.fail("nobody wants a client"))
    with testing.hub(registry) as hub:
        assert run_to_completion(hub, "flow", 1)[1] == 2


def make_module(app: df.DFApp) -> Any:
    from types import ModuleType

    module = ModuleType("own")
    vars(module)["app"] = app
    return module
