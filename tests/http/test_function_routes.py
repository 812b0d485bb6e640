"""The HTTP functions of an app: their arguments, and the conversion of their results to responses."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

import durablecli as df
from durablecli import testing
from durablecli.azure import functions as func
from durablecli.azure.client import DurableFunctionsClient, SyncDurableFunctionsClient
from durablecli.azure.client_binding import ClientBinding
from durablecli.http.function_routes import build_routes, list_routes
from durablecli.http.responses import ApiError, error_response
from durablecli.management_links import BASE_PATH, ManagementEndpoint
from durablecli.serving.api_keys import ApiKeys

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.orchestration_trigger(context_name="context")
def echo(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@app.route(route="plain/{first}/{second:int?}", methods=["GET", "PUT"])
def plain(req: func.HttpRequest) -> func.HttpResponse:
    details = {
        "method": req.method,
        "url": req.url,
        "agent": req.headers["X-Agent"],
        "params": dict(req.params),
        "route": dict(req.route_params),
        "body": req.get_body().decode(),
        "thread": threading.current_thread().name,
    }
    return func.HttpResponse(json.dumps(details), status_code=201, headers={"x-own": "é"}, mimetype="application/json")


@app.route()
async def on_loop(req: func.HttpRequest) -> str:
    return f"{threading.current_thread().name} {req.get_json()['a']}"


@app.route(route="returns/{what}")
def returns(req: func.HttpRequest) -> Any:
    return RETURNS[req.route_params["what"]]


@app.route(route="raises")
def raises(req: func.HttpRequest) -> str:
    raise RuntimeError("the secret of the house")


@app.route(route="gives_up")
async def gives_up(req: func.HttpRequest) -> str:
    raise asyncio.CancelledError


@app.route(route="leaves")
async def leaves(req: func.HttpRequest) -> str:
    raise SystemExit(3)


@app.route(route="orchestrators/{functionName}")
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: DurableFunctionsClient) -> func.HttpResponse:
    instance = await client.start_new(req.route_params["functionName"], client_input=req.get_json())
    return client.create_check_status_response(req, instance)


@app.durable_client_input(client_name="client")
@app.route(route="sync/{name}", methods=[func.HttpMethod.POST])
def start_in_thread(req: func.HttpRequest, client: SyncDurableFunctionsClient) -> func.HttpResponse:
    links = client.create_http_management_payload(client.start_new(req.route_params["name"]))
    return func.HttpResponse(json.dumps(links))


@app.route(route="starter")
@app.durable_client_input(client_name="starter")
async def start_of_old(req: func.HttpRequest, starter: str) -> str:
    return f"{type(starter) is ClientBinding} {await DurableFunctionsClient(starter).start_new('echo')}"


@app.route(route="rest")
def takes_more(req: func.HttpRequest, context: func.Context, out: func.Out[str], cloud: Any, given: int = 3) -> str:
    out.set(f"{context.function_name} {bool(context.invocation_id)} {cloud} {given}")
    return None  # type: ignore[return-value]  # the value of the Out is the response


@app.route(route="locked", auth_level=func.AuthLevel.FUNCTION)
def locked(req: func.HttpRequest) -> str:
    return "open"


@app.route(route="for_master", auth_level=func.AuthLevel.ADMIN)
def for_master(req: func.HttpRequest) -> str:
    return "open"


class Foreign:
    """A response like those of Azure's own package."""

    status_code = 202
    mimetype = "text/html"
    charset = "utf-8"
    headers = httpx.Headers({"A": "1"})

    def get_body(self) -> bytes:
        return b"<p>"


_TWICE = func.HttpResponse("x")
_TWICE.headers.add("Set-Cookie", "a=1")
_TWICE.headers.add("Set-Cookie", "b=2")
RETURNS: dict[str, Any] = {
    "text": "grün",
    "nothing": None,
    "bytes": b"\x00",
    "empty": func.HttpResponse(status_code=204),
    "latin": func.HttpResponse("é", charset="latin-1"),
    "twice": _TWICE,
    "foreign": Foreign(),
    "starlette": PlainTextResponse("own", 203),
    "dict": {"a": 1},
    "injected": func.HttpResponse("x", headers={"a": "b\r\nc: d"}),
    "early": func.HttpResponse("x", status_code=100),
    "long": func.HttpResponse("abc", headers={"Content-Length": "1"}),
}


@pytest.fixture
def hub() -> Iterator[testing.TestEnvironment]:
    with testing.hub(app) as hub:
        yield hub


async def handle_api_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(error)


