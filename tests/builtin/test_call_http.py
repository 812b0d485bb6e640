"""context.call_http: requests, responses, redirects, and polling after a 202."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
import sys
import threading
from collections.abc import Generator, Iterator
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import durablecli as df
from durablecli import testing
from durablecli.builtin.call_http import (
    _MAX_POLLS_PER_EXECUTION,
    is_same_origin,
    make_poll_request,
    send_request,
)
from durablecli.client import DurableOrchestrationStatus
from durablecli.limits import MAX_RESPONSE_BYTES
from durablecli.model.http_messages import (
    HTTP_ACTIVITY,
    HTTP_ORCHESTRATOR,
    DurableHttpRequest,
    DurableHttpResponse,
    ManagedIdentityTokenSource,
)
from tests.support.http_stub import StubResponse, StubServer, run_stub_server

Flow = Generator[Any, Any, Any]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[StubServer]:
    with run_stub_server() as made:
        yield made


@pytest.fixture
def other() -> Iterator[StubServer]:
    with run_stub_server() as made:
        yield made


@df.orchestrator
def call(context: df.DurableOrchestrationContext) -> Flow:
    return (yield context.call_http(**context.get_input()))


def call_to_end(replay_always: bool, **request: Any) -> DurableOrchestrationStatus:
    with testing.hub(call, replay_always=replay_always) as hub:
        return hub.finish(hub.client.start_new(call, client_input=request))


def call_to_output(replay_always: bool, **request: Any) -> Any:
    status = call_to_end(replay_always, **request)
    assert status.runtime_status is df.OrchestrationRuntimeStatus.Completed, status.output
    return status.output


def unused_url() -> str:
    """A URL at which no server listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


# ── one exchange ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_response_has_status_headers_and_content(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses(
        "/x?a=1", StubResponse(200, {"Content-Type": "text/plain; charset=latin-1"}, "hé".encode("latin-1"))
    )
    found = call_to_output(replay_always, method="get", uri=uri)
    assert (found["statusCode"], found["content"]) == (200, "hé")
    assert found["headers"]["Content-Type"] == "text/plain; charset=latin-1"
    (asked,) = server.requests
    assert (asked.method, asked.path, asked.body) == ("GET", "/x?a=1", "")
    assert asked.headers["User-Agent"] == "durablecli"


@pytest.mark.parametrize("status", [204, 302, 400, 401, 404, 500, 503])
def test_no_status_fails_the_call(server: StubServer, replay_always: bool, status: int) -> None:
    found = call_to_output(replay_always, method="GET", uri=server.set_responses("/", StubResponse(status)))
    assert found["statusCode"] == status


@pytest.mark.parametrize(
    ("given", "sent", "kind"),
    [
        ({"content": {"a": [1, "é"]}}, '{"a":[1,"é"]}', "application/json"),
        ({"content": "text"}, '"text"', "application/json"),
        ({"content": "text", "is_raw_str": True}, "text", "text/plain; charset=utf-8"),
        ({"content": "<a/>", "is_raw_str": True, "headers": {"content-type": "text/xml"}}, "<a/>", "text/xml"),
        ({"content": 0}, "0", "application/json"),
        ({"content": None}, "", None),
    ],
)
def test_content_is_sent_as_json_unless_it_is_raw(
    server: StubServer, replay_always: bool, given: dict[str, Any], sent: str, kind: str | None
) -> None:
    call_to_output(replay_always, method="POST", uri=server.set_responses("/", StubResponse()), **given)
    (asked,) = server.requests
    assert (asked.body, asked.headers["Content-Type"]) == (sent, kind)


def test_headers_are_sent_and_repeated_ones_are_joined(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse(200, {"X-Many": "one", "x-many": "two"}))
    found = call_to_output(replay_always, method="GET", uri=uri, headers={"X-Own": "yes", "Accept": "text/csv"})
    assert found["headers"]["X-Many"] == "one, two"
    assert [server.requests[0].headers[name] for name in ("X-Own", "Accept")] == ["yes", "text/csv"]


def test_a_compressed_response_is_decompressed(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse(200, {"Content-Encoding": "gzip"}, gzip.compress(b"plain")))
    assert call_to_output(replay_always, method="GET", uri=uri)["content"] == "plain"


def test_invalid_text_is_replaced(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse(200, {"Content-Type": "image/png; charset=klingon"}, b"\xff\x00a"))
    assert call_to_output(replay_always, method="GET", uri=uri)["content"] == "\ufffd\x00a"


