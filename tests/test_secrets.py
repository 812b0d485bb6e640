"""Credentials of HTTP calls: sent, never written where they are named only, and redacted in every display."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.azure.durabletask_types import OrchestrationState
from durablecli.errors import Unserializable
from durablecli.model.http_messages import DurableHttpRequest
from durablecli.model.payloads import encode
from durablecli.model.redaction import REDACTED
from durablecli.model.secrets import Secret
from durablecli.store.memory_disk import MemoryDisk
from tests.support.http_stub import StubResponse, StubServer, run_stub_server

Flow = Generator[Any, Any, Any]
TOKEN = "tok-4711"  # noqa: S105
CLEAR = "clear-0815"
COOKIE = "session-9999"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("API_TOKEN", TOKEN)


@pytest.fixture
def server() -> Iterator[StubServer]:
    with run_stub_server() as made:
        yield made


@df.orchestrator
def call(context: df.DurableOrchestrationContext) -> Flow:
    headers = {"authorization": "Bearer " + df.secret("API_TOKEN"), "X-Api-Key": CLEAR, "X-Plain": "plain"}
    answer = yield context.call_http("GET", context.get_input(), headers=headers)
    return answer.status_code


@df.orchestrator
def lacking(context: df.DurableOrchestrationContext) -> Flow:
    yield context.call_http("GET", context.get_input(), headers={"X": df.secret("NOT_SET_ANYWHERE")})


@df.orchestrator
def careless(context: df.DurableOrchestrationContext) -> Flow:
    yield context.call_http("GET", context.get_input(), headers={"Authorization": f"Bearer {df.secret('API_TOKEN')}"})


def read_journal(disk: MemoryDisk) -> bytes:
    """All that is on the disk."""
    found = [disk.read(f"hub/{name}") for name in ("journal/00000001.jsonl",) if disk.exists(f"hub/{name}")]
    return b"\n".join(found)


def test_a_named_credential_is_sent_and_not_written(server: StubServer, replay_always: bool) -> None:
    poll = StubResponse(202, {"Location": "/poll", "Retry-After": "1", "Set-Cookie": COOKIE})
    uri = server.set_responses("/", poll)
    server.set_responses("/poll", poll, StubResponse())
    with testing.hub(call, replay_always=replay_always) as hub:
        instance = hub.client.start_new(call, client_input=uri)
        assert hub.finish(instance).output == 200
        child = f"{instance}:{hub.client.get_status(instance).execution}:2"
        lines = [line.text for one in (instance, child) for line in hub.client.get_lines(one)]
        assert b'"authorization":{"secret":"API_TOKEN","prefix":"Bearer "}' in b"".join(lines)
        assert TOKEN.encode() not in b"".join(lines) + read_journal(hub.disk)
        assert len(lines) > 8
    assert [asked.headers["Authorization"] for asked in server.requests] == [f"Bearer {TOKEN}"] * 3


def test_displays_redact_credentials_and_leave_what_is_stored(server: StubServer) -> None:
    uri = server.set_responses("/", StubResponse(200, {"Set-Cookie": COOKIE, "X-Seen": "seen"}))
    with testing.hub(call) as hub:
        instance = hub.client.start_new(call, client_input=uri)
        hub.finish(instance)
        child = f"{instance}:{hub.client.get_status(instance).execution}:2"
        for one in (instance, child):
            status = hub.client.get_status(one, show_history=True, show_history_output=True)
            state = OrchestrationState.from_status(status)
            assert state is not None
            shown = json.dumps(
                [json.loads(encode_as_json(status.payload())), status.to_json(), hub.client.project_history(one)]
            )
            shown += f"{status.input_}{status.output}{state.serialized_input}{state.serialized_output}"
            assert CLEAR not in shown
            assert COOKIE not in shown
            assert REDACTED in shown
            assert ("plain" in shown, "seen" in shown) == (True, True)
        assert CLEAR.encode() in bytes(hub.client.get_status(child).raw_input)


def encode_as_json(value: object) -> bytes:
    import msgspec

    return msgspec.json.encode(value)


def test_a_variable_that_is_not_set_is_a_clear_failure(server: StubServer, replay_always: bool) -> None:
    with testing.hub(lacking, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(lacking, client_input=server.set_responses("/", StubResponse())))
        assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
        assert "the environment variable NOT_SET_ANYWHERE, which df.secret names, isn't set" in status.output
    assert not server.requests


def test_a_value_that_cannot_be_sent_is_not_shown(server: StubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", f"{TOKEN}\nx")
    with testing.hub(call) as hub:
        status = hub.finish(hub.client.start_new(call, client_input=server.set_responses("/", StubResponse())))
        assert "API_TOKEN can't be sent" in status.output
        assert TOKEN not in json.dumps(hub.client.project_history(status.instance_id))


def test_a_credential_is_not_sent_to_another_origin(server: StubServer) -> None:
    with run_stub_server() as other:
        location = other.set_responses("/", StubResponse())
        uri = server.set_responses("/", StubResponse(302, {"Location": location}))
        with testing.hub(call) as hub:
            assert hub.finish(hub.client.start_new(call, client_input=uri)).output == 200
        assert [asked.headers["Authorization"] for asked in other.requests] == [None]


def test_a_secret_is_no_text_and_no_payload(server: StubServer) -> None:
    with testing.hub(careless) as hub:
        status = hub.finish(hub.client.start_new(careless, client_input=server.set_responses("/", StubResponse())))
        assert "write 'Bearer ' + df.secret('API_TOKEN')" in status.output
    with pytest.raises(Unserializable):
        encode({"token": df.secret("API_TOKEN")})
    assert repr("a " + df.secret("X") + " b") == "secret('X')"
    with pytest.raises(ValueError, match="invalid name of an environment variable"):
        df.secret("A=B")


def test_what_a_caller_sends_is_never_taken_for_a_secret() -> None:
    given: Any = {"X": {"secret": "API_TOKEN"}}
    assert not isinstance(DurableHttpRequest("GET", "http://a/", headers=given).headers["x"], Secret)
    request = DurableHttpRequest("GET", "http://a/", headers={"X": "a " + df.secret("API_TOKEN") + " b"})
    assert DurableHttpRequest.from_json(json.loads(bytes(encode(request)))).headers == request.headers


FLOWS = """
import durablecli as df

@df.orchestrator
def calls(context):
    headers = {"Authorization": "Bearer " + df.secret("API_TOKEN"), "X-Api-Key": "clear-0815"}
    return (yield context.call_http("GET", context.get_input(), headers=headers)).status_code
"""


def test_the_command_line_redacts_too(
    server: StubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from durablecli.__main__ import main

    def durable(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["durable", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "flow.py").write_text(FLOWS)
    uri = server.set_responses("/", StubResponse(200, {"Set-Cookie": COOKIE}))
    durable("run", "calls", "--id", "c", "--input", json.dumps(uri))
    rows = json.loads(durable("list", "--all", "-o", "json"))
    child = next(row["instanceId"] for row in rows if row["instanceId"] != "c")
    shown = durable("list", "--all", "-o", "jsonl") + durable("wait", child)
    for form in ("table", "json", "jsonl", "yaml"):
        for one in ("c", child):
            shown += durable("history", one, "-o", form) + durable("status", one, "--show-input", "-o", form)
    assert (CLEAR in shown, COOKIE in shown, TOKEN in shown) == (False, False, False)
    assert REDACTED in shown
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert TOKEN.encode() not in written
