"""Inputs that orchestrators declare: refused by HTTP with the path, in the OpenAPI document, and fields of the form."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx
import jsonschema  # type: ignore[import-untyped]  # it brings no types
import pytest
from pydantic import BaseModel, Field

import durablecli as df
from durablecli import testing
from durablecli.client import Query
from durablecli.config import HttpConfig
from durablecli.daemon.embedded_engine import embedded
from durablecli.errors import InvalidInput
from durablecli.http.openapi import build_document
from durablecli.http.server import HttpServer, bind_socket
from durablecli.serving.api_keys import ApiKeys
from tests.http.conftest import BASE, RunningServer


@dataclasses.dataclass
class Address:
    street: str
    city: str = "Wien"


@dataclasses.dataclass
class Parcel:
    """A parcel to send."""

    id: int
    "The number of the parcel."
    address: Address
    express: bool = False
    tags: list[str] = dataclasses.field(default_factory=list)


class Payment(BaseModel):
    amount: int = Field(gt=0)


@df.orchestrator
def send(context: df.DurableOrchestrationContext, parcel: Parcel) -> Any:
    return [parcel.id, parcel.address.street, parcel.address.city, parcel.express, parcel.tags]


@df.orchestrator
def pay(context: df.DurableOrchestrationContext, payment: Payment) -> int:
    return payment.amount


@df.orchestrator
def total(context: df.DurableOrchestrationContext, numbers: list[int]) -> int:
    return sum(numbers)


@df.orchestrator
def anything(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    registry = testing.build_registry(send, pay, total, anything)
    with ExitStack() as stack:
        client = stack.enter_context(embedded(registry, tmp_path_factory.mktemp("hub") / ".state"))
        port = stack.enter_context(bind_socket("127.0.0.1:0"))
        server = HttpServer(
            port, client, registry, ApiKeys(), HttpConfig(), timedelta(seconds=5), on_stopped=lambda: None
        )
        stack.callback(server.close)
        server.start()
        headers = {"origin": server.url, "sec-fetch-site": "same-origin"}
        http = stack.enter_context(httpx.Client(base_url=server.url, timeout=20, headers=headers))
        yield RunningServer(server.url, http, client)


GOOD = {"id": 1, "address": {"street": "Ring 1"}}


@pytest.mark.parametrize("path", [f"{BASE}/orchestrators", "/api/orchestrators"])
@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("send", None, "$.id: missing field (send needs: id, address)"),
        ("send", {"id": 1, "address": {"city": "a"}}, "$.address.street: missing field (Address needs: street)"),
        ("send", {**GOOD, "id": "x"}, "$.id: expected int, got 'x'"),
        ("pay", {"amount": -1}, "$.amount: Input should be greater than 0"),
        ("total", [1, None], "$[1]: expected int, got null"),
    ],
)
def test_a_wrong_input_is_an_error_with_its_path(
    typed: RunningServer, path: str, name: str, body: object, reason: str
) -> None:
    before = len(list(typed.client.iter_ids(Query())))
    content = b"" if body is None else json.dumps(body).encode()
    answer = typed.http.post(f"{path}/{name}", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert (answer.json()["ExceptionMessage"], answer.json()["ExceptionType"]) == (reason, "InvalidInput")
    assert len(list(typed.client.iter_ids(Query()))) == before


def test_a_right_input_starts_and_other_orchestrators_take_anything(typed: RunningServer) -> None:
    right = typed.http.post(f"{BASE}/orchestrators/send/right", json=GOOD)
    assert right.status_code == 202
    assert typed.client.wait("right", 20).output == [1, "Ring 1", "Wien", False, []]
    assert typed.http.post(f"{BASE}/orchestrators/anything", json="x").status_code == 202
    assert typed.http.post(f"{BASE}/orchestrators/anything").status_code == 202


@pytest.mark.parametrize(
    ("name", "right", "wrong", "reason"),
    [
        ("send", GOOD, {**GOOD, "id": "x"}, "$.id: expected int, got 'x'"),
        ("send", GOOD, {}, "$.id: missing field (send needs: id, address)"),
        ("pay", {"amount": 1}, {"amount": -1}, "$.amount: Input should be greater than 0"),
    ],
)
def test_another_input_of_a_restart_is_checked_as_that_of_a_start(
    typed: RunningServer, name: str, right: object, wrong: object, reason: str
) -> None:
    first = typed.http.post(f"{BASE}/orchestrators/{name}", json=right).json()["id"]
    before = len(list(typed.client.iter_ids(Query())))
    started = typed.http.post(f"{BASE}/orchestrators/{name}", json=wrong)
    answer = typed.http.post(f"{BASE}/instances/{first}/restart", json=wrong)
    assert answer.status_code == started.status_code == 400
    assert answer.json() == started.json()
    assert (answer.json()["ExceptionMessage"], answer.json()["ExceptionType"]) == (reason, "InvalidInput")
    assert len(list(typed.client.iter_ids(Query()))) == before
    again = typed.http.post(f"{BASE}/instances/{first}/restart", json=right).json()["id"]
    assert typed.client.wait(again, 20).runtime_status is df.OrchestrationRuntimeStatus.Completed


def test_a_client_checks_the_input_of_a_function(typed: RunningServer) -> None:
    with pytest.raises(InvalidInput) as refused:
        typed.client.start_new(send, None, {"id": 1})
    assert refused.value.problems == (("$.address", "missing field (send needs: id, address)"),)
    with pytest.raises(InvalidInput, match=r"^\$\.id: expected int, got 'x'"):
        typed.client.start_many(send, [GOOD, {**GOOD, "id": "x"}])
    started = typed.client.start_new(send, None, Parcel(2, Address("Gasse"), tags=["a"]))
    assert typed.client.wait(started, 20).output == [2, "Gasse", "Wien", False, ["a"]]


def test_the_openapi_document_has_the_schemas(typed: RunningServer) -> None:
    document = typed.http.get(f"{BASE}/openapi.json").json()
    assert set(build_document()["paths"]) < set(document["paths"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document))) <= {
        *document["components"]["schemas"]
    }
    for path in (f"{BASE}/orchestrators/send", f"{BASE}/orchestrators/send/{{instanceId}}", "/api/orchestrators/send"):
        body = document["paths"][path]["post"]["requestBody"]
        assert body["required"]
        schema = {**body["content"]["application/json"]["schema"], "components": document["components"]}
        validator = jsonschema.Draft202012Validator(schema)
        assert validator.is_valid(GOOD)
        assert not validator.is_valid({"id": "x", "address": {"street": "a"}})
        assert not validator.is_valid({"id": 1})
    assert f"{BASE}/orchestrators/anything" not in document["paths"]


def text_of(page: httpx.Response) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.text)).split())


def test_the_form_has_a_field_for_each_one_of_the_input(typed: RunningServer) -> None:
    page = typed.http.get("/ui/start?name=send", headers={"accept": "text/html"})
    assert 'type="number" step="any" name="field.id"' in page.text
    assert 'type="text" name="field.address.street"' in page.text
    assert '<select name="field.express"' in page.text
    assert '<textarea name="field.tags"' in page.text
    assert "The number of the parcel." in text_of(page)
    assert "A parcel to send." in text_of(page)
    plain = typed.http.get("/ui/start?name=anything", headers={"accept": "text/html"})
    assert 'name="field.' not in plain.text
    assert '<textarea name="input"' in plain.text


def test_wrong_fields_of_the_form_are_named_and_right_ones_start(typed: RunningServer) -> None:
    wrong = typed.http.post("/ui/start", data={"name": "send", "field.id": "x", "field.address.street": "Ring"})
    assert wrong.status_code == 400
    assert 'id="error-field.id">expected int, got &#39;x&#39;' in wrong.text
    assert 'value="Ring"' in wrong.text
    missing = typed.http.post("/ui/start", data={"name": "send", "field.id": "1"})
    assert missing.status_code == 400
    assert 'id="error-field.address.street">missing field' in missing.text
    given = {"field.id": "7", "field.address.street": "Ring", "field.express": "true", "field.tags": "a\nb"}
    sent = typed.http.post("/ui/start", data={"name": "send", "id": "form", **given, "input": '{"id": 1}'})
    assert sent.status_code == 303, text_of(sent)
    assert typed.client.wait("form", 20).output == [7, "Ring", "Wien", True, ["a", "b"]]
    wrong = typed.http.post("/ui/start", data={"name": "total", "input": '[1, "a"]'})
    assert "$[1]: expected int, got 'a'" in text_of(wrong)


def test_the_form_of_a_restart_has_the_input_and_checks_another_one(typed: RunningServer) -> None:
    typed.client.start_new("send", "form-restart", GOOD)
    typed.client.wait("form-restart", 20)
    url = {"id": "form-restart"}
    assert "&#34;street&#34;: &#34;Ring 1&#34;" in typed.http.get("/ui/do/restart", params=url).text
    wrong = typed.http.post("/ui/do/restart", params=url, data={"input": '{"id": "x"}'})
    assert wrong.status_code == 400
    assert "missing field (send needs: id, address)" in html.unescape(wrong.text)
    broken = typed.http.post("/ui/do/restart", params=url, data={"input": '{"id": '})
    assert "not JSON: line 1" in html.unescape(broken.text)
    data = {"input": json.dumps({**GOOD, "id": 2})}
    restarted = typed.http.post("/ui/do/restart", params=url, data=data)
    id = restarted.headers["location"].removeprefix("/ui/instances/")
    assert typed.client.wait(id, 20).output == [2, "Ring 1", "Wien", False, []]
