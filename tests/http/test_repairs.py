"""Repairs through the management API: what a dry run lists is what runs again, as by the commands."""

from __future__ import annotations

from typing import Any

from durablecli.model import events as ev
from tests.http.conftest import BASE, RunningServer
from tests.support.waiting import wait_until


def post(served: RunningServer, path: str, status: int = 202, **options: Any) -> Any:
    answer = served.http.post(f"{BASE}/instances/{path}", **options)
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def find_rewinds(served: RunningServer, instance: str) -> list[ev.ExecutionRewound]:
    return [each.event for each in served.client.get_history(instance) if isinstance(each.event, ev.ExecutionRewound)]


def test_a_rewind_of_failed_activities_retries_the_caught_ones(served: RunningServer) -> None:
    instance = served.start_instance("collecting")
    served.wait_for_status(instance, "Failed")
    plain = post(served, f"{instance}/rewind?dryRun=true", 200)
    assert plain == {"instanceId": instance, "sentAgain": []}
    listed = post(served, f"{instance}/rewind?failedActivities=true&dryRun=true", 200)
    assert listed["sentAgain"] == ["activity count_letters [first] (id 2)"]
    assert not find_rewinds(served, instance)
    post(served, f"{instance}/rewind?failedActivities=true&reason=the%20words%20are%20there")
    (rewound,) = wait_until(lambda: find_rewinds(served, instance))
    assert (rewound.reason, rewound.forgotten) == ("the words are there", (3,))


def test_a_rewind_to_a_record_undoes_all_from_it_on(served: RunningServer) -> None:
    instance = served.start_instance("collecting")
    served.wait_for_status(instance, "Failed")
    listed = post(served, f"{instance}/rewind?to=3&dryRun=true", 200)
    assert listed["sentAgain"] == ["activity count_letters [first] (id 2)"]
    post(served, f"{instance}/rewind?to=3")
    (rewound,) = wait_until(lambda: find_rewinds(served, instance))
    assert rewound.forgotten == (3,)


def test_a_restart_with_a_body_has_another_input(served: RunningServer) -> None:
    first = served.start_instance("echo", [1])
    served.wait_for_status(first, "Completed")
    for given in ([2], None):
        second = post(served, f"{first}/restart", json=given, content=None if given else b"null")["id"]
        body = served.wait_for_status(second, "Completed")
        assert (body["input"], body["output"]) == (given, given)
    post(served, f"{first}/restart?restartWithNewInstanceId=false", json="same id")
    wait_until(lambda: served.wait_for_status(first, "Completed")["output"] == "same id")


def test_a_fork_continues_from_the_record(served: RunningServer) -> None:
    original = served.start_instance("waiter")
    served.http.post(f"{BASE}/instances/{original}/raiseEvent/Go", json="loud")
    before = served.wait_for_status(original, "Completed")
    completed = next(each.n for each in served.client.get_history(original) if isinstance(each.event, ev.TaskCompleted))
    path = f"{original}/fork?from={completed}"
    scheduled = post(served, f"{path}&dryRun=true&newInstanceId=never", 200)
    assert scheduled == {"forkOf": original, "sentAgain": [f"activity shout (id {completed - 1})"]}
    assert served.http.get(f"{BASE}/instances/never").status_code == 404
    links = post(served, f"{path}&newInstanceId=the-fork")
    assert links["id"] == "the-fork"
    assert links["statusQueryGetUri"] == f"{served.url}{BASE}/instances/the-fork"
    assert served.wait_for_status("the-fork", "Completed")["output"] == "LOUD"
    assert post(served, f"{path}&timeout=20&pollingInterval=0.1", 200) == "LOUD"
    assert served.wait_for_status(original, "Completed") == before


def test_the_id_of_a_fork_must_be_new(served: RunningServer) -> None:
    original = served.start_instance("echo", 1)
    served.wait_for_status(original, "Completed")
    error = post(served, f"{original}/fork?from=2&newInstanceId={original}", 409)
    assert error["Message"] == f"instance id '{original}' already exists and is Completed: choose another id"
