"""Traces, as a receiver on loopback gets them from real daemons."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time_ns
from typing import Any

import httpx
import pytest

from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.http_stub import StubResponse, run_stub_server
from tests.support.waiting import wait_until
from tests.telemetry.otlp_receiver import OtlpReceiver, ReceivedSpan, run_receiver

APP = str(Path(__file__).with_name("traced_app.py"))
BASE = "/runtime/webhooks/durabletask"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with run_receiver() as made:
        yield made


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[CliHarness]:
    made = CliHarness(tmp_path)
    yield made
    made.close()


def start_daemon(hub: CliHarness, receiver: OtlpReceiver, **settings: str) -> tuple[DurableProcess, str]:
    """Start a daemon that sends its traces to the receiver every few milliseconds."""
    settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "20", **settings}
    daemon = hub.start("run-daemon", "--app", APP, "--http", "0", **settings)
    daemon.wait_for_output("listening on ")
    found = re.search(r"listening on (http://\S+) \(hub ", daemon.output)
    assert found is not None
    return daemon, found[1]


def make_traceparent() -> tuple[str, str, str]:
    """The header of a client's span, its trace id and its span id."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace_id}-{span_id}-01", trace_id, span_id


def stop(daemon: DurableProcess) -> None:
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit() == 0


def find_one(receiver: OtlpReceiver, name: str) -> ReceivedSpan:
    (span,) = receiver.find(name)
    return span


def test_one_tree_from_a_traced_start_to_the_activity_of_a_child_over_a_kill(
    hub: CliHarness, receiver: OtlpReceiver
) -> None:
    daemon, url = start_daemon(hub, receiver)
    header, trace_id, client_span = make_traceparent()
    before = time_ns()
    response = httpx.post(f"{url}{BASE}/orchestrators/parent/p1", headers={"traceparent": header, "tracestate": "v=1"})
    assert response.status_code == 202
    # What is in memory is lost: the spans of what has ended must have been sent.
    wait_until(lambda: {"POST", "acti", "insi"} <= {span.name[:4] for span in receiver.spans}, description="spans")
    daemon.kill()
    killed_at = time_ns()
    daemon, url = start_daemon(hub, receiver)
    event_header, event_trace, event_client = make_traceparent()
    httpx.post(f"{url}{BASE}/instances/p1/raiseEvent/Go", json=1, headers={"traceparent": event_header})
    assert hub.client.wait("p1", 60).output == ["hello first", "second", "third", "hello fourth", 5]
    stop(daemon)
    tree = receiver.tree(client_span)
    assert tree == {
        f"POST {BASE}/orchestrators/{{functionName}}/{{instanceId}}": {
            "orchestration:parent": {
                "activity:greet": {"inside greet": {}},
                "activity:fetch": {"inside fetch": {}},
                "activity:crunch": {"inside crunch": {}},
                "orchestration:child": {"activity:greet": {"inside greet": {}}},
                "entity:Account:add": {},
            }
        }
    }
    span = find_one(receiver, "orchestration:parent")
    assert span.trace_id == trace_id
    assert before < span.start < killed_at < span.end < time_ns()
    assert span.attributes["durabletask.task.instance_id"] == "p1"
    assert span.attributes["durabletask.task.status"] == "Completed"
    assert not span.is_error
    assert span.service == "durablecli"
    # An event of another trace links to the orchestration that has received it.
    assert receiver.tree(event_client) == {
        f"POST {BASE}/instances/{{instanceId}}/raiseevent/{{eventName}}": {"event:Go": {}}
    }
    event = find_one(receiver, "event:Go")
    assert (event.trace_id, event.links) == (event_trace, [(trace_id, span.span_id)])
    # The replay after the kill has emitted nothing again.
    assert len(receiver.find("activity:greet")) == 2
    hub.assert_sound()


def test_a_failure_is_shown_by_the_attempt_and_by_the_orchestration(hub: CliHarness, receiver: OtlpReceiver) -> None:
    daemon, url = start_daemon(hub, receiver, DURABLE_TELEMETRY__SERVICE_NAME="orders")
    httpx.post(f"{url}{BASE}/orchestrators/retrying/works", json=3)
    httpx.post(f"{url}{BASE}/orchestrators/retrying/fails", json=9)
    hub.client.wait("works", 60)
    hub.client.wait("fails", 60)
    stop(daemon)
    attempts = {
        (span.attributes["durabletask.task.instance_id"], span.attributes["durabletask.task.attempt"]): span
        for span in receiver.find("activity:fragile")
    }
    assert {key: span.is_error for key, span in attempts.items()} == {
        ("works", 1): True,
        ("works", 2): True,
        ("works", 3): False,
        ("fails", 1): True,
        ("fails", 2): True,
        ("fails", 3): True,
    }
    event = attempts["works", 1].events["exception"]
    assert event["exception.message"] == "attempt 1 failed"
    assert event["exception.type"] == attempts["works", 1].attributes["error.type"] == "ValueError"
    assert "traced_app.py" in event["exception.stacktrace"]
    assert "durablecli/engine" not in event["exception.stacktrace"]
    ended = {span.attributes["durabletask.task.instance_id"]: span for span in receiver.find("orchestration:retrying")}
    assert (ended["works"].is_error, ended["fails"].is_error) == (False, True)
    assert ended["fails"].service == "orders"
    assert ended["works"].trace_id != ended["fails"].trace_id


