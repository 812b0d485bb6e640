"""The management API, route by route; the client checks every response against the OpenAPI document."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import jsonschema  # type: ignore[import-untyped]  # it brings no types
import pytest
import yaml
from starlette.requests import Request

from durablecli.client import Client, polling
from durablecli.client.polling import Poller
from durablecli.config import HttpConfig
from durablecli.engine.end_watchers import EndWatchers
from durablecli.http import instances_api, paging
from durablecli.http.openapi import build_document
from durablecli.http.requests import CONTINUATION_HEADER
from tests.http.conftest import BASE, RunningServer, run_server
from tests.support.waiting import wait_until

LINKS = [
    "id",
    "statusQueryGetUri",
    "sendEventPostUri",
    "terminatePostUri",
    "purgeHistoryDeleteUri",
    "restartPostUri",
    "suspendPostUri",
    "resumePostUri",
]
STATUS = ["name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime"]


class ApiCase(NamedTuple):
    """A request and its response; `{running}`, `{done}` and `{failed}` in a path are instances in that state."""

    method: str
    path: str
    status: int
    message: str | None = None
    body: bytes | None = None
    media: str | None = "application/json"


NO_ID = "No instance with ID 'nobody' found."
GONE = "is gone: either completed or failed"
WRONG = "Invalid value of '{}'"
NO_JSON = "Invalid JSON content"
TABLE = [
    # start
    ApiCase("POST", "orchestrators/echo", 202),
    ApiCase("POST", "ORCHESTRATORS/ECHO", 202),
    ApiCase("POST", "orchestrators/echo", 202, body=b'{"a":[1,2.5,null]}', media=None),
    ApiCase("POST", "orchestrators/nothing", 400, "doesn't exist"),
    ApiCase("POST", "orchestrators/shout", 400, "not an orchestrator"),
    ApiCase("POST", "orchestrators/BuiltIn__HttpPollOrchestrator", 400, "not an orchestrator"),
    ApiCase("POST", "orchestrators/echo", 400, NO_JSON, b"{"),
    ApiCase("POST", "orchestrators/echo", 400, NO_JSON, b"NaN"),
    ApiCase("POST", "orchestrators/echo", 400, NO_JSON, b"[" * 100_000),
    ApiCase("POST", "orchestrators/echo", 400, NO_JSON, b"[" * 300 + b"]" * 300),
    ApiCase("POST", "orchestrators/echo", 400, NO_JSON, b'"\xff"'),
    ApiCase("POST", "orchestrators/echo", 400, NO_JSON, b'"\\ud800"'),
    ApiCase("POST", "orchestrators/echo?timeout=soon&pollingInterval=1", 400, WRONG.format("timeout")),
    ApiCase("POST", "orchestrators/echo?timeout=1&pollingInterval=nan", 400, WRONG.format("pollingInterval")),
    ApiCase("GET", "orchestrators/echo", 404),
    ApiCase("POST", "orchestrators", 404),
    ApiCase("POST", "orchestrators/echo/{running}", 409, "An Orchestration instance with the status"),
    ApiCase("POST", "orchestrators/echo/%40me", 400, "arguments"),
    ApiCase("POST", "orchestrators/echo/a%2Fb", 400, "arguments"),
    ApiCase("POST", f"orchestrators/echo/{'x' * 257}", 400, "arguments"),
    ApiCase("POST", "orchestrators/echo/%FF", 400, "UTF-8"),
    ApiCase("POST", "orchestrators/echo?tag=a=1&tag=b%3D2", 202),
    ApiCase("POST", "orchestrators/echo?tag=a", 400, WRONG.format("tag")),
    ApiCase("POST", "orchestrators/echo?tag=a=1&tag=a=2", 400, WRONG.format("tag")),
    ApiCase("POST", f"orchestrators/echo?tag={'x' * 129}=", 400, WRONG.format("tag")),
    ApiCase("GET", "instances?tag=a", 400, WRONG.format("tag")),
    # status
    ApiCase("GET", "instances/{running}", 202),
    ApiCase("GET", "instances/{done}", 200),
    ApiCase("GET", "instances/{failed}", 200),
    ApiCase("GET", "instances/{failed}?returnInternalServerErrorOnFailure=true", 500),
    ApiCase("GET", "instances/nobody", 404, NO_ID),
    ApiCase("GET", "instances/@counter@a", 404),
    ApiCase("GET", "instances/{done}?showInput=perhaps", 400, WRONG.format("showInput")),
    ApiCase("PUT", "instances/{done}", 404),
    ApiCase("HEAD", "instances/{done}", 200),
    ApiCase("HEAD", "instances/{running}", 202),
    ApiCase("HEAD", "instances/{done}/terminate", 404),
    # lists
    ApiCase("GET", "instances", 200),
    ApiCase("GET", "instances?top=0", 400, WRONG.format("top")),
    ApiCase("GET", "instances?top=many", 400, WRONG.format("top")),
    ApiCase("GET", "instances?createdTimeFrom=yesterday", 400, WRONG.format("createdTimeFrom")),
    ApiCase("GET", "instances?runtimeStatus=Bogus", 400, WRONG.format("runtimeStatus")),
    ApiCase("GET", "instances?instanceIdPrefix=%FF", 400, "query"),
    ApiCase("POST", "instances", 404),
    # events
    ApiCase("POST", "instances/{running}/raiseEvent/Other", 202, body=b"true"),
    ApiCase("POST", "instances/{running}/RAISEEVENT/Other", 202, body=b""),
    ApiCase("POST", "instances/nobody/raiseEvent/Go", 404, NO_ID, b"{", None),
    ApiCase("POST", "instances/{done}/raiseEvent/Go", 410, GONE, b"{", None),
    ApiCase("POST", "instances/{running}/raiseEvent/Go", 400, "Only application/json", b"{", "text/plain"),
    ApiCase("POST", "instances/{running}/raiseEvent/Go", 400, NO_JSON, b"{"),
    ApiCase("GET", "instances/{running}/raiseEvent/Go", 404),
    # terminate, suspend, resume, rewind
    ApiCase("POST", "instances/{running}/suspend?reason=why", 202),
    ApiCase("POST", "instances/{running}/suspend", 202),
    ApiCase("POST", "instances/{running}/resume", 202),
    ApiCase("POST", "instances/{running}/resume", 202),
    *(
        row
        for verb in ("suspend", "resume", "terminate", "rewind")
        for row in (
            ApiCase("POST", f"instances/nobody/{verb}", 404, NO_ID),
            ApiCase("POST", f"instances/{{done}}/{verb}", 410),
            ApiCase("GET", f"instances/{{running}}/{verb}", 404),
            ApiCase("POST", f"instances/{{running}}/{verb}?reason=%FF", 400, "query"),
        )
    ),
    ApiCase("POST", "instances/{running}/rewind", 409, "only a failed instance"),
    ApiCase("POST", "instances/{failed}/rewind", 202),
    # restart
    ApiCase("POST", "instances/{done}/restart", 202),
    ApiCase("POST", "instances/{running}/restart", 202),
    ApiCase("POST", "instances/{running}/restart?restartWithNewInstanceId=false", 409),
    ApiCase("POST", "instances/nobody/restart", 404, NO_ID),
    ApiCase(
        "POST", "instances/{done}/restart?restartWithNewInstanceId=2", 400, WRONG.format("restartWithNewInstanceId")
    ),
    ApiCase("POST", "instances/{done}/restart", 202, body=b'{"a":1}', media=None),
    ApiCase("POST", "instances/{done}/restart", 400, NO_JSON, b"{"),
    ApiCase("POST", "instances/nobody/restart", 404, NO_ID, b"1"),
    ApiCase("GET", "instances/{done}/restart", 404),
    # rewind in part
    ApiCase("POST", "instances/{failed}/rewind?dryRun=true", 200),
    ApiCase("POST", "instances/{failed}/rewind?dryRun=maybe", 400, WRONG.format("dryRun")),
    ApiCase("POST", "instances/{failed}/rewind?failedActivities=maybe", 400, WRONG.format("failedActivities")),
    ApiCase("POST", "instances/{failed}/rewind?failedActivities=true", 409, "has no failed activity"),
    ApiCase("POST", "instances/{failed}/rewind?to=1", 400, WRONG.format("to")),
    ApiCase("POST", "instances/{failed}/rewind?to=-3", 400, WRONG.format("to")),
    ApiCase("POST", f"instances/{{failed}}/rewind?to={'9' * 30}", 400, WRONG.format("to")),
    ApiCase("POST", "instances/{failed}/rewind?to=999", 409, "can be rewound to records 2 to"),
    ApiCase("POST", "instances/{failed}/rewind?to=999&dryRun=true", 409, "can be rewound to records 2 to"),
    ApiCase("POST", "instances/{failed}/rewind?to=2&failedActivities=true", 400, "exclude each other"),
    ApiCase("POST", "instances/{running}/rewind?dryRun=true", 409, "only a failed instance"),
    ApiCase("POST", "instances/{done}/rewind?dryRun=true", 410, "only supported on failed"),
    ApiCase("POST", "instances/nobody/rewind?dryRun=true", 404, NO_ID),
    # fork
    ApiCase("POST", "instances/{done}/fork?from=2", 202),
    ApiCase("POST", "instances/{running}/fork?FROM=2", 202),
    ApiCase("POST", "instances/{done}/fork?from=2&dryRun=true", 200),
    ApiCase("POST", "instances/{done}/fork", 400, "'from' is missing"),
    ApiCase("POST", "instances/{done}/fork?from=", 400, "'from' is missing"),
    ApiCase("POST", "instances/{done}/fork?from=1", 400, WRONG.format("from")),
    ApiCase("POST", "instances/{done}/fork?from=two", 400, WRONG.format("from")),
    ApiCase("POST", f"instances/{{done}}/fork?from={'9' * 30}", 400, WRONG.format("from")),
    ApiCase("POST", "instances/{done}/fork?from=2&newInstanceId=%40me", 400, "arguments"),
    ApiCase("POST", "instances/@counter@a/fork?from=2", 400, "arguments"),
    ApiCase("POST", "instances/nobody/fork?from=2", 404, NO_ID),
    ApiCase("POST", "instances/nobody/fork?from=2&dryRun=true", 404, NO_ID),
    ApiCase("POST", "instances/{done}/fork?from=999", 409, "can be forked from records 2 to"),
    ApiCase("POST", "instances/{done}/fork?from=999&dryRun=true", 409, "can be forked from records 2 to"),
    ApiCase("POST", "instances/{done}/fork?from=2&newInstanceId={running}", 409, "choose another id"),
    ApiCase("GET", "instances/{done}/fork?from=2", 404),
    # purge
    ApiCase("DELETE", "instances/{running}", 409, "terminate it first"),
    ApiCase("DELETE", "instances/nobody", 404, NO_ID),
    ApiCase("DELETE", "instances", 400, "A filter is required: 'createdTimeFrom', 'createdTimeTo' or 'runtimeStatus'."),
    ApiCase("DELETE", "instances?createdTimeTo=2020-01-02", 404),
    ApiCase("DELETE", "instances?runtimeStatus=Canceled", 404),
    ApiCase("DELETE", "instances?createdTimeFrom=x", 400, WRONG.format("createdTimeFrom")),
    ApiCase("DELETE", "instances?createdTimeFrom=2020-01-01&runtimeStatus=Running", 404),
    ApiCase("DELETE", "instances?createdTimeFrom=2020-01-01&runtimeStatus=Bogus", 400, WRONG.format("runtimeStatus")),
    ApiCase("DELETE", "instances?createdTimeFrom=2020-01-01&createdTimeTo=2020-01-02", 404),
    # entities
    ApiCase("POST", "entities/counter/a?op=add", 202, body=b"2"),
    ApiCase("POST", "entities/counter/a?op=add", 202, body=b""),
    ApiCase("POST", "entities/counter/a", 400, "'op'", b"1"),
    ApiCase("POST", "entities/counter/a?op=", 202, body=b"1"),
    ApiCase("POST", "entities/counter/a?op=add", 400, "Could not parse JSON content", b"{"),
    ApiCase("POST", "entities/counter/a?op=add", 400, "UTF-8", b"\xff", "text/plain"),
    ApiCase("POST", "entities/nothing/a?op=add", 400, "is not an entity"),
    ApiCase("POST", "entities/a%40b/c?op=add", 400, "Entity name cannot contain @"),
    ApiCase("GET", "entities/counter/nobody", 404),
    ApiCase("GET", "entities", 200),
    ApiCase("GET", "entities/counter", 200),
    ApiCase("GET", "entities?fetchState=maybe", 400, WRONG.format("fetchState")),
    ApiCase("GET", "entities?lastOperationTimeFrom=maybe", 400, WRONG.format("lastOperationTimeFrom")),
    ApiCase("DELETE", "entities/counter/nobody", 404),
    ApiCase("PUT", "entities/counter/a", 404),
    ApiCase("DELETE", "entities", 404),
    # unknown routes
    ApiCase("GET", "", 404),
    ApiCase("GET", "nothing", 404),
    ApiCase("GET", "instances/a/b/c/d", 404),
    ApiCase("GET", "openapi.json", 200),
    ApiCase("POST", "openapi.json", 404),
]


@pytest.fixture(scope="module")
def instances(served: RunningServer) -> dict[str, str]:
    """An instance in each state."""
    found = {
        "running": served.start_instance("waiter"),
        "done": served.start_instance("echo", 1),
        "failed": served.start_instance("failing"),
    }
    served.wait_for_status(found["running"], "Running")
    served.wait_for_status(found["done"], "Completed")
    served.wait_for_status(found["failed"], "Failed")
    return found


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path[:50]} {row.status}")
def test_each_route_responds_as_in_the_table(served: RunningServer, instances: dict[str, str], row: ApiCase) -> None:
    path = row.path
    for word, instance in instances.items():
        path = path.replace(f"{{{word}}}", instance)
    if "{failed}" in row.path:
        served.wait_for_status(instances["failed"], "Failed")
    headers = {} if row.media is None else {"content-type": row.media}
    answer = served.http.request(row.method, f"{BASE}/{path}", content=row.body, headers=headers)
    assert answer.status_code == row.status, answer.text
    if row.status < 400 or (row.method, row.status) == ("GET", 500) or row.method == "HEAD":
        return
    error = answer.json()
    assert [*error] == ["Message", "ExceptionMessage", "ExceptionType", "StackTrace"]
    assert error["StackTrace"] is None
    assert (row.message or "") in error["Message"]


def test_the_openapi_document_is_valid() -> None:
    text = json.dumps(build_document())
    assert yaml.safe_load(text) == build_document()
    for schema in build_document()["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_a_start_returns_its_links(served: RunningServer) -> None:
    answer = served.http.post(f"{BASE}/orchestrators/echo/some%20id%3A1", json={"a": 1})
    assert [*answer.json()] == LINKS
    link = f"{served.url}{BASE}/instances/some%20id%3A1"
    assert answer.headers["location"] == answer.json()["statusQueryGetUri"] == link
    assert answer.headers["retry-after"] == "10"
    assert answer.json()["terminatePostUri"] == f"{link}/terminate?reason={{text}}"
    assert served.wait_for_status(quote("some id:1"), "Completed")["output"] == {"a": 1}


def test_the_id_of_an_ended_instance_can_be_reused(served: RunningServer) -> None:
    for data in (1, 2):
        assert served.http.post(f"{BASE}/orchestrators/echo/again", json=data).status_code == 202
        wait_until(lambda: served.wait_for_status("again", "Completed")["output"] == data)  # noqa: B023


def test_of_concurrent_starts_of_one_id_one_succeeds(served: RunningServer) -> None:
    def start(number: int) -> int:
        return served.http.post(f"{BASE}/orchestrators/waiter/only-one", json=number).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(start, range(8))) == [202, *[409] * 7]


def test_the_location_of_a_running_instance_is_its_status(served: RunningServer, instances: dict[str, str]) -> None:
    answer = served.http.get(f"{BASE}/instances/{instances['running']}?showInput=false")
    assert answer.headers["location"] == f"{served.url}{BASE}/instances/{instances['running']}?showInput=false"
    assert answer.headers["retry-after"] == "5"
    assert [*answer.json()] == STATUS
    assert answer.json()["customStatus"] == "waiting"


def test_extra_fields_are_returned_on_request(served: RunningServer) -> None:
    instance = served.start_instance("waiter")
    served.wait_for_status(instance, "Running")
    body = served.http.get(f"{BASE}/instances/{instance}?showWaiting=true").json()
    assert body["waitingFor"][0]["name"] == "Go"
    assert body["blocked"] is None


def test_a_history_includes_inputs_and_results_on_request(served: RunningServer) -> None:
    instance = served.start_instance("waiter")
    served.wait_for_status(instance, "Running")
    served.http.post(f"{BASE}/instances/{instance}/raiseEvent/Go", json="loud")
    assert served.wait_for_status(instance, "Completed")["output"] == "LOUD"
    path = f"{BASE}/instances/{instance}?showHistory=true"
    plain = served.http.get(f"{path}&showInput=false").json()["historyEvents"]
    assert [row["EventType"] for row in plain] == [
        "ExecutionStarted",
        "EventRaised",
        "TaskCompleted",
        "ExecutionCompleted",
    ]
    assert not any("Result" in row or "Input" in row for row in plain)
    full = served.http.get(f"{path}&showHistoryOutput=TRUE").json()["historyEvents"]
    assert full[1]["Input"] == "loud"
    assert full[2]["Result"] == full[3]["Result"] == "LOUD"
    assert "historyEvents" not in served.http.get(f"{BASE}/instances/{instance}?showHistoryOutput=true").json()


def test_a_start_that_waits_returns_the_output_the_status_or_the_links(served: RunningServer) -> None:
    def start(name: str, query: str) -> Any:
        answer = served.http.post(f"{BASE}/orchestrators/{name}?{query}", json="x")
        return answer.status_code, answer.json()

    assert start("echo", "timeout=10&pollingInterval=0.05") == (200, "x")
    code, body = start("failing", "timeout=10&pollingInterval=0.05")
    assert (code, body["runtimeStatus"]) == (200, "Failed")
    code, body = start("waiter", "timeout=0.2&pollingInterval=0.05")
    assert (code, [*body]) == (202, LINKS)
    assert start("waiter", "timeout=9")[0] == 202


def test_suspending_and_terminating(served: RunningServer) -> None:
    instance = served.start_instance("waiter")
    served.http.post(f"{BASE}/instances/{instance}/suspend?reason=later")
    served.wait_for_status(instance, "Suspended")
    served.http.post(f"{BASE}/instances/{instance}/resume")
    served.wait_for_status(instance, "Running")
    served.http.post(f"{BASE}/instances/{instance}/terminate?reason=enough")
    assert served.wait_for_status(instance, "Terminated")["output"] == "enough"


def test_a_restart_has_the_same_input(served: RunningServer) -> None:
    first = served.start_instance("echo", [1])
    served.wait_for_status(first, "Completed")
    second = served.http.post(f"{BASE}/instances/{first}/restart").json()["id"]
    assert second != first
    assert served.wait_for_status(second, "Completed")["output"] == [1]
    same = served.http.post(f"{BASE}/instances/{first}/restart?restartWithNewInstanceId=false").json()["id"]
    assert same == first


def test_pages_contain_every_instance_once(served: RunningServer) -> None:
    wanted = [f"page-{number}" for number in range(7)]
    for instance in wanted:
        served.http.post(f"{BASE}/orchestrators/echo/{instance}", json=instance)
        served.wait_for_status(instance, "Completed")
    found: list[str] = []
    headers: dict[str, str] = {}
    path = f"{BASE}/instances?instanceIdPrefix=page-&top=3&runtimeStatus=Completed,Failed&runtimeStatus=Running"
    while True:
        answer = served.http.get(path, headers=headers)
        found += [row["instanceId"] for row in answer.json()]
        assert all(row["input"] == row["instanceId"] for row in answer.json())
        if "x-ms-continuation-token" not in answer.headers:
            break
        headers = {"x-ms-continuation-token": answer.headers["x-ms-continuation-token"]}
    assert found == wanted
    assert served.http.get(f"{path}&showInput=false").json()[0]["input"] is None
    assert served.http.get(path, headers={"x-ms-continuation-token": "none"}).status_code == 400
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()  # its plus sign goes unescaped, as many send it
    assert served.http.get(f"{path}&createdTimeFrom={later}").json() == []


def test_a_purge_deletes_only_ended_instances(served: RunningServer) -> None:
    since = datetime.now(UTC).isoformat()
    done, live = served.start_instance("echo"), served.start_instance("waiter")
    served.wait_for_status(done, "Completed")
    served.wait_for_status(live, "Running")
    answer = served.http.delete(f"{BASE}/instances", params={"createdTimeFrom": since})
    assert answer.json() == {"instancesDeleted": 1}
    wait_until(lambda: served.http.get(f"{BASE}/instances/{done}").status_code == 404)
    assert served.http.get(f"{BASE}/instances/{live}").status_code == 202
    assert served.http.delete(f"{BASE}/instances", params={"createdTimeFrom": since}).status_code == 404
    served.http.post(f"{BASE}/instances/{live}/terminate")
    served.wait_for_status(live, "Terminated")
    assert served.http.delete(f"{BASE}/instances/{live}").json() == {"instancesDeleted": 1}


def test_entities_are_signaled_listed_and_deleted(served: RunningServer) -> None:
    path = f"{BASE}/entities/Counter/x%2Fy"
    since = datetime.now(UTC) - timedelta(seconds=1)
    for _ in range(2):
        assert served.http.post(f"{path}?op=add", json=3).content == b""
    wait_until(lambda: served.http.get(path).text == "6")
    listed = f"{BASE}/entities/counter?fetchState=true&lastOperationTimeFrom={quote(since.isoformat())}"
    rows = {row["entityId"]["key"]: row for row in served.http.get(listed).json()}
    assert rows["x/y"]["state"] == 6
    assert rows["x/y"]["entityId"]["name"] == "counter"
    assert served.http.get(f"{BASE}/entities?lastOperationTimeTo=2020-01-01").json() == []
    assert all("state" not in row for row in served.http.get(f"{BASE}/entities").json())
    assert served.http.delete(path).status_code == 202
    wait_until(lambda: served.http.get(path).status_code == 404)
    assert served.http.delete(path).status_code == 202


def test_a_plain_text_body_is_a_string_for_an_entity(served: RunningServer) -> None:
    answer = served.http.post(f"{BASE}/orchestrators/echo", content=b"\n", headers={"content-type": "text/plain"})
    assert answer.status_code == 400
    sent = served.http.post(f"{BASE}/entities/counter/t?op=add", content="7", headers={"content-type": "text/plain"})
    assert sent.status_code == 202


@pytest.mark.parametrize("prefix", ["", "v9", "api"])
def test_starts_are_accepted_below_api_whatever_the_route_prefix(tmp_path: Path, prefix: str) -> None:
    with run_server(tmp_path, settings=HttpConfig(route_prefix=prefix)) as made:
        for path in ("/api", f"/{prefix}".rstrip("/")):
            assert made.http.post(f"{path}/orchestrators/echo", json=1).status_code == 202


def test_the_start_route_of_the_documentation_works(served: RunningServer) -> None:
    answer = served.http.post("/api/orchestrators/echo", json=5)
    assert answer.status_code == 202
    assert served.wait_for_status(answer.json()["id"], "Completed")["output"] == 5
    assert served.http.get("/api/orchestrators/echo").status_code == 404
    assert served.http.get("/nothing").status_code == 404


def test_a_status_reads_no_journal_while_others_are_started(
    served: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(disk: object, folder: str) -> None:
        raise AssertionError("the journal was read")

    instance = served.start_instance("waiter", 1)
    served.wait_for_status(instance, "Running")
    monkeypatch.setattr("durablecli.store.hub_reader.read_journal_snapshot", never)
    for _ in range(20):
        served.start_instance("echo", 1)
        assert served.http.get(f"{BASE}/instances/{instance}").json()["runtimeStatus"] == "Running"


@pytest.mark.parametrize("id", ["two words", "%20", "a%b+c", "é", "日本"])
def test_links_work_for_every_instance_id(served: RunningServer, id: str) -> None:
    where = f"{BASE}/instances/{quote(id, safe='')}"
    assert served.http.post(f"{BASE}/orchestrators/waiter/{quote(id, safe='')}").status_code == 202
    wait_until(lambda: served.http.get(where).json()["runtimeStatus"] == "Running")
    first = served.http.get(f"{where}?showInput=false")
    assert first.status_code == 202
    again = served.http.get(first.headers["location"])
    assert (again.status_code, again.json()["instanceId"]) == (202, id)
    assert again.headers["location"] == first.headers["location"]
    served.http.post(f"{where}/terminate")


def test_paths_ignore_case_but_must_match_otherwise(served: RunningServer) -> None:
    get, post = served.http.get, served.http.post
    assert get("/Runtime/WebHooks/DurableTask/Instances").status_code == 200
    assert get("/runtime/webhooks/durable%74ask/instances/nobody").json()["Message"] == NO_ID
    assert post("/API/Orchestrators/echo").status_code == 202
    for path in (BASE, "/api/orchestrators/echo/", "/api/orchestrators/"):
        assert post(path).status_code == 404


def test_head_responds_like_get_without_a_body(served: RunningServer) -> None:
    for path in ("openapi.json", "entities"):
        get, head = served.http.get(f"{BASE}/{path}"), served.http.head(f"{BASE}/{path}")
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == get.headers["content-length"]


def test_polling_stops_when_the_client_disconnects(served: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []
    pauses: list[float] = []
    disconnected = threading.Event()
    get_status, is_disconnected = Client.get_status, Request.is_disconnected

    def record_read(client: Client, instance_id: str, *rest: Any) -> Any:
        reads.append(instance_id)
        return get_status(client, instance_id, *rest)

    async def watch_connection(request: Request) -> bool:
        found = await is_disconnected(request)
        if found and "abandoned" in request.url.path:
            disconnected.set()
        return found

    class RecordingPoller(Poller):
        def next_pause(self) -> float:
            pauses.append(super().next_pause())
            return pauses[-1]

    monkeypatch.setattr(EndWatchers, "watch", lambda *given: nullcontext(False))  # as without an engine in the process
    monkeypatch.setattr(Client, "get_status", record_read)
    monkeypatch.setattr(Request, "is_disconnected", watch_connection)
    monkeypatch.setattr(instances_api, "Poller", RecordingPoller)
    with pytest.raises(httpx.ReadTimeout):
        served.http.post(f"{BASE}/orchestrators/waiter/abandoned?timeout=600&pollingInterval=0", timeout=0.5)
    assert disconnected.wait(20)
    assert set(pauses) == {0.1}
    before = reads.count("abandoned")
    assert before > 1
    served.http.post(f"{BASE}/orchestrators/waiter/later?timeout=1&pollingInterval=0")
    assert reads.count("later") > 1
    assert reads.count("abandoned") == before


def test_a_waiting_request_reads_the_status_at_its_beginning_and_at_the_end(
    served: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[str] = []
    get_status = Client.get_status

    def record_read(client: Client, instance_id: str) -> Any:
        reads.append(instance_id)
        return get_status(client, instance_id)

    monkeypatch.setattr(Client, "get_status", record_read)
    monkeypatch.setattr(instances_api, "_MAX_POLL_INTERVAL", 600.0)
    monkeypatch.setattr(polling, "_RECHECK_INTERVAL", 600.0)
    with ThreadPoolExecutor(1) as threads:
        path = f"{BASE}/orchestrators/waiter/woken?timeout=600&pollingInterval=600"
        answer = threads.submit(served.http.post, path)
        wait_until(lambda: reads)
        served.client.raise_event("woken", "Go", "on")
        assert answer.result(20).json() == "ON"
    assert reads == ["woken", "woken"]


def test_a_page_ends_at_the_size_limit(served: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        assert served.http.post(f"{BASE}/orchestrators/waiter/large{number}", json="x" * 1000).status_code == 202
        signal = f"{BASE}/entities/counter/large{number}?op=add"
        assert served.http.post(signal, json=1).status_code == 202
    for number in range(5):
        wait_until(partial(_exists, served, f"{BASE}/entities/counter/large{number}"))
    monkeypatch.setattr(paging, "MAX_RESPONSE_BYTES", 1500)
    pages = read_pages(served, f"{BASE}/instances?instanceIdPrefix=large")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [row["instanceId"] for page in pages for row in page] == [f"large{number}" for number in range(5)]
    monkeypatch.setattr(paging, "MAX_RESPONSE_BYTES", 1)
    pages = read_pages(served, f"{BASE}/entities/counter")
    assert {len(page) for page in pages} == {1}
    assert {f"large{number}" for number in range(5)} <= {row["entityId"]["key"] for page in pages for row in page}


def _exists(served: RunningServer, path: str) -> bool:
    return served.http.get(path).status_code == 200


def read_pages(served: RunningServer, path: str) -> list[list[Any]]:
    """All pages of a list."""
    pages: list[list[Any]] = []
    headers: dict[str, str] = {}
    while True:
        answer = served.http.get(path, headers=headers)
        pages.append(answer.json())
        if CONTINUATION_HEADER not in answer.headers:
            return pages
        headers = {CONTINUATION_HEADER: answer.headers[CONTINUATION_HEADER]}


def test_an_instance_is_started_with_tags_and_listed_by_them(served: RunningServer) -> None:
    for path in ("orchestrators/waiter", "orchestrators/waiter/tagged"):
        assert served.http.post(f"{BASE}/{path}?tag=customer=4%202&tag=env=a%3Db").status_code == 202
    served.start_instance("waiter")
    found = served.http.get(f"{BASE}/instances?tag=customer=4%202").json()
    assert len(found) == 2
    assert {tuple(each["tags"].items()) for each in found} == {(("customer", "4 2"), ("env", "a=b"))}
    assert served.http.get(f"{BASE}/instances?tag=customer=4%202&tag=env=a").json() == []
    assert served.http.get(f"{BASE}/instances/tagged").json()["tags"] == {"customer": "4 2", "env": "a=b"}