def test_a_response_can_be_read_by_attribute_and_as_a_mapping(server: StubServer, replay_always: bool) -> None:
    @df.orchestrator
    async def look(context: df.DurableOrchestrationContext) -> Any:
        found = await context.call_http("GET", context.get_input())
        assert isinstance(found, DurableHttpResponse)
        assert isinstance(found, dict)
        assert found.status_code == found["statusCode"] == 200
        assert found.headers["ETAG"] == found["headers"].get("eTag") == "7"
        assert "etag" in found.headers
        assert found.headers.get("X-Missing") is None
        return json.loads(json.dumps(found)), found.content, json.loads(found["content"])

    uri = server.set_responses("/", StubResponse(200, {"Etag": "7"}, b'{"ready": true}'))
    with testing.hub(look, replay_always=replay_always) as hub:
        mapping, content, read = hub.finish(hub.client.start_new(look, client_input=uri)).output
    assert mapping["content"] == content == '{"ready": true}'
    assert read == {"ready": True}


def test_redirects_are_followed_without_credentials_to_another_origin(
    server: StubServer, other: StubServer, replay_always: bool
) -> None:
    secrets = {"Authorization": "Bearer a", "Cookie": "b", "X-Functions-Key": "c", "X-Pin": "d", "X-Plain": "e"}
    shareable = {"Accept-Language": "fr", "User-Agent": "me", "Prefer": "respond-async", "traceparent": "00-1-2-01"}
    there = other.set_responses("/there", StubResponse(200, {}, b"found"))
    near = server.set_responses("/near", StubResponse(307, {"Location": there}))
    uri = server.set_responses("/", StubResponse(302, {"Location": near.removeprefix(server.url)}))
    assert call_to_output(replay_always, method="GET", uri=uri, headers=secrets | shareable)["content"] == "found"
    assert [dict(server.requests[1].headers).get(name) for name in ("Authorization", "X-Functions-Key")] == [
        "Bearer a",
        "c",
    ]
    sent = {name.lower(): value for name, value in other.requests[0].headers.items()}
    assert {name: sent[name.lower()] for name in shareable} == shareable
    assert not {name.lower() for name in secrets} & sent.keys()


@pytest.mark.parametrize(("status", "method"), [(307, "POST"), (308, "PUT"), (301, "PUT")])
def test_content_is_not_redirected_to_another_origin(
    server: StubServer, other: StubServer, replay_always: bool, status: int, method: str
) -> None:
    there = other.set_responses("/there?code=a", StubResponse())
    uri = server.set_responses("/", StubResponse(status, {"Location": there}))
    failed = call_to_end(replay_always, method=method, uri=uri, content={"pin": 1})
    assert f"redirected to {other.url}: the content is not sent to another origin" in str(failed.output)
    assert not other.requests
    call_to_output(replay_always, method="DELETE", uri=uri)
    assert other.request_lines() == ["DELETE /there?code=a"]


def test_redirects_are_limited(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse(302, {"Location": "/"}))
    assert "more than 20 redirects" in str(call_to_end(replay_always, method="GET", uri=uri).output)


# ── failures ───────────────────────────────────────────────────────────────────────────────────────────────────────


@df.orchestrator
def careful(context: df.DurableOrchestrationContext) -> Flow:
    try:
        yield context.call_http("GET", context.get_input())
    except ConnectionRefusedError as error:
        return ["refused", str(error)]
    except ConnectionError as error:
        return ["broken", str(error)]
    except ValueError as error:
        return ["wrong", str(error)]


def test_a_refused_connection_can_be_caught(replay_always: bool) -> None:
    with testing.hub(careful, replay_always=replay_always) as hub:
        word, text = hub.finish(hub.client.start_new(careful, client_input=unused_url() + "a?code=secret")).output
    assert word == "refused"
    assert "connection refused" in text
    assert "secret" not in text


def test_an_unknown_host_can_be_caught(replay_always: bool) -> None:
    with testing.hub(careful, replay_always=replay_always) as hub:
        status = hub.finish(hub.client.start_new(careful, client_input="http://nowhere.invalid/"))
    assert status.output[0] == "broken"


def test_an_interrupted_response_can_be_caught(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse(200, {"Content-Length": "99"}, b"short"))
    with testing.hub(careful, replay_always=replay_always) as hub:
        assert hub.finish(hub.client.start_new(careful, client_input=uri)).output[0] == "broken"


