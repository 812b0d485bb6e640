"""An app in the style of the durabletask SDK, in a daemon: each case starts over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import httpx
import pytest

from tests.azure.test_scenarios import App
from tests.support.waiting import wait_until

NUMBERS = count(1)


class Caller:
    """Calls the HTTP functions of the app."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return self._read(self.http.post(f"/api/{path}", json=body), status)

    def get(self, path: str, status: int = 200) -> Any:
        return self._read(self.http.get(f"/api/{path}"), status)

    def _read(self, answer: httpx.Response, status: int) -> Any:
        assert answer.status_code == status, answer.text
        return answer.json()

    def start(self, name: str, input: Any = None, **options: str) -> str:
        id = options.setdefault("id", f"{name}-{next(NUMBERS)}")
        links = self._read(self.http.post(f"/api/start/{name}", json=input, params=options), 202)
        assert links["id"] == id
        return id

    def wait(self, id: str, timeout: float = 20) -> Any:
        return self.get(f"wait/{id}?timeout={timeout}")

    def run(self, name: str, input: Any = None, **options: str) -> Any:
        return self.wait(self.start(name, input, **options))

    def output(self, name: str, input: Any = None, **options: str) -> Any:
        state = self.run(name, input, **options)
        assert state["status"] == "COMPLETED", state
        assert state["is_status"]
        return state["output"]

    def wait_for(self, id: str, condition: Callable[[Any], bool]) -> None:
        wait_until(lambda: condition(self.get(f"state/{id}")), description=f"the state of {id}", interval=0.02)

    def state_of(self, path: str, expected: int) -> None:
        def is_there() -> bool:
            answer = self.http.get(f"/api/entity/{path}")
            return bool(answer.status_code == 200 and answer.json()[2] == expected)

        wait_until(is_there, description=f"{expected} in {path}", interval=0.02)


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    app = App("sdk_style", tmp_path_factory.mktemp("app"), "installed")
    app.start_daemon()
    yield Caller(app.http)
    app.close()


# ── orchestrators ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "input", "expected"),
    [
        ("chain", ["Tokyo", "Seattle"], ["Hello Tokyo!", "Hello Seattle!"]),
        ("chain", [], []),
        ("fan_out", 4, 14),
        ("sleep", 30, True),
        ("approval", 30, "timed out"),
        ("retried", 2, 3),
        ("retried_with_options", 1, 2),
        ("retried_child", None, ["builtins.LookupError", "there is no such city"]),
        ("catching", "bang", ["builtins.ValueError", "bang", True]),
        ("counter_loop", 1, 5),
        ("typed", {"item": "pen", "count": 4}, ["Order", "Parcel", 5]),
        ("through_an_activity", None, ["Hello Rome!", None]),
        ("fast_and_slow", None, [True, 25, True]),
        ("first_failure", None, ["bang", True]),
        (
            "with_input_type",
            {"item": "pen", "count": 1},
            ["Order", True, False, True, "Activity function 'explode' failed: ValueError: bang"],
        ),
        ("one_parameter", ["Bern"], ["Hello Bern!", 5]),
    ],
)
def test_an_orchestrator_completes(caller: Caller, name: str, input: Any, expected: Any) -> None:
    assert caller.output(name, input) == expected


def test_an_activity_receives_its_context(caller: Caller) -> None:
    assert caller.output("Renamed", id="renamed") == ["renamed", "Order", 3]


def test_sub_orchestrations_know_their_parent(caller: Caller) -> None:
    assert caller.output("parent", ["Oslo", "Rome"], id="p") == [["Hello Oslo!", "p"], ["Hello Rome!", "p"]]
    assert caller.output("parent_of_a_named_child", "my-child", id="q") == ["Hello Oslo!", "q"]
    assert caller.get("state/my-child")["name"] == "child"


def test_identity_and_version(caller: Caller) -> None:
    assert caller.output("identity", id="me", version="2.1") == ["me", True, "2.1", None]