def send_request(
    hub: testing.TestEnvironment, method: str, path: str, keys: ApiKeys | None = None, **more: Any
) -> httpx.Response:
    found = build_routes(hub.registry, hub.client, keys or ApiKeys(), endpoint=ManagementEndpoint("http://own:1"))
    served = Starlette(routes=found, exception_handlers={ApiError: handle_api_error})

    async def send_async() -> httpx.Response:
        transport = httpx.ASGITransport(served, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.request(method, path, **more)

    return asyncio.run(send_async())


def test_a_function_receives_the_whole_request_and_controls_the_whole_response(hub: testing.TestEnvironment) -> None:
    response = send_request(hub, "PUT", "/API/Plain/a%2Fb/7?x=1&x=2&y=%C3%A9", content="body", headers={"x-agent": "A"})
    assert response.status_code == 201
    assert response.headers["x-own"] == "é"
    assert response.headers["content-type"] == "application/json"
    details = response.json()
    assert details.pop("thread") == "durable-function"
    assert details == {
        "method": "PUT",
        "url": "http://here/API/Plain/a%2Fb/7?x=1&x=2&y=%C3%A9",
        "agent": "A",
        "params": {"x": "1,2", "y": "é"},
        "route": {"first": "a/b", "second": "7"},
        "body": "body",
    }


def test_a_coroutine_function_runs_on_a_separate_loop(hub: testing.TestEnvironment) -> None:
    assert send_request(hub, "POST", "/api/on_loop", json={"a": 1}).text == "durable-functions 1"


@pytest.mark.parametrize(
    ("what", "status", "kind", "body"),
    [
        ("text", 200, "text/plain; charset=utf-8", "grün".encode()),
        ("nothing", 204, None, b""),
        ("bytes", 200, "application/octet-stream", b"\x00"),
        ("empty", 204, None, b""),
        ("latin", 200, "text/plain; charset=latin-1", "é".encode("latin-1")),
        ("foreign", 202, "text/html; charset=utf-8", b"<p>"),
        ("starlette", 203, "text/plain; charset=utf-8", b"own"),
        ("long", 200, "text/plain; charset=utf-8", b"abc"),
    ],
)
def test_results_of_a_function_are_converted_to_responses(
    hub: testing.TestEnvironment, what: str, status: int, kind: str | None, body: bytes
) -> None:
    response = send_request(hub, "GET", f"/api/returns/{what}")
    assert (response.status_code, response.headers.get("content-type"), response.content) == (status, kind, body)


def test_a_response_can_repeat_a_header(hub: testing.TestEnvironment) -> None:
    assert send_request(hub, "GET", "/api/returns/twice").headers.get_list("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize("path", ["raises", "leaves", "gives_up", "returns/dict", "returns/injected", "returns/early"])
def test_an_error_is_logged_with_its_traceback_and_answered_without(
    hub: testing.TestEnvironment, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    with caplog.at_level(logging.ERROR, "durablecli.function"):
        response = send_request(hub, "GET", f"/api/{path}")
    assert response.status_code == 500
    assert response.json() == {
        "Message": "Something went wrong while processing your request",
        "ExceptionMessage": "Something went wrong while processing your request",
        "ExceptionType": "Exception",
        "StackTrace": None,
    }
    assert [record.exc_info is not None for record in caplog.records] == [True]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/plain/a"),
        ("HEAD", "/api/plain/a"),
        ("GET", "/api/sync/echo"),
        ("GET", "/api"),
        ("GET", "/raises"),
        ("GET", "/apiraises"),
        ("GET", "/api/raises/more"),
        ("GET", "/api/plain/a/x"),
    ],
)
def test_a_request_without_a_route_is_not_found(hub: testing.TestEnvironment, method: str, path: str) -> None:
    assert send_request(hub, method, path).status_code == 404


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PROPFIND"])
def test_a_route_without_methods_accepts_every_method(hub: testing.TestEnvironment, method: str) -> None:
    assert send_request(hub, method, "/api/returns/text").status_code == 200


def test_a_coroutine_function_receives_the_async_client(hub: testing.TestEnvironment) -> None:
    response = send_request(hub, "POST", "/api/orchestrators/echo", json=[1])
    assert response.status_code == 202
    instance = response.json()["id"]
    assert response.headers["location"] == f"http://here{BASE_PATH}/instances/{instance}"
    assert hub.finish(instance).output == [1]


def test_any_other_function_receives_the_sync_client(hub: testing.TestEnvironment) -> None:
    links = send_request(hub, "POST", "/api/sync/echo").json()
    assert links["statusQueryGetUri"] == f"http://own:1{BASE_PATH}/instances/{links['id']}"
    assert hub.finish(links["id"]).output is None


def test_a_client_can_be_made_from_a_string_binding(hub: testing.TestEnvironment) -> None:
    details, instance = send_request(hub, "GET", "/api/starter").text.split()
    assert details == "True"
    assert hub.client.get_status(instance)


def test_an_unbound_parameter_is_none_and_an_output_is_an_out(hub: testing.TestEnvironment) -> None:
    assert send_request(hub, "GET", "/api/rest").text == "takes_more True None 3"


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("locked", None, 401),
        ("locked", "wrong", 401),
        ("locked", "f", 200),
        ("locked", "m", 200),
        ("for_master", "f", 401),
        ("for_master", "s", 401),
        ("for_master", "m", 200),
        ("returns/text", None, 200),
    ],
)
def test_a_function_requires_a_key_of_its_auth_level(
    hub: testing.TestEnvironment, path: str, key: str | None, status: int
) -> None:
    keys = ApiKeys("f", "s", "m")
    by_header: dict[str, str] = {"x-functions-key": key} if key else {}
    by_query = {"code": key} if key else {}
    assert send_request(hub, "GET", f"/api/{path}", keys, headers=by_header).status_code == status
    assert send_request(hub, "GET", f"/api/{path}", keys, params=by_query).status_code == status


