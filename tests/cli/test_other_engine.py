"""The verbs as clients of another engine: `--engine dts://…`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from durablecli.dts.address import EngineAddress
from tests.cli.conftest import RunDurable
from tests.support.cli_harness import CommandResult
from tests.support.ports import find_free_port
from tests.support.sdk_engine import run_in_memory_engine, run_own_engine
from tests.support.waiting import wait_until

Verb = Callable[..., CommandResult]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["in memory", "own daemon"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineAddress]:
    own = request.param == "own daemon"
    with run_own_engine(tmp_path_factory.mktemp("own")) if own else run_in_memory_engine() as address:
        yield address


@pytest.fixture
def verb(engine: EngineAddress, durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Verb:
    """Run a verb with `--engine`; no hub may come from it."""

    def run(*arguments: str) -> CommandResult:
        result = durable(*arguments, "--engine", str(engine))
        assert not any(work_folder.iterdir())
        return result

    return run


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """The beginning of the ids of a test, so that tests share an engine."""
    return f"{abs(hash(request.node.nodeid)):x}-"


def status_of(verb: Verb, instance: str) -> Any:
    return json.loads(verb("status", instance, "--show-input", "-o", "json").out)


def await_status(verb: Verb, instance: str, status: str) -> None:
    wait_until(lambda: status_of(verb, instance)["runtimeStatus"] == status)


# ── start, status, wait ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_instance_is_started_and_its_output_printed(verb: Verb) -> None:
    assert verb("start", "tour", "--input", '"Oslo"', "--wait") == (0, '"Hello Oslo!"\n', "")


def test_a_status_has_what_the_engine_tells_and_nothing_else(verb: Verb, prefix: str) -> None:
    verb("start", "tour", "--input", '"Oslo"', "--id", f"{prefix}a", "--wait")
    status = status_of(verb, f"{prefix}a")
    created = status.pop("createdTime")
    assert created <= status.pop("lastUpdatedTime")
    assert status == {
        "name": "tour",
        "instanceId": f"{prefix}a",
        "runtimeStatus": "Completed",
        "input": "Oslo",
        "customStatus": {"city": "Oslo"},
        "output": "Hello Oslo!",
    }
    lines = verb("status", f"{prefix}a", "--utc").out.splitlines()
    assert [lines[0], *lines[3:]] == [
        f"{prefix}a  tour  Completed",
        'custom     {"city": "Oslo"}',
        'output     "Hello Oslo!"',
    ]


def test_a_failure_has_its_causes_and_lines(verb: Verb, prefix: str) -> None:
    failed = verb("start", "tour", "--input", '""', "--id", f"{prefix}a", "--wait")
    assert (failed.exit_code, failed.out) == (6, "")
    assert failed.err.startswith(f"durable: {prefix}a Failed: ValueError: empty city\n")
    assert "caused by KeyError: ''" in failed.err
    assert "tests/support/sdk_engine.py" in failed.err
    status = status_of(verb, f"{prefix}a")
    assert [status["failure"]["type"], *(each["type"] for each in status["failure"]["causes"])] == [
        "ValueError",
        "KeyError",
    ]
    assert 'raise ValueError("empty city")' in verb("wait", f"{prefix}a", "--traceback").err


def test_a_wait_ends_with_its_timeout_and_goes_on_later(verb: Verb, prefix: str) -> None:
    verb("start", "approval", "--id", f"{prefix}a")
    started = time.monotonic()
    expired = verb("wait", f"{prefix}a", "--timeout", "500ms")
    assert 0.4 < time.monotonic() - started < 10
    assert (expired.exit_code, expired.out) == (8, "")
    assert expired.err == f"durable: {prefix}a is still Running; wait again: durable wait {prefix}a\n"
    assert verb("raise-event", f"{prefix}a", "Approved", "--data", '{"by": "x"}') == (0, "", "")
    assert verb("wait", f"{prefix}a") == (0, '{"by": "x"}\n', "")


def test_a_live_instance_says_that_its_waits_are_unknown(verb: Verb, prefix: str) -> None:
    verb("start", "approval", "--id", f"{prefix}a")
    await_status(verb, f"{prefix}a", "Running")
    shown = verb("status", f"{prefix}a")
    assert "waits for" not in shown.out
    assert shown.err == "the Durable Task protocol doesn't tell what an instance waits for\n"


def test_ids_that_exist(verb: Verb, prefix: str, engine: EngineAddress) -> None:
    again = ("start", "tour", "--input", '"B"', "--id", f"{prefix}a")
    verb("start", "tour", "--input", '"A"', "--id", f"{prefix}a", "--wait")
    refused = verb(*again)
    assert (refused.exit_code, refused.err) == (
        4,
        f"durable: instance id '{prefix}a' already exists and is Completed\n",
    )
    assert verb(*again, "--if-exists", "skip", "--wait").out == '"Hello A!"\n'
    assert verb(*again, "--if-exists", "replace", "--wait").out == '"Hello B!"\n'


def test_a_batch_is_started_one_after_another(
    verb: Verb, work_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    batch = tmp_path_factory.mktemp("batch") / "cities.jsonl"
    batch.write_text('"A"\n"B"\n')
    started = verb("start", "tour", "--batch", str(batch)).out.split()
    assert [each.rpartition("-")[2] for each in started] == ["0", "1"]
    assert verb("wait", *started).out == '"Hello A!"\n"Hello B!"\n'


# ── the verbs that change an instance ──────────────────────────────────────────────────────────────────────────────


def test_suspend_and_resume(verb: Verb, prefix: str) -> None:
    verb("start", "approval", "--id", f"{prefix}a")
    assert verb("suspend", f"{prefix}a", "--reason", "lunch") == (0, f"{prefix}a  suspended\n", "")
    await_status(verb, f"{prefix}a", "Suspended")
    assert verb("resume", f"{prefix}a").exit_code == 0
    await_status(verb, f"{prefix}a", "Running")
    rows = verb("history", f"{prefix}a").out
    assert "ExecutionSuspended  lunch" in rows
    assert "ExecutionResumed" in rows


def test_terminate(verb: Verb, prefix: str) -> None:
    verb("start", "approval", "--id", f"{prefix}a")
    assert verb("terminate", f"{prefix}a", "--reason", "no use") == (0, f"{prefix}a  terminated\n", "")
    assert verb("wait", f"{prefix}a") == (7, "", f"durable: {prefix}a Terminated: no use\n")
    again = verb("terminate", f"{prefix}a")
    assert (again.exit_code, again.err) == (5, f"durable: {prefix}a is Terminated: nothing is left to do\n")
    late = verb("raise-event", f"{prefix}a", "Approved")
    assert (late.exit_code, late.err) == (5, f"durable: {prefix}a is Terminated: it accepts no more events\n")


def test_rewind_and_restart(verb: Verb, prefix: str) -> None:
    verb("start", "tour", "--input", '""', "--id", f"{prefix}a", "--wait")
    assert verb("rewind", f"{prefix}a") == (0, f"{prefix}a  rewound\n", "")
    assert verb("wait", f"{prefix}a").exit_code == 6
    verb("start", "tour", "--input", '"Oslo"', "--id", f"{prefix}b", "--wait")
    refused = verb("rewind", f"{prefix}b")
    assert (refused.exit_code, refused.err) == (
        5,
        f"durable: {prefix}b is Completed: only a failed instance can be rewound\n",
    )
    new = verb("restart", f"{prefix}b").out.strip()
    assert verb("wait", new).out == '"Hello Oslo!"\n'
    assert verb("restart", "--same-id", f"{prefix}b").out == f"{prefix}b\n"
    assert verb("wait", f"{prefix}b").out == '"Hello Oslo!"\n'


def test_purge_by_id_and_by_filter(verb: Verb, prefix: str) -> None:
    verb("start", "approval", "--id", f"{prefix}live")
    for name in ("a", "b"):
        verb("start", "tour", "--input", '"Oslo"', "--id", f"{prefix}{name}", "--wait")
    assert verb("purge", f"{prefix}a") == (0, f"{prefix}a  purged\n", "")
    assert verb("purge", f"{prefix}a").exit_code == 3
    live = verb("purge", f"{prefix}live")
    assert (live.exit_code, live.err) == (5, f"durable: {prefix}live is Running: terminate it first\n")
    preview = verb("purge", "--prefix", prefix, "--dry-run")
    assert preview.out == f"would purge {prefix}b  tour  Completed\n1 in all; nothing was done\n"
    assert verb("purge", "--prefix", prefix, "--yes") == (0, f"{prefix}b  purged\n", "")
    assert verb("list", "--prefix", prefix, "--count").out == "1\n"


# ── lists and histories ────────────────────────────────────────────────────────────────────────────────────────────


def test_a_list_has_pages(verb: Verb, prefix: str) -> None:
    for at in range(3):
        verb("start", "tour", "--input", '"Oslo"', "--id", f"{prefix}{at}", "--wait")
    first = verb("list", "--prefix", prefix, "--limit", "2", "-o", "jsonl")
    cursor = first.err.removeprefix("more: --cursor ").strip()
    second = verb("list", "--prefix", prefix, "--limit", "2", "--cursor", cursor, "-o", "jsonl")
    ids = [json.loads(line)["instanceId"] for line in (first.out + second.out).splitlines()]
    assert ids == [f"{prefix}{at}" for at in range(3)]
    assert second.err == ""
    bad = verb("list", "--cursor", "ä")
    assert (bad.exit_code, bad.err) == (2, "durable: invalid cursor; list again without it\n")


def test_a_list_filters_by_status_time_and_prefix(verb: Verb, prefix: str) -> None:
    verb("start", "tour", "--input", '"Oslo"', "--id", f"{prefix}a", "--wait")
    verb("start", "tour", "--input", '""', "--id", f"{prefix}b", "--wait")
    listed = verb("list", "--prefix", prefix, "--status", "Failed")
    assert [line.split()[:3] for line in listed.out.splitlines()] == [
        ["ID", "NAME", "STATUS"],
        [f"{prefix}b", "tour", "Failed"],
    ]
    assert "WAITS" not in listed.out
    assert "ValueError: empty city at " in listed.out
    assert verb("list", "--prefix", prefix, "--created-after", "1h", "--count").out == "2\n"
    assert verb("list", "--prefix", prefix, "--created-before", "1h", "--count").out == "0\n"


def test_a_history_is_numbered_and_its_outcomes_name_their_calls(verb: Verb, prefix: str) -> None:
    verb("start", "tours", "--input", '["A","B"]', "--id", f"{prefix}a", "--wait")
    rows = [line.split(maxsplit=4) for line in verb("history", f"{prefix}a", "--utc").out.splitlines()[1:]]
    assert [(int(n), event, details) for n, _, _, event, details in rows] == [
        (1, "ExecutionStarted", 'tours(["A","B"])'),
        (2, "SubOrchestrationInstanceCreated", f'tour("A") as {prefix}a:0001'),
        (3, "SubOrchestrationInstanceCreated", f'tour("B") as {prefix}a:0002'),
        (4, "SubOrchestrationInstanceCompleted", rows[3][4]),
        (5, "SubOrchestrationInstanceCompleted", rows[4][4]),
        (6, "ExecutionCompleted", 'Completed: ["Hello A!","Hello B!"]'),
    ]
    assert sorted(row[4] for row in rows[3:5]) == ['of 2: "Hello A!"', 'of 3: "Hello B!"']
    assert {row[1][:2] for row in rows} == {"20"}  # no event is from 1970
    projected = json.loads(verb("history", f"{prefix}a", "-o", "json").out)
    assert [row["EventType"] for row in projected][0::3] == ["ExecutionStarted", "ExecutionCompleted"]
    lines = [json.loads(line) for line in verb("history", f"{prefix}a", "-o", "jsonl").out.splitlines()]
    assert [line["n"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_a_history_is_followed_to_its_end(verb: Verb, prefix: str) -> None:
    verb("start", "nap", "--input", "1", "--id", f"{prefix}a")
    rows = verb("history", f"{prefix}a", "--follow").out.splitlines()
    assert [row.split()[3] for row in rows] == [
        "ExecutionStarted",
        "TimerCreated",
        "TimerFired",
        "ExecutionCompleted",
    ]


# ── entities ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_entities(verb: Verb) -> None:
    assert verb("entity", "signal", "@counter@k", "add", "--input", "5") == (0, "", "")
    assert verb("entity", "signal", "@counter@k", "add", "--input", "2", "--delay", "1ms").exit_code == 0

    def state() -> Any:
        return json.loads(verb("entity", "get", "@counter@k", "-o", "json").out)

    wait_until(lambda: state()["state"] == 7)
    assert {*state()} == {"entityId", "name", "key", "exists", "state", "lastUpdatedTime", "lockedBy", "backlog"}
    header, row = verb("entity", "list", "--name", "Counter", "--exists").out.splitlines()
    assert header.split() == ["ENTITY", "STATUS", "UPDATED", "QUEUED", "WAITS", "FOR"]
    assert row.split()[:2] == ["@counter@k", "Exists"]
    assert verb("entity", "list", "--name", "count", "--count").out == "0\n"
    verb("entity", "signal", "@counter@k", "delete")
    wait_until(lambda: verb("entity", "list", "--exists", "--count").out == "0\n")
    assert verb("entity", "purge", "--all-empty").err == ("durable: purge all empty entities: add --yes to confirm\n")
    assert verb("entity", "purge", "--all-empty", "--yes") == (0, "1 entity purged\n", "")
    gone = verb("entity", "get", "@counter@k")
    assert (gone.exit_code, gone.err.startswith("durable: no entity '@counter@k' in dts://")) == (3, True)


# ── what the protocol can't say, and errors ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--name", "tour"], "list instances with --name"),
        (["list", "--sort", "name"], "list instances with --sort"),
        (["list", "--reverse"], "list instances with --reverse"),
        (["list", "--tag", "a=b"], "list instances with --tag"),
        (["list", "--parent", "p"], "list instances with --parent"),
        (["list", "--tree", "--status", "Running,Completed,Failed"], "list instances as trees"),
        (["terminate", "--name", "tour", "--yes"], "list instances with --name"),
        (["rewind", "--dry-run", "--status", "Failed"], "tell what a rewind would retry"),
        (["purge", "--force", "x"], "purge instances that haven't ended; terminate them first"),
        (["status", "x", "--watch"], "tell the progress of an instance; durable wait waits for its end"),
        (["entity", "list", "--blocked"], "list entities with --blocked"),
        (["entity", "purge", "@a@b"], "purge single entities; --all-empty purges all empty ones"),
        (["entity", "purge", "--all-empty", "--dry-run"], "tell which entities are empty"),
        (["entity", "list", "--sort", "id"], "list entities with --sort"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_protocol_cannot_say_is_refused_in_one_line(
    verb: Verb, prefix: str, arguments: list[str], message: str
) -> None:
    verb("start", "tour", "--input", '""', "--id", f"{prefix}failed", "--wait")
    refused = verb(*arguments)
    assert (refused.exit_code, refused.out, refused.err) == (
        2,
        "",
        f"durable: the Durable Task protocol can't {message}\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "nobody"],
        ["wait", "nobody"],
        ["history", "nobody"],
        ["raise-event", "nobody", "Go"],
        ["terminate", "nobody"],
        ["suspend", "nobody"],
        ["resume", "nobody"],
        ["rewind", "nobody"],
        ["restart", "nobody"],
        ["purge", "nobody"],
    ],
    ids=" ".join,
)
def test_an_unknown_id_is_not_found(verb: Verb, engine: EngineAddress, arguments: list[str]) -> None:
    assert verb(*arguments) == (3, "", f"durable: no instance 'nobody' in {engine}\n")


@pytest.mark.parametrize(
    "arguments",
    [["logs", "x"], ["doctor"], ["run", "tour"], ["entity", "history", "@a@b"], ["entity", "delete", "@a@b"]],
    ids=" ".join,
)
def test_what_needs_files_is_refused_while_the_settings_name_an_engine(
    durable: RunDurable, work_folder: Path, arguments: list[str]
) -> None:
    (work_folder / "durable.yaml").write_text("engine: dts://localhost:1\n")
    command = " ".join(arguments[: 2 if arguments[0] == "entity" else 1])
    expected = (
        f"durable {command} is only for a hub in files, and the settings name another engine; "
        "--state-dir DIR names the folder of a hub"
    )
    refused = durable(*arguments)
    assert (refused.exit_code, refused.err) == (
        2,
        f"durable: {expected}\n",
    )
    assert "only for a hub" not in durable(*arguments, "--state-dir", "hub").err


def test_an_engine_that_nobody_runs_is_named_after_a_moment(durable: RunDurable) -> None:
    port = find_free_port()
    started = time.monotonic()
    failed = durable("list", "--engine", f"dts://127.0.0.1:{port}")
    assert time.monotonic() - started < 10
    assert (failed.exit_code, failed.out) == (69, "")
    assert failed.err == (
        f"durable: cannot reach 127.0.0.1:{port}: Failed to connect to remote host: Connection refused\n"
    )


def test_a_bad_address_and_two_hubs_are_usage_errors(durable: RunDurable) -> None:
    assert durable("list", "--engine", "dts://localhost").err == (
        "durable: the address of the engine has no port; use dts://HOST:PORT[;HUB]\n"
    )
    both = durable("list", "--engine", "dts://localhost:1", "--state-dir", "x")
    assert (both.exit_code, both.err) == (
        2,
        "durable: --state-dir and --engine exclude each other: give only one of them\n",
    )


def test_the_settings_name_the_engine(
    engine: EngineAddress, durable: RunDurable, work_folder: Path, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work_folder / "durable.yaml").write_text(f"engine: {engine}\n")
    assert durable("start", "tour", "--input", '"Oslo"', "--id", f"{prefix}a", "--wait").out == '"Hello Oslo!"\n'
    assert durable("status", f"{prefix}a", "--state-dir", "elsewhere").exit_code == 3
    (work_folder / "durable.yaml").unlink()
    monkeypatch.setenv("DURABLE_ENGINE", f"Endpoint=http://{engine.target};TaskHub=default;Authentication=None")
    assert durable("wait", f"{prefix}a").out == '"Hello Oslo!"\n'


def test_ctrl_c_ends_a_wait_without_a_traceback(engine: EngineAddress, verb: Verb, prefix: str) -> None:
    verb("start", "approval", "--id", f"{prefix}a")
    command = [sys.executable, "-m", "durablecli", "wait", f"{prefix}a", "--engine", str(engine)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    err = ""
    for pause in (1.0, 3.0, 9.0):  # until the wait has begun
        waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        time.sleep(pause)
        waiting.send_signal(2)
        out, err = waiting.communicate(timeout=20)
        assert (waiting.returncode, out) == (130, "")
        if err:
            break
    assert err == f"stopped waiting; {prefix}a is not affected. Wait again: durable wait {prefix}a\n"