@pytest.mark.parametrize(
    ("name", "kind", "text", "is_task_failure"),
    [
        ("failing", "durabletask.task.TaskFailedError", "failing: Activity task #1 failed: bang", True),
        ("fails_at_once", "builtins.RuntimeError", "bang", False),
    ],
)
def test_a_failure_has_details(caller: Caller, name: str, kind: str, text: str, is_task_failure: bool) -> None:
    state = caller.run(name, "bang", id=name)
    assert (state["status"], state["output"]) == ("FAILED", None)
    assert state["failure"] == [kind, text, is_task_failure]


def test_retries_that_run_out(caller: Caller) -> None:
    assert caller.run("retried", 9)["failure"][1].endswith("Activity task #1 failed: attempt 3")


# ── events and custom status ─────────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_in_time(caller: Caller) -> None:
    id = caller.start("approval", 60_000)
    caller.wait_for(id, lambda state: state["custom_status"] == "waiting")
    caller.post(f"do/event/{id}?name=approval", {"by": "me"})
    state = caller.wait(id)
    assert (state["output"], state["custom_status"]) == ({"by": "me"}, {"approved": True})


def test_events_before_and_after_they_are_awaited(caller: Caller) -> None:
    id = caller.start("collect", 2)
    for number in (1, 2):
        caller.post(f"do/event/{id}?name=part", number)
    caller.post(f"do/event/{id}?name=order", {"item": "pen", "count": 1})
    assert caller.wait(id)["output"] == [[1, 2], "Order"]


def test_events_from_another_orchestration(caller: Caller) -> None:
    id = caller.start("approval", 60_000)
    assert caller.output("send", id) == "sent"
    assert caller.wait(id)["output"] == "by another"


def test_events_are_kept_for_the_next_execution(caller: Caller) -> None:
    id = caller.start("drain_events", [])
    for number in range(3):
        caller.post(f"do/event/{id}?name=next", number)
    assert caller.wait(id)["output"] == [0, 1, 2]


def test_a_custom_status_is_set_and_removed(caller: Caller) -> None:
    id = caller.start("statuses")
    caller.wait_for(id, lambda state: state["custom_status"] == {"step": 1})
    caller.post(f"do/event/{id}?name=go")
    caller.wait_for(id, lambda state: state["custom_status"] is None)
    caller.post(f"do/event/{id}?name=go")
    assert caller.wait(id)["status"] == "COMPLETED"


# ── entities ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_class_and_function_entities(caller: Caller) -> None:
    message = "Operation 'break_it' on entity '@counter@k' failed with error: broken"
    assert caller.output("uses_entities", "k") == [5, 7, message, 5]
    assert caller.get("entity/Counter/k") == [True, "5", 5, True]
    assert caller.get("entity/Counter/other", 404) is None


def test_locks(caller: Caller) -> None:
    ids = [caller.start("transfer", amount) for amount in (1, 2, 3)]
    found = [caller.wait(id)["output"] for id in ids]
    assert all(left + right == 0 for left, right in found)
    caller.state_of("Counter/target", 6)


def test_entities_send_and_start(caller: Caller) -> None:
    for operation, body in (("pass_on", 4), ("later", 5), ("start", "by-an-entity")):
        caller.post(f"signal/Counter/sender/{operation}", body)
    caller.state_of("tally/passed", 4)
    caller.state_of("tally/later", 5)
    wait_until(
        lambda: caller.http.get("/api/state/by-an-entity").status_code == 200, description="the start", interval=0.02
    )
    assert caller.wait("by-an-entity")["output"] == ["Hello Paris!"]


def test_entities_of_the_older_style_and_their_lists(caller: Caller) -> None:
    caller.post("signal/older/a", None, 404)
    for key in ("a", "b"):
        caller.post(f"signal/older/{key}/add", 2)
        caller.state_of(f"older/{key}", 2)
    caller.post("signal/tally/gone/add", 1)
    caller.post("signal/tally/gone/reset")
    wait_until(lambda: caller.http.get("/api/entity/tally/gone").status_code == 404, description="reset", interval=0.02)
    found = caller.get("entities/older")
    assert found["ids"] == ["@older@a", "@older@b"]
    assert found["removed"] >= 1


