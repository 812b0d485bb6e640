"""Pages of other sites: they can't call the functions of an app, unless the settings allow their origin."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import durablecli as df
from durablecli import testing
from durablecli.apps.settings import load_settings
from durablecli.azure import functions as func
from durablecli.config import HttpConfig
from durablecli.http.asgi_app import make_app
from durablecli.management_links import BASE_PATH

app = df.DFApp(http_auth_level=func.AuthLevel.ANONYMOUS)
FRIEND = "http://localhost:3000"


@app.orchestration_trigger(context_name="context")
def echo(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@app.route(route="start")
@app.durable_client_input(client_name="client")
def start(req: func.HttpRequest, client: Any) -> str:
    return str(client.start_new("echo"))


@app.route(route="get_only", methods=["GET"])
@app.durable_client_input(client_name="client")
async def get_only(req: func.HttpRequest, client: Any) -> str:
    return str(await client.start_new("echo"))


def send_request(
    method: str, path: str, headers: dict[str, str], *allowed: str, **more: Any
) -> tuple[httpx.Response, int]:
    """Send a request; returns the response and the number of instances after it."""
    with testing.hub(app) as hub:
        served = make_app(hub.client, registry=hub.registry, settings=HttpConfig(allowed_origins=allowed, **more))

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(served, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost:7071") as client:
                return await client.request(method, path, headers=headers)

        response = asyncio.run(send())
        return response, len(hub.client.get_status_all())


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-site": "Cross-Site"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:8000"},
        {"origin": "https://localhost:7071"},
        {"origin": "null"},
        {"origin": "http://localhost:7071", "sec-fetch-site": "cross-site"},
        {"referer": "http://localhost:3000/", "sec-fetch-site": "cross-site"},
    ],
)
@pytest.mark.parametrize("allowed", [(), (FRIEND,)])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "/api/start") for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY")),
        ("GET", "/api/get_only"),
        ("GET", "/API/Start"),
    ],
)
def test_a_page_of_another_site_cannot_call_a_function(
    method: str, path: str, headers: dict[str, str], allowed: tuple[str, ...]
) -> None:
    response, instances = send_request(method, path, headers, *allowed)
    assert (response.status_code, instances) == (403, 0)
    assert response.headers.get("access-control-allow-origin") is None


def test_the_error_explains_how_to_allow_the_origin() -> None:
    response, _ = send_request("GET", "/api/start", {"sec-fetch-site": "cross-site"})
    assert "http.allowed_origins" in response.json()["Message"]
    assert "local.settings.json" in response.json()["Message"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://localhost:7071"},
        {"origin": "http://localhost:7071", "sec-fetch-site": "same-origin"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_this_server_and_other_programs_can_call_a_function(method: str, headers: dict[str, str]) -> None:
    response, instances = send_request(method, "/api/start", headers)
    assert (response.status_code, instances) == (200, 1)


@pytest.mark.parametrize("allowed", [(FRIEND,), ("http://other", f"{FRIEND}/"), ("HTTP://LocalHost:3000",)])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_page_of_an_allowed_origin_can_call_a_function_and_read_the_response(
    method: str, allowed: tuple[str, ...]
) -> None:
    headers = {"origin": FRIEND, "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}
    response, instances = send_request(method, "/api/start", headers, *allowed)
    assert (response.status_code, instances) == (200, 1)
    assert response.headers["access-control-allow-origin"] == FRIEND
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "null"}, {"origin": "http://any"}])
def test_a_star_allows_every_origin(headers: dict[str, str]) -> None:
    response, instances = send_request("GET", "/api/start", headers, "*", allow_credentials=True)
    assert (response.status_code, instances) == (200, 1)
    assert "access-control-allow-credentials" not in response.headers


def test_credentials_can_be_allowed() -> None:
    response, _ = send_request("GET", "/api/start", {"origin": FRIEND}, FRIEND, allow_credentials=True)
    assert response.headers["access-control-allow-credentials"] == "true"


def test_preflight_requests_are_answered() -> None:
    headers = {"origin": FRIEND, "access-control-request-method": "PUT", "access-control-request-headers": "x-own"}
    response, instances = send_request("OPTIONS", "/api/start", headers, FRIEND)
    assert (response.status_code, instances) == (200, 0)
    assert response.headers["access-control-allow-origin"] == FRIEND
    assert "PUT" in response.headers["access-control-allow-methods"]
    refused, _ = send_request("OPTIONS", "/api/start", headers | {"origin": "http://evil.example"}, FRIEND)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("allowed", [(FRIEND,), ("*",)])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{BASE_PATH}/orchestrators/echo"),
        ("POST", "/api/orchestrators/echo"),
        ("POST", f"{BASE_PATH}/instances/x/terminate"),
        ("DELETE", f"{BASE_PATH}/instances"),
    ],
)
def test_a_page_of_another_site_cannot_change_anything_through_the_management_api(
    method: str, path: str, allowed: tuple[str, ...]
) -> None:
    response, instances = send_request(method, path, {"origin": FRIEND}, *allowed)
    assert (response.status_code, instances) == (403, 0)


def test_a_page_of_an_allowed_origin_can_read_the_management_api() -> None:
    response, _ = send_request("GET", f"{BASE_PATH}/instances", {"origin": FRIEND}, FRIEND)
    assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, FRIEND)


@pytest.mark.parametrize(
    ("section", "origins", "credentials"),
    [
        ({"CORS": "http://a:1, http://b:2,"}, ("http://a:1", "http://b:2"), False),
        ({"cors": "*", "CORSCredentials": False}, ("*",), False),
        ({"CORS": "http://a:1", "corsCredentials": True}, ("http://a:1",), True),
        ({"CORS": ""}, (), False),
        ({"CORS": None}, (), False),
        ({"LocalHttpPort": 7100}, (), False),
    ],
)
def test_local_settings_allow_origins(
    section: dict[str, Any], origins: tuple[str, ...], credentials: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("host.json").write_text("{}")
    Path("local.settings.json").write_text(json.dumps({"Host": section}))
    found = load_settings().http
    assert (found.allowed_origins, found.allow_credentials) == (origins, credentials)


def test_durablecli_settings_override_local_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("host.json").write_text("{}")
    Path("local.settings.json").write_text('{"Host": {"CORS": "*"}}')
    monkeypatch.setenv("DURABLE_HTTP__ALLOWED_ORIGINS", "http://a:1,http://b:2")
    assert load_settings().http.allowed_origins == ("http://a:1", "http://b:2")