def test_an_endless_response_is_an_error(server: StubServer, replay_always: bool) -> None:
    huge = gzip.compress(bytes(MAX_RESPONSE_BYTES + 1))
    uri = server.set_responses("/", StubResponse(200, {"Content-Encoding": "gzip"}, huge))
    with testing.hub(careful, replay_always=replay_always) as hub:
        word, text = hub.finish(hub.client.start_new(careful, client_input=uri)).output
    assert word == "wrong"
    assert "is over 16,777,216 bytes" in text


def test_no_response_is_a_timeout(server: StubServer) -> None:
    over = threading.Event()
    uri = server.set_responses("/slow", StubResponse(after=over))
    with pytest.raises(TimeoutError, match=r"^GET http://127\.0\.0\.1:\d+/slow: no response within 0\.05 s$"):
        asyncio.run(send_request(DurableHttpRequest("GET", uri), timedelta(seconds=0.05)))
    over.set()


def test_a_timeout_can_be_caught(replay_always: bool) -> None:
    """The author's activity has precedence over the built-in one, so a test can replace the network."""

    @df.activity(name=HTTP_ACTIVITY)
    def silent(request: dict[str, Any]) -> None:
        raise TimeoutError(f"{request['uri']} says nothing")

    @df.orchestrator
    def patient(context: df.DurableOrchestrationContext) -> Flow:
        try:
            yield context.call_http("GET", "http://example.test/")
        except TimeoutError as error:
            return str(error)

    with testing.hub(patient, silent, replay_always=replay_always) as hub:
        assert "says nothing" in hub.finish(hub.client.start_new(patient)).output


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"uri": "ftp://host/"}, "http or https"),
        ({"uri": "/relative"}, "absolute"),
        ({"uri": "http://"}, "absolute"),
        ({"uri": "file:///etc/passwd"}, "http or https"),
        ({"uri": "http://host:notaport/"}, "invalid address"),
        ({"uri": 7}, "is a string"),
        ({"method": "G ET"}, "invalid HTTP method"),
        ({"headers": {"X-A": "a\r\nX-B: b"}}, "more than one line"),
        ({"headers": {"X A": "a"}}, "invalid header name"),
        ({"content": {}, "is_raw_str": True}, "Invalid use of 'is_raw_str'"),
        ({"token_source": {"kind": "password"}}, "ManagedIdentityTokenSource"),
    ],
)
def test_an_invalid_call_is_an_error_immediately(replay_always: bool, wrong: dict[str, Any], text: str) -> None:
    status = call_to_end(replay_always, **{"method": "GET", "uri": "http://127.0.0.1:1/", **wrong})
    assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
    assert text in str(status.output)


@pytest.mark.parametrize(
    "uri",
    [
        "ftp://me:secret@host/a?code=secret",
        "http://me:secret@host:notaport/a?code=secret",
        "http://me:secret@[::/a#secret",
        "http://me:secret@host\u2100/a?code=secret",
        "me:secret@host/a?code=secret",
        "/a?code=secret",
        "?code=secret",
    ],
)
def test_keys_in_an_address_are_not_shown_in_errors(uri: str) -> None:
    with pytest.raises(ValueError, match=r"invalid address") as caught:
        DurableHttpRequest("GET", uri)
    assert "secret" not in str(caught.value)
    assert "/a" in str(caught.value) or "/a" not in uri


def test_keys_in_an_address_are_not_logged(
    server: StubServer, caplog: pytest.LogCaptureFixture, replay_always: bool
) -> None:
    caplog.set_level(logging.INFO)
    call_to_output(replay_always, method="GET", uri=server.set_responses("/?code=secret", StubResponse()))
    assert len(server.requests) == 1
    assert "secret" not in caplog.text


# ── the polls of a 202 ─────────────────────────────────────────────────────────────────────────────────────────────


def elapsed(status: DurableOrchestrationStatus) -> timedelta:
    assert status.created_time is not None
    assert status.last_updated_time is not None
    return status.last_updated_time - status.created_time


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7),
        ("0", 1),
        ("Thu, 01 Jan 2026 00:01:30 GMT", 90),
        ("Thu, 01 Jan 2026 00:01:30 -0000", 90),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 1),
        (None, 30),
        ("soon", 30),
        ("-5", 30),
        ("99999999999999", 30),
    ],
)
def test_a_202_is_polled_at_the_interval_of_the_server(
    server: StubServer, replay_always: bool, said: str | None, seconds: float
) -> None:
    headers = {"Location": "/status"} | ({"Retry-After": said} if said else {})
    server.set_responses("/status", StubResponse(200, {}, b"done"))
    uri = server.set_responses("/work", StubResponse(202, headers))
    status = call_to_end(
        replay_always, method="POST", uri=uri, content={"a": 1}, headers={"X-Functions-Key": "k", "X-A": "b"}
    )
    assert status.output["content"] == "done"
    assert elapsed(status) == timedelta(seconds=seconds)
    assert server.request_lines() == ["POST /work", "GET /status"]
    polled = server.requests[1]
    assert (polled.body, polled.headers["X-Functions-Key"], polled.headers["Content-Type"]) == ("", None, None)
    assert polled.headers["X-A"] == "b"