def test_a_function_of_the_app_continues_the_trace_of_its_caller(hub: CliHarness, receiver: OtlpReceiver) -> None:
    daemon, url = start_daemon(hub, receiver)
    header, _, client_span = make_traceparent()
    instance = httpx.post(f"{url}/api/greet/you", headers={"traceparent": header}).text
    hub.client.wait(instance, 60)
    httpx.get(f"{url}{BASE}/instances/{instance}", headers={"traceparent": header})  # reading has no span
    stop(daemon)
    assert receiver.tree(client_span) == {
        "POST /api/greet/{name}": {"inside function": {"orchestration:child": {"activity:greet": {"inside greet": {}}}}}
    }


def test_call_http_sends_the_trace_on(hub: CliHarness, receiver: OtlpReceiver) -> None:
    with run_stub_server() as stub:
        target = stub.set_responses("/x", StubResponse())
        daemon, url = start_daemon(hub, receiver)
        header, trace_id, _ = make_traceparent()
        httpx.post(f"{url}{BASE}/orchestrators/calling/c", json=target, headers={"traceparent": header})
        hub.client.wait("c", 60)
        stop(daemon)
        sent = stub.requests[0].headers["traceparent"]
        (activity,) = [span for span in receiver.spans if sent[36:52] == span.span_id]
        assert activity.name.startswith("activity:")
        assert sent[3:35] == activity.trace_id == trace_id


def test_each_execution_of_an_eternal_orchestration_has_a_span_and_without_a_parent_a_trace(
    hub: CliHarness, receiver: OtlpReceiver
) -> None:
    daemon, url = start_daemon(hub, receiver)
    hub.client.wait(hub.client.start_new("counting", client_input=2), 60)
    httpx.post(f"{url}{BASE}/orchestrators/counting/inside", json=1)
    hub.client.wait("inside", 60)
    stop(daemon)
    spans = receiver.find("orchestration:counting")
    statuses = [span.attributes["durabletask.task.status"] for span in spans]
    assert statuses == ["ContinuedAsNew", "ContinuedAsNew", "Completed", "ContinuedAsNew", "Completed"]
    assert [span.parent_id for span in spans[:3]] == ["", "", ""]
    assert len({span.trace_id for span in spans[:3]}) == 3
    # Those that someone else's trace contains stay in it.
    assert len({(span.trace_id, span.parent_id) for span in spans[3:]}) == 1
    assert len({span.span_id for span in spans}) == 5


def test_an_unsampled_trace_stays_unsampled(hub: CliHarness, receiver: OtlpReceiver) -> None:
    daemon, url = start_daemon(hub, receiver)
    header, _, _ = make_traceparent()
    httpx.post(f"{url}{BASE}/orchestrators/child/c", json="x", headers={"traceparent": f"{header[:-2]}00"})
    hub.client.wait("c", 60)
    stop(daemon)
    assert receiver.spans == []


@pytest.mark.parametrize("trouble", ["refused", "errors", "hangs"])
def test_a_receiver_in_trouble_disturbs_nothing(hub: CliHarness, receiver: OtlpReceiver, trouble: str) -> None:
    settings: dict[str, str] = {}
    if trouble == "refused":
        settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
    elif trouble == "errors":
        receiver.status = 500
    else:
        receiver.hangs.set()
    daemon, url = start_daemon(hub, receiver, **settings)
    for number in range(20):
        assert httpx.post(f"{url}{BASE}/orchestrators/child/c{number}", json="x").status_code == 202
    for number in range(20):
        assert hub.client.wait(f"c{number}", 60).output == "hello x"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait_for_exit(10) == 0
    assert "Traceback" not in daemon.output
    assert daemon.output.count("ERROR") <= 4


def run_python(code: str, **settings: str) -> Any:
    """Run a program in a new interpreter; returns what it printed as JSON."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "DURABLE_"))} | settings
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_without_tracing_nothing_of_it_is_imported(tmp_path: Path) -> None:
    code = f"""
import json, sys
import durablecli as df
from durablecli.daemon.embedded_engine import embedded
from durablecli.registry import Registry
from durablecli import testing
import durablecli.http.server
@df.orchestrator
def hello(context):
    return 1
with embedded(testing.build_registry(hello), {str(tmp_path / ".state")!r}) as client:
    client.wait(client.start_new("hello"), 20)
print(json.dumps([name for name in sys.modules if "opentelemetry" in name.split(".")[0] or name.startswith("google")]))
"""
    assert run_python(code) == []
    assert run_python(code, OTEL_SDK_DISABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") == []


def test_a_client_in_a_program_that_traces_carries_its_span(hub: CliHarness, receiver: OtlpReceiver) -> None:
    daemon, _ = start_daemon(hub, receiver)
    code = f"""
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from durablecli import Client
tracer = TracerProvider().get_tracer("program")
with tracer.start_as_current_span("program") as span:
    client = Client({str(hub.root)!r})
    ids = [client.start_new("child", client_input="x"), *client.start_many("child", ["y", "z"])]
    client.signal_entity("@Account@b", "add", 1)
    client.wait(ids[-1], 30)
print(json.dumps([format(span.get_span_context().span_id, "016x"), ids]))
"""
    span_id, ids = run_python(code)
    for each in ids:
        hub.client.wait(each, 60)
    stop(daemon)
    below = [span.name for span in receiver.spans if span.parent_id == span_id]
    assert sorted(below) == ["entity:Account:add", *["orchestration:child"] * 3]
