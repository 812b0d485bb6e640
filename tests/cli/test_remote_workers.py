"""What the command line says of remote code, from histories and from what the running engine reports of its workers."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from durablecli.model import events as ev
from durablecli.store.disk import LocalDisk
from durablecli.store.engine_info import (
    EngineInfo,
    FunctionInfo,
    RemoteWorkItem,
    ReportedWorkItem,
    WorkerInfo,
    write_engine_info,
)
from tests.cli.conftest import RunDurable
from tests.support.history_writer import HubWriter, open_hub_writer

LOCAL = (FunctionInfo("local", "orchestrator"), FunctionInfo("add", "activity"))
TURN_AT = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds + 0.3)


def make_worker(
    label: str = "js", *, work: tuple[RemoteWorkItem, ...] = (), **names: dict[str, tuple[str, ...]]
) -> WorkerInfo:
    kinds: dict[str, dict[str, tuple[str, ...]]] = {"orchestrators": {}, "activities": {}, "entities": {}}
    return WorkerInfo(label, ago(60), **(kinds | names), work=work)


def report(*workers: WorkerInfo, serves: bool = True) -> None:
    """Write what the engine of this process, which holds the hub, reports."""
    calls = tuple(
        ReportedWorkItem(instance=one.instance, execution=one.execution, id=one.id, since=one.since, executor="remote")
        for worker in workers
        for one in worker.work
        if one.kind != "turn"
    )
    told = workers if serves else msgspec.UNSET
    info = EngineInfo(datetime.now(UTC), os.getpid(), LOCAL, calls, workers=told)
    write_engine_info(LocalDisk(), ".state", info)


def write_held_start(writer: HubWriter, instance: str = "o-1", name: str = "Order", version: str | None = None) -> None:
    started = ev.ExecutionStarted(instance, "1", name, version=version, held=True)
    writer.write(instance, started, at=ago(10))


def write_remote_turn(writer: HubWriter, instance: str, *decisions: ev.AnyEvent) -> None:
    write_held_start(writer, instance)
    writer.write(instance, ev.OrchestratorStarted(1, TURN_AT), *decisions)


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        ([], "no worker is connected"),
        ([make_worker()], "1 connected, it doesn't"),
        ([make_worker(orchestrators={"Order": ()})], "1 connected, it does"),
        ([make_worker(orchestrators={"order": (), "Order": ("2",)}), make_worker()], "2 connected, none of them does"),
        ([make_worker(orchestrators={"Order": ("1", "2")}), make_worker()], "2 connected, 1 of them does"),
        ([WorkerInfo("py", TURN_AT), make_worker(orchestrators={"Order": ()})], "2 connected, 2 of them do"),
    ],
)  # fmt: skip
def test_an_instance_that_waits_for_a_worker_says_which_and_is_not_blocked(
    durable: RunDurable, work_folder: Path, workers: list[WorkerInfo], expected: str
) -> None:
    with open_hub_writer(".state") as writer:
        write_held_start(writer, version="1")
        report(*workers)
        shown = durable("status", "o-1").out
        assert re.search(rf"\nwaits for +a worker that runs 'Order' \({expected}\), for \d+ s\n", shown)
        assert "blocked" not in shown
        (wait,) = json.loads(durable("status", "o-1", "-o", "json").out)["waitingFor"]
        assert (wait["kind"], wait["name"], wait["worker"].get("connected", 0)) == ("turn", "Order", len(workers))
        assert re.search(r"Pending .* a worker that runs 'Order'\n", durable("list").out)


def test_a_turn_that_a_worker_has_says_which_worker_and_for_how_long(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        write_held_start(writer)
        turn = RemoteWorkItem("turn", "o-1", "1", ago(3))
        report(make_worker("js 10.0.0.7:4000", work=(turn,), orchestrators={"Order": ()}))
        assert re.search(
            r"\nwaits for +its turn, running for 3 s on worker js 10\.0\.0\.7:4000\n", durable("status", "o-1").out
        )
        assert re.search(r"worker js 10\.0\.0\.7:4000\n", durable("list").out)
        (wait,) = json.loads(durable("status", "o-1", "-o", "json").out)["waitingFor"]
        assert wait["worker"]["worker"] == "js 10.0.0.7:4000"


@pytest.mark.parametrize("name", ["LOCAL", "BuiltIn__Timer"])
def test_a_turn_of_the_engines_own_code_is_no_wait(durable: RunDurable, work_folder: Path, name: str) -> None:
    with open_hub_writer(".state") as writer:
        write_held_start(writer, name=name)
        for serves in (True, False):
            report(serves=serves)
            assert "waits for" not in durable("status", "o-1").out
            assert "worker" not in durable("list").out
            assert json.loads(durable("status", "o-1", "-o", "json").out)["waitingFor"] == []


def test_a_scheduled_start_waits_for_its_time_and_then_for_a_worker(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        for id, due in (("later", -3600.0), ("due", 5.0)):
            writer.write(id, ev.ExecutionStarted(id, "1", "Order", start_at=ago(due), held=True))
        report()
        assert re.search(r"\nwaits for +its start at ", durable("status", "later").out)
        assert "a worker that runs 'Order' (no worker is connected), for 5 s\n" in durable("status", "due").out


def test_remote_activities_say_on_which_worker_they_run_or_that_none_runs_them(
    durable: RunDurable, work_folder: Path
) -> None:
    with open_hub_writer(".state") as writer:
        calls = [ev.TaskScheduled(name, id=n) for n, name in enumerate(("charge", "ship", "ADD"), 1)]
        write_remote_turn(writer, "o-1", *calls)
        charging = RemoteWorkItem("activity", "o-1", "1", ago(3), 3)
        report(make_worker("py", work=(charging,), activities={"charge": ()}))
        shown = durable("status", "o-1").out
        assert "activity charge (id 3), running for 3 s on worker py\n" in shown
        missing = r"waiting for a worker that runs 'ship' \(1 connected, it doesn't\)"
        assert re.search(rf"activity ship \(id 4\), queued for .*\n +{missing}\n", shown)
        assert re.search(r"activity ADD \(id 5\), for .*\n(?! +waiting)", shown)
        assert ", 1 running\n" in shown


def test_remote_code_that_waits_for_nothing_known_may_wait_for_an_event(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        write_remote_turn(writer, "o-1", ev.CustomStatusSet(Raw(b"1")))
        writer.write("o-1", ev.EventRaised("Read", Raw(b"1"), held=True), ev.OrchestratorStarted(4, TURN_AT))
        writer.write("l-1", ev.ExecutionStarted("l-1", "1", "local"), ev.EventRaised("Early"))
        report()
        shown = durable("status", "o-1").out
        assert "waits for  what its code awaits, such as an external event: workers don't tell\n" in shown
        assert "unread" not in shown
        assert json.loads(durable("status", "o-1", "-o", "json").out)["remote"] is True
        assert "Early, since" in durable("status", "l-1").out
        assert "remote" not in json.loads(durable("status", "l-1", "-o", "json").out)


def test_operations_of_a_remote_entity_say_which_worker_they_wait_for(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        operation = ev.EntityOperationReceived("add", sender=ev.Origin("o-1", "1", 3), expects_reply=True)
        writer.write("@cart@a", ev.EntityStarted("@cart@a", "1"), operation)
        write_remote_turn(writer, "o-1", ev.EntityOperationCalled("@cart@a", "add", id=1))
        report()
        missing = "a worker that runs 'cart' (no worker is connected)"
        assert f"\nwaits for  {missing}\nqueued " in durable("entity", "get", "@cart@a").out
        assert f"\n           waiting for {missing}\n" in durable("status", "o-1").out
        assert json.loads(durable("entity", "get", "@cart@a", "-o", "json").out)["worker"] == {"name": "cart"}
        running = RemoteWorkItem("entity", "@cart@a", "1", ago(4), 2)
        report(make_worker("go", work=(running,), entities={"cart": ()}))
        assert "\nrunning    operation add, from o-1, for 4 s on worker go\n" in durable("entity", "get", "@cart@a").out
        assert "\n           running for 4 s on worker go\n" in durable("status", "o-1").out


def test_an_unknown_name_is_accepted_while_remote_code_is_served(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state"):
        report(serves=False)
        assert durable("start", "Order").exit_code == 3
        assert durable("entity", "signal", "@cart@a", "add").exit_code == 3
        report(make_worker(orchestrators={"Order": ("2",)}))
        assert durable("start", "Order", "--id", "known").err == ""
        started = durable("start", "Odrer")
        note = "'Odrer' isn't loaded here: it waits for a worker that runs it (1 worker connected)\n"
        assert (started.exit_code, started.err) == (0, note)
        assert durable("start", "local").err == ""
        signaled = durable("entity", "signal", "@cart@a", "add")
        assert (signaled.exit_code, "'cart' isn't loaded here" in signaled.err) == (0, True)


def test_functions_of_workers_are_listed_with_versions_and_workers(durable: RunDurable, work_folder: Path) -> None:
    (work_folder / "workflows").mkdir()
    (work_folder / "workflows" / "own.py").write_text("import durablecli as df\n\n@df.activity\ndef add(x): ...\n")
    first = make_worker("js", orchestrators={"Order": ("2", "1")}, activities={"Add": (), "ship": ("1",)})
    with open_hub_writer(".state"):
        report()
        assert "no worker is connected" in durable("functions").err
        report(
            first, WorkerInfo("py", ago(1), activities={"ship": ()}, work=(RemoteWorkItem("turn", "a", "1", ago(1)),))
        )
        shown = durable("functions")
        assert re.search(r"\nOrder +orchestrator +version 1, 2 +remote, worker js\n", shown.out)
        assert re.search(r"\nship +activity +remote, worker js, py\n", shown.out)
        assert not re.search(r"\nAdd ", shown.out)
        assert shown.err == "worker py runs orchestrators, entities of any name\n"
        listed = json.loads(durable("functions", "-o", "json").out)
        assert listed["remote"] == [
            {"name": "Order", "kind": "orchestrator", "versions": ["1", "2"], "workers": ["js"]},
            {"name": "ship", "kind": "activity", "versions": [], "workers": ["js", "py"]},
        ]
        assert [(each["label"], each["inFlight"]) for each in listed["workers"]] == [("js", {}), ("py", {"turn": 1})]
    assert "remote" not in json.loads(durable("functions", "-o", "json").out)


def test_a_hub_of_remote_code_alone_needs_no_functions_of_its_own(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state"):
        report(make_worker(orchestrators={"Order": ()}))
        assert durable("functions").exit_code == 0
    assert durable("functions").exit_code == 78


def test_remote_code_that_is_blocked_says_how_workers_are_served(durable: RunDurable, work_folder: Path) -> None:
    with open_hub_writer(".state") as writer:
        write_remote_turn(writer, "o-1", ev.TaskScheduled("ship", id=1))
        writer.write("o-1", ev.ExecutionBlocked("orchestrator 'Order' isn't loaded"))
        writer.write("l-1", ev.ExecutionStarted("l-1", "1", "local"), ev.ExecutionBlocked("no"))
    hint = "its last turn ran on a worker: durable run-daemon --grpc serves workers"
    assert f"\n           {hint}\n" in durable("status", "o-1").out
    assert hint not in durable("status", "l-1").out