def test_each_poll_goes_to_the_last_location(server: StubServer, replay_always: bool) -> None:
    server.set_responses("/a/2", StubResponse(202, {"location": "3?x=1"}))
    server.set_responses("/a/3?x=1", StubResponse(202, {"LOCATION": f"{server.url}/b"}))
    server.set_responses("/b", StubResponse(500, {}, b"failed"))
    status = call_to_end(
        replay_always, method="GET", uri=server.set_responses("/a/1", StubResponse(202, {"Location": "2"}))
    )
    assert status.output["statusCode"] == 500
    assert server.request_lines() == ["GET /a/1", "GET /a/2", "GET /a/3?x=1", "GET /b"]
    assert elapsed(status) == timedelta(seconds=90)


def test_a_202_without_a_location_is_the_result(server: StubServer, replay_always: bool) -> None:
    assert (
        call_to_output(replay_always, method="GET", uri=server.set_responses("/", StubResponse(202)))["statusCode"]
        == 202
    )
    assert len(server.requests) == 1


def test_credentials_are_not_sent_to_another_origin(server: StubServer, other: StubServer, replay_always: bool) -> None:
    secrets = {"Authorization": "Bearer a", "Cookie": "b", "Proxy-Authorization": "c", "X-Pin": "d"}
    back = server.set_responses("/back", StubResponse(200, {}, b"done"))
    other.set_responses("/away", StubResponse(202, {"Location": back}))
    server.set_responses("/near", StubResponse(202, {"Location": f"{other.url}/away"}))
    uri = server.set_responses("/", StubResponse(202, {"Location": "/near"}))
    call_to_output(replay_always, method="POST", uri=uri, headers={**secrets, "Accept": "text/e", "Host": "own"})
    near, away, back_again = server.requests[1], other.requests[0], server.requests[2]
    assert [near.headers[name] for name in secrets] == list(secrets.values())
    for asked in (away, back_again):
        assert [asked.headers[name] for name in secrets] == [None] * 4
        assert asked.headers["Accept"] == "text/e"
    assert near.headers["Host"] == "own"
    assert away.headers["Host"] == other.url.removeprefix("http://")


@pytest.mark.parametrize(("location", "kept"), [("https://a/y", True), ("https://b/y", False), ("http://a/y", False)])
def test_a_token_is_sent_to_one_origin_only(location: str, kept: bool) -> None:
    source = ManagedIdentityTokenSource("https://vault.azure.net")
    polled = make_poll_request(DurableHttpRequest("PUT", "https://a/x", "{}", {}, source), location)
    assert (polled.method, polled.content) == ("GET", None)
    assert (polled.token_source is not None) is kept


def test_an_invalid_location_fails_the_call(server: StubServer, replay_always: bool) -> None:
    status = call_to_end(
        replay_always,
        method="GET",
        uri=server.set_responses("/", StubResponse(202, {"Location": "file:///etc/passwd"})),
    )
    assert "http or https" in str(status.output)
    assert len(server.requests) == 1


def test_a_restarted_engine_continues_polling(server: StubServer, replay_always: bool) -> None:
    server.set_responses(
        "/status", StubResponse(202, {"Location": "/status", "Retry-After": "60"}), StubResponse(200, {}, b"done")
    )
    uri = server.set_responses("/work", StubResponse(202, {"Location": "/status", "Retry-After": "60"}))
    with testing.hub(call, replay_always=replay_always) as hub:
        instance = hub.client.start_new(call, client_input={"method": "POST", "uri": uri})
        for _ in range(3):
            hub.advance(timedelta(seconds=45))
            hub.restart()
        status = hub.finish(instance)
    assert status.output["content"] == "done"
    assert server.request_lines() == ["POST /work", "GET /status", "GET /status"]