def test_without_keys_every_function_is_accessible(hub: testing.TestEnvironment) -> None:
    assert send_request(hub, "GET", "/api/locked").text == "open"


def test_a_blocking_coroutine_can_call_its_own_server(hub: testing.TestEnvironment) -> None:
    blueprint = df.Blueprint()
    asked, answered = threading.Event(), threading.Event()

    @blueprint.route(route="blocks")
    async def blocks(req: func.HttpRequest) -> str:
        asked.set()
        return str(await asyncio.sleep(0, answered.wait(20)))  # what no coroutine should do

    @blueprint.route(route="other")
    def other(req: func.HttpRequest) -> str:
        asked.wait(20)
        answered.set()
        return "answered"

    served = Starlette(routes=build_routes(testing.build_registry(blueprint), hub.client, ApiKeys()))

    async def send() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://here") as client:
            found = await asyncio.gather(client.get("/api/blocks"), client.get("/api/other"))
            return [response.text for response in found]

    assert asyncio.run(send()) == ["True", "answered"]


def test_blocking_functions_run_concurrently(hub: testing.TestEnvironment) -> None:
    meeting = threading.Barrier(3, timeout=20)
    blueprint = df.Blueprint()

    @blueprint.route(route="meet")
    def meet(req: func.HttpRequest) -> str:
        meeting.wait()
        return "met"

    served = Starlette(routes=build_routes(testing.build_registry(blueprint), hub.client, ApiKeys(), ""))

    async def send() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://here") as client:
            found = await asyncio.gather(*(client.get("/meet") for _ in range(3)))
            return [response.text for response in found]

    assert asyncio.run(send()) == ["met"] * 3


def test_the_most_specific_route_has_precedence_and_an_invalid_one_is_left_out(
    hub: testing.TestEnvironment, caplog: pytest.LogCaptureFixture
) -> None:
    blueprint = df.Blueprint()

    @blueprint.route(route="{*rest}")
    def anything(req: func.HttpRequest) -> str:
        return "anything"

    @blueprint.route(route="x/{id:int}", methods="get")
    def by_number(req: func.HttpRequest) -> str:
        return "by number"

    @blueprint.route(route="x/{id")
    def wrong(req: func.HttpRequest) -> str:
        return "never"

    found = build_routes(testing.build_registry(blueprint), hub.client, ApiKeys(), "/v1/")
    assert "'wrong' is not served" in caplog.text
    assert [tuple(one) for one in list_routes(found)] == [
        ("anything", ("any",), "/v1/{*rest}"),
        ("by_number", ("GET",), "/v1/x/{id:int}"),
    ]
    served = Starlette(routes=found)

    async def send() -> list[str]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://here") as client:
            return [(await client.request(*asked)).text for asked in (("GET", "/v1/x/1"), ("POST", "/v1/x/1"))]

    assert asyncio.run(send()) == ["by number", "anything"]


def test_responses_of_the_azure_package_are_accepted(hub: testing.TestEnvironment) -> None:
    theirs = pytest.importorskip("azure.functions")
    app = df.DFApp(http_auth_level=theirs.AuthLevel.ANONYMOUS)

    def with_response(req: Any) -> Any:
        response = theirs.HttpResponse("ok", status_code=203, headers={"A": "1"}, mimetype="text/html")
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    def with_out(req: Any, out: Any) -> None:
        out.set("put")

    with_out.__annotations__["out"] = theirs.Out[str]
    app.route(route="response", methods=[theirs.HttpMethod.GET])(with_response)
    app.route(route="out")(with_out)
    with testing.hub(app) as own:
        found = send_request(own, "GET", "/api/response")
        assert (found.status_code, found.headers["content-type"]) == (203, "text/html; charset=utf-8")
        assert found.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert send_request(own, "GET", "/api/out").text == "put"
