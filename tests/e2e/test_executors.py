"""Activities in threads, coroutines and processes, and what is said while they run."""

from __future__ import annotations

import signal
from collections import Counter

from tests.support.cli_harness import Hub, until


def test_a_worker_that_is_killed_runs_only_its_own_activity_again(hub: Hub) -> None:
    hub("start", "deaths", "--id", "d")
    hub.finish("executors")
    assert hub.status("d")["output"] == [0, 1, 4, 9, 16, 25, 7]
    counted = Counter(line[0] for line in hub.ran())
    assert counted == {"square": 6, "begin": 2}
    first, second = (line for line in hub.ran() if line[0] == "begin")
    assert first[2] == "False"
    assert second[2] == "True"
    assert first[1] != second[1]


def test_the_fifth_death_fails_the_activity(hub: Hub) -> None:
    assert "died 5 times" in hub.run("executors", "hopeless", code=6).err
    assert len(hub.ran()) == 5
    assert len({line[1] for line in hub.ran()}) == 5


def most_at_once(hub: Hub) -> int:
    now = most = 0
    for line in hub.ran():
        now += {"begin": 1, "end": -1}[line[0]]
        most = max(most, now)
    return most


def test_async_activities_run_at_the_same_time(hub: Hub) -> None:
    hub("start", "many_async", "--id", "a", "--input", "200")
    hub.finish("executors")
    assert hub.status("a")["output"] == 200
    assert most_at_once(hub) == 200


def test_a_function_runs_no_more_often_at_once_than_it_says(hub: Hub) -> None:
    hub("start", "many_narrow", "--id", "n", "--input", "9")
    hub.finish("executors")
    assert hub.status("n")["output"] == 36
    assert most_at_once(hub) == 2


def test_an_activity_may_ask_about_its_call(hub: Hub) -> None:
    hub("start", "asks", "--id", "a")
    said = hub.finish("executors")
    (_, first, n1, key), (_, second, n2, again) = hub.ran()
    assert (first, second) == ("1", "2")
    assert n1 != n2
    assert key == again == f"a/1/{n1}"
    assert hub.status("a")["output"] == {
        "instance_id": "a",
        "task_id": int(n2),
        "name": "fields",
        "attempt": 2,
        "redelivered": False,
        "idempotency_key": key,
        "cancelled": False,
    }
    assert said.count("durablecli.activity.fields: asked by a") == 2


def test_what_an_orchestrator_says_is_said_once_over_restarts(hub: Hub) -> None:
    hub("start", "talks", "--id", "t")
    said = hub.finish("executors")
    hub("raise-event", "t", "go")
    said += hub.finish("executors")
    daemon = hub.daemon("executors")
    hub("raise-event", "t", "go")
    assert hub.client.wait("t", 20).ended
    until(lambda: "at the end" in daemon.said, what="the last line")
    said += daemon.said
    lines = said.splitlines()
    for line in ("before the first yield", "after the first yield", "at the end"):
        assert lines.count(line) == 1, said
    for logged in ("talks: logged before the first yield", "talks: logged after 1 yields"):
        assert said.count(logged) == 1, said


def test_with_closed_standard_streams_no_file_of_the_hub_takes_their_place(hub: Hub) -> None:
    hub.through = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    hub.run("executors", "streams", "--id", "s")
    hub.through = []
    assert hub.status("s")["output"] == ""
    assert b"written by an activity" not in b"".join(
        path.read_bytes() for path in hub.root.rglob("*") if path.is_file() and path.suffix != ".sqlite"
    )
    hub.is_sound()


def test_activities_that_stop_when_the_engine_does_run_again_with_the_next_one(hub: Hub) -> None:
    daemon = hub.daemon("executors", DURABLE_DRAIN="60s")
    hub("start", "stops", "--id", "s")
    until(lambda: len(hub.ran()) == 2, what="both activities")
    daemon.signal(signal.SIGTERM)
    assert daemon.ends(40) == 0
    assert Counter(line[0] for line in hub.ran()) == {"begin": 2, "told": 2}
    assert hub.status("s")["runtimeStatus"] == "Running"
    hub.finish("executors")
    assert hub.status("s")["output"] == ["done", "done"]
