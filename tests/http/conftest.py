"""A hub with its engine and its server in this process, and an independent HTTP client."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jsonschema  # type: ignore[import-untyped]  # it brings no types
import pytest

import durablecli as df
from durablecli import Client, testing
from durablecli.config import HttpConfig
from durablecli.daemon.embedded_engine import embedded
from durablecli.http.openapi import build_document
from durablecli.http.requests import CONTINUATION_HEADER
from durablecli.http.server import HttpServer, bind_socket
from durablecli.registry import Registry
from durablecli.serving.api_keys import ApiKeys
from tests.support.history_writer import HubWriter, open_hub_writer
from tests.support.waiting import wait_until

BASE = "/runtime/webhooks/durabletask"


@df.orchestrator
def echo(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@df.activity
def shout(text: str) -> str:
    return text.upper()


@df.orchestrator
def waiter(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    context.set_custom_status("waiting")
    go = yield context.wait_for_external_event("Go")
    return (yield context.call_activity(shout, str(go)))


@df.orchestrator
def failing(context: df.DurableOrchestrationContext) -> None:
    raise ValueError("nothing works")


@df.activity
def count_letters(word: str | None) -> int:
    if word is None:
        raise ValueError("no word was given")
    return len(word)


@df.orchestrator
def collecting(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    try:
        return (yield context.call_activity(count_letters, context.get_input(), name="first"))
    except df.TaskFailedError:
        raise RuntimeError("1 word failed") from None


@df.orchestrator
def parent(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield context.call_sub_orchestrator(echo, "in", instance_id="tree-child"))


@df.entity
def counter(context: df.DurableEntityContext) -> None:
    context.set_state(context.get_state(lambda: 0) + (context.get_input() or 1))


class RunningServer(NamedTuple):
    """A server, its URL, and two clients: by HTTP, and by files."""

    url: str
    http: httpx.Client
    client: Client

    def wait_for_status(self, instance: str, *statuses: str) -> dict[str, Any]:
        """Wait until an instance has one of these statuses."""

        def read_status() -> dict[str, Any] | None:
            body: dict[str, Any] = self.http.get(f"{BASE}/instances/{instance}").json()
            return body if body.get("runtimeStatus") in statuses else None

        found: dict[str, Any] = wait_until(read_status)
        return found

    def start_instance(self, name: str, data: Any = None) -> str:
        answer = self.http.post(f"{BASE}/orchestrators/{name}", json=data)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


def check_against_openapi(response: httpx.Response) -> None:
    """Check a response against the OpenAPI document, and its security headers even without a route."""
    response.read()
    request = response.request
    operation = next(
        (
            methods[request.method.lower()]
            for path, methods in build_document()["paths"].items()
            if request.method.lower() in methods and _matches_path(request.url.raw_path.decode(), path)
        ),
        None,
    )
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    assert "Traceback" not in response.text or '"traceback":' in response.text  # that of a failed instance
    if operation is None:
        return
    answers = operation["responses"]
    answer = answers.get(str(response.status_code)) or answers["default"]
    for name in answer.get("headers", {}):
        assert name in response.headers or name == CONTINUATION_HEADER
    if "content" not in answer:
        assert response.content == b""
        return
    assert response.headers["content-type"] == "application/json"
    schema = {**answer["content"]["application/json"]["schema"], "components": build_document()["components"]}
    jsonschema.Draft202012Validator(schema).validate(response.json())


def _matches_path(raw: str, path: str) -> bool:
    given, wanted = raw.partition("?")[0].split("/"), path.split("/")
    return len(given) == len(wanted) and all(
        w[:1] == "{" or g.lower() == w.lower() for g, w in zip(given, wanted, strict=True)
    )


@contextmanager
def run_server(
    folder: Path, *, keys: ApiKeys | None = None, settings: HttpConfig | None = None
) -> Iterator[RunningServer]:
    registry = Registry()
    registry.add_module(sys.modules[__name__])
    with ExitStack() as stack:
        client = stack.enter_context(embedded(registry, folder / ".state"))
        port = stack.enter_context(bind_socket("127.0.0.1:0"))
        server = HttpServer(
            port,
            client,
            registry,
            keys or ApiKeys(),
            settings or HttpConfig(),
            timedelta(seconds=5),
            on_stopped=lambda: None,
        )
        stack.callback(server.close)
        server.start()
        hooks = {"response": [check_against_openapi]}
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=20, event_hooks=hooks))
        yield RunningServer(server.url, http, client)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with run_server(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def hub_writer(tmp_path: Path) -> Iterator[HubWriter]:
    """Writes histories into a hub that this process holds, without an engine."""
    with open_hub_writer(tmp_path / ".state") as opened:
        yield opened


@pytest.fixture
def hub_browser(hub_writer: HubWriter) -> Iterator[httpx.Client]:
    """A client of a server for the hub of `hub_writer`; the orchestrator `echo` is loaded."""
    registry = testing.build_registry(echo)
    with bind_socket("127.0.0.1:0") as port:
        server = HttpServer(
            port, Client(hub_writer.hub.root), registry, ApiKeys(), HttpConfig(), timedelta(seconds=1),
            on_stopped=lambda: None,
        )  # fmt: skip
        try:
            server.start()
            with httpx.Client(base_url=server.url, headers={"accept": "text/html"}, timeout=20) as made:
                yield made
        finally:
            server.close()