def test_a_rewind_repeats_a_failed_call(server: StubServer, replay_always: bool) -> None:
    server.set_responses("/work", StubResponse(202, {"Location": "/status"}))
    server.set_responses(
        "/status", StubResponse(200, {"Content-Length": "9"}, b"short"), StubResponse(200, {}, b"done")
    )
    with testing.hub(call, replay_always=replay_always) as hub:
        given = {"method": "POST", "uri": f"{server.url}/work"}
        instance = hub.client.start_new(call, client_input=given)
        assert hub.finish(instance).runtime_status is df.OrchestrationRuntimeStatus.Failed
        hub.client.rewind(instance)
        assert hub.finish(instance).output["content"] == "done"
    assert server.request_lines() == ["POST /work", "GET /status", "GET /status"]


def test_a_call_ends_with_its_caller(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse(202, {"Location": "/"}))
    with testing.hub(call, replay_always=replay_always) as hub:
        instance = hub.client.start_new(call, client_input={"method": "GET", "uri": uri})
        hub.advance(timedelta(seconds=45))
        hub.client.terminate(instance)
        hub.advance(timedelta(days=1))
        assert {one.runtime_status for one in hub.client.get_status_all()} == {df.OrchestrationRuntimeStatus.Terminated}
    assert len(server.requests) == 2


def test_polling_for_long_makes_no_long_history(server: StubServer, replay_always: bool) -> None:
    promise = StubResponse(202, {"Location": "/", "Retry-After": "3600"})
    polls = 2 * _MAX_POLLS_PER_EXECUTION + 10
    uri = server.set_responses("/", *[promise] * polls, StubResponse(200, {}, b"done"))
    with testing.hub(call, replay_always=replay_always) as hub:
        instance = hub.client.start_new(call, client_input={"method": "GET", "uri": uri})
        status = hub.finish(instance)
        (child,) = [one for one in hub.client.get_status_all() if one.name == HTTP_ORCHESTRATOR]
    assert status.output["content"] == "done"
    assert len(server.requests) == polls + 1
    assert child.records < 100


# ── the built-ins ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_built_in_orchestrator_cannot_be_started(server: StubServer, replay_always: bool) -> None:
    uri = server.set_responses("/", StubResponse())
    with testing.hub(call, replay_always=replay_always) as hub:
        assert [one.name for one in hub.registry] == ["call"]
        instance = hub.client.start_new(HTTP_ORCHESTRATOR, client_input={"method": "GET", "uri": uri})
        status = hub.finish(instance)
    assert status.runtime_status is df.OrchestrationRuntimeStatus.Failed
    assert "use context.call_http" in str(status.output)
    assert not server.requests


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "http://A:80/y?z", True),
        ("https://a:443/", "https://a/", True),
        ("http://u:p@a/", "http://a/", True),
        ("https://a/", "http://a/", False),
        ("http://a/", "http://a:81/", False),
        ("http://a/", "http://a.b/", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(one: str, other: str, same: bool) -> None:
    assert is_same_origin(one, other) is same


def test_a_token_is_requested_if_a_source_is_given(
    server: StubServer, monkeypatch: pytest.MonkeyPatch, replay_always: bool
) -> None:
    class Credential:
        def __enter__(self) -> Credential:
            return self

        def __exit__(self, *_: object) -> None: ...

        def get_token(self, scope: str) -> object:
            return SimpleNamespace(token=f"token for {scope}")

    identity: Any = ModuleType("azure.identity")
    identity.DefaultAzureCredential = Credential
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    source = ManagedIdentityTokenSource("https://management.core.windows.net/").to_json()
    call_to_output(replay_always, method="GET", uri=server.set_responses("/", StubResponse()), token_source=source)
    assert (
        server.requests[0].headers["Authorization"] == "Bearer token for https://management.core.windows.net/.default"
    )


def test_without_azure_identity_the_error_names_the_package_to_install(
    server: StubServer, monkeypatch: pytest.MonkeyPatch, replay_always: bool
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    source = {"resource": "https://vault.azure.net", "kind": "AzureManagedIdentity"}
    status = call_to_end(
        replay_always, method="GET", uri=server.set_responses("/", StubResponse()), token_source=source
    )
    assert "pip install azure-identity" in str(status.output)
    assert not server.requests


def test_a_call_is_allowed_while_locks_are_held(server: StubServer, replay_always: bool) -> None:
    """As for an activity: the built-in orchestrator never uses an entity."""

    @df.entity
    class Box:
        value: int = 0

    @df.orchestrator
    def locked(context: df.DurableOrchestrationContext) -> Flow:
        with (yield context.lock_entities([df.EntityId("box", "a")])):
            return (yield context.call_http("GET", context.get_input())).status_code

    with testing.hub(locked, Box, replay_always=replay_always) as hub:
        uri = server.set_responses("/", StubResponse())
        assert hub.finish(hub.client.start_new(locked, client_input=uri)).output == 200