# ── the client ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_suspend_and_resume(caller: Caller) -> None:
    id = caller.start("approval", 60_000)
    caller.wait_for(id, lambda state: state["custom_status"] == "waiting")
    caller.post(f"do/suspend/{id}")
    caller.wait_for(id, lambda state: state["status"] == "SUSPENDED")
    caller.post(f"do/event/{id}?name=Approval", "kept")
    assert caller.get(f"wait/{id}?timeout=0.3", 408).startswith("Timed-out")
    caller.post(f"do/resume/{id}")
    assert caller.wait(id)["output"] == "kept"


@pytest.mark.parametrize("output", ["enough", {"code": 1}, None])
def test_terminate_with_an_output(caller: Caller, output: Any) -> None:
    id = caller.start("approval", 60_000)
    caller.post(f"do/terminate/{id}", output)
    state = caller.wait(id)
    assert (state["status"], state["output"]) == ("TERMINATED", output)


def test_rewind(caller: Caller) -> None:
    id = caller.start("retried", 4)
    assert caller.wait(id)["status"] == "FAILED"
    caller.post(f"do/rewind/{id}")
    caller.wait_for(id, lambda state: state["status"] == "COMPLETED")
    assert caller.get(f"state/{id}")["output"] == 5


@pytest.mark.parametrize("is_new", [False, True])
def test_restart(caller: Caller, is_new: bool) -> None:
    id = caller.start("chain", ["Rome"])
    assert caller.wait(id)["output"] == ["Hello Rome!"]
    again = caller.post(f"do/restart/{id}", is_new)
    assert (again != id) == is_new
    assert caller.wait(again)["output"] == ["Hello Rome!"]


def test_which_instances_are_replaced(caller: Caller) -> None:
    running = caller.start("approval", 60_000)
    refused = caller.http.post("/api/start/chain", params={"id": running, "replace": "1"}, json=[])
    assert (refused.status_code, running in refused.text) == (409, True)
    ended = caller.start("chain", ["Rome"])
    caller.wait(ended)
    assert caller.output("chain", ["Oslo"], id=ended, replace="1") == ["Hello Oslo!"]


def test_purge(caller: Caller) -> None:
    id = caller.start("fails_at_once", "bang")
    caller.wait(id)
    assert caller.post(f"do/purge/{id}") == [1, True]
    assert caller.get(f"state/{id}", 404) is None
    caller.wait(caller.start("fails_at_once", "bang"))
    assert caller.post("purge/FAILED") >= 1


def test_lists(caller: Caller) -> None:
    for number in range(3):
        caller.run("chain", ["Rome"], id=f"listed-{number}")
    found = caller.get("list/listed-")
    assert [(each["id"], each["input"], each["output"]) for each in found["states"]] == [
        (f"listed-{number}", ["Rome"], ["Hello Rome!"]) for number in range(3)
    ]
    assert (len(found["page"]), found["more"]) == (2, True)


def test_the_history_has_the_events_of_the_sdk(caller: Caller) -> None:
    caller.run("chain", ["Rome"], id="told")
    assert caller.get("history/told") == [
        "OrchestratorStartedEvent",
        "ExecutionStartedEvent",
        "TaskScheduledEvent",
        "OrchestratorStartedEvent",
        "TaskCompletedEvent",
        "ExecutionCompletedEvent",
    ]


def test_an_instance_that_does_not_exist(caller: Caller) -> None:
    assert caller.get("state/nobody", 404) is None
    assert caller.get("wait/nobody?timeout=1", 404) is None


def test_scheduled_tasks(caller: Caller) -> None:
    assert caller.post("schedule/hourly") == "chain"
    wait_until(lambda: caller.http.get("/api/state/run-of-hourly").status_code == 200, description="a run of it")
    assert caller.wait("run-of-hourly")["output"] == ["Hello Rome!"]
    assert caller.post("schedule/hourly/pause") == "PAUSED"
    assert caller.post("schedule/hourly/resume") == "ACTIVE"
    assert caller.post("schedule/hourly/delete") is None
