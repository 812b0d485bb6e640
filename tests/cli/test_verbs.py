"""The verbs as people and programs use them: output formats, terminals, pipes, filters, exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import yaml
from msgspec import Raw

from durablecli.cli.status_text import describe_reasons
from durablecli.client.orchestration_status import DurableOrchestrationStatus, EngineStatus
from durablecli.model import events as ev
from durablecli.model.failures import Failure
from durablecli.model.status import OrchestrationRuntimeStatus
from tests.cli.conftest import RunDurable
from tests.support.history_writer import open_hub_writer

WORKFLOWS = '''
"""Functions to call."""
import durablecli as df

@df.activity
def hello(city: str) -> str:
    if not city:
        raise ValueError("empty city")
    return f"Hello {city}!"

@df.orchestrator
def greet(context):
    city = context.get_input()
    greeting = yield context.call_activity(hello, city)
    return greeting

@df.orchestrator
def patient(context):
    answer = yield context.wait_for_external_event("Go")
    return [context.version, answer]
'''

COMMAND = [sys.executable, "-m", "durablecli"]
PRINTING_WORKFLOWS = '''
"""Functions that print."""
import durablecli as df

print("imported")

@df.activity
def shout(n):
    print("worked\\n", end="")  # in one piece: the engine prints for the orchestrator at the same time
    return n

@df.orchestrator
def loud(context):
    print("turned\\n", end="")
    return (yield context.call_activity(shout, 1))
'''


@pytest.fixture
def workflows(work_folder: Path) -> Path:
    folder = work_folder / "workflows"
    folder.mkdir()
    (folder / "greetings.py").write_text(WORKFLOWS)
    return folder


@pytest.fixture
def hub(work_folder: Path) -> Path:
    """One instance in each state that a status has words for."""
    failure = Failure("builtins.ValueError", "empty city")
    late = ev.EventRaised("Go", held=True)
    with open_hub_writer(".state") as writer:
        writer.write(
            "tour-7",
            ev.ExecutionStarted("tour-7", "1", "hello_tour", Raw(b'{"city":"Tokyo"}'), version="1.2"),
            ev.TaskScheduled("hello", attempt=2, retry_of=1),
            ev.EventAwaited("Guide"),
            ev.TimerCreated(datetime(2999, 1, 1, tzinfo=UTC)),
            ev.SubOrchestrationInstanceCreated("child", "tour-7:1:5"),
            ev.CustomStatusSet(Raw(b'"half"')),
        )
        writer.write("held", ev.ExecutionStarted("held", "1", "tour"), ev.ExecutionSuspended("audit"), late, late)
        writer.write("blocked", ev.ExecutionStarted("blocked", "1", "tour"), ev.ExecutionBlocked("no function\nthere"))
        writer.write("done", ev.ExecutionStarted("done", "1", "tour"), ev.ExecutionCompleted("Completed", Raw(b"[1]")))
        writer.write(
            "failed",
            ev.ExecutionStarted("failed", "1", "tour"),
            ev.TaskScheduled("hello"),
            ev.TaskFailed(2, failure),
            ev.ExecutionCompleted("Failed", failure=failure, causes=(3,)),
        )
        writer.write(
            "ended", ev.ExecutionStarted("ended", "1", "tour"), ev.ExecutionCompleted("Terminated", Raw(b'"no"'))
        )
    return work_folder


# ── start ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_start_prints_the_id_alone_into_a_pipe_and_a_sentence_on_a_terminal(
    durable: RunDurable, work_folder: Path
) -> None:
    first = durable("start", "tour", "--id", "a")
    assert (first.exit_code, first.out) == (0, "a\n")
    assert f"created the hub {work_folder}/.state\n" in first.err
    hint = "no daemon is running; start one with: durable run-daemon\n"
    assert durable("start", "tour", "--id", "b", "--anyway", terminal=True) == (0, "started tour: b\n", hint)
    assert len(durable("start", "tour").out.strip()) == 32
    assert json.loads(durable("start", "tour", "--id", "c", "-o", "json").out) == {"instanceId": "c", "name": "tour"}


@pytest.mark.parametrize(
    ("text", "stdin", "value"),
    [
        ("[1.50, 2]", "", b"[1.50,2]"),
        ("@in.json", "", b'{"a":1}'),
        ("@in.yaml", "", b'{"a":["x","2026-01-02"]}'),
        ("-", '"piped"', b'"piped"'),
    ],
)
def test_inputs_come_from_the_line_a_file_or_a_pipe(
    durable: RunDurable, work_folder: Path, text: str, stdin: str, value: bytes
) -> None:
    (work_folder / "in.json").write_text('{"a": 1}\n')
    (work_folder / "in.yaml").write_text("a: [x, 2026-01-02]")
    assert durable("start", "tour", "--id", "t", "--input", text, stdin=stdin).exit_code == 0
    (message,) = (work_folder / ".state" / "inbox" / "new").iterdir()
    assert b'"input":' + value in message.read_bytes()


def test_a_batch_prints_an_id_per_line(durable: RunDurable, work_folder: Path) -> None:
    (work_folder / "in.jsonl").write_text('1\n\n{"a":2}\n')
    result = durable("start", "tour", "--batch", "in.jsonl")
    assert [line.rpartition("-")[2] for line in result.out.split()] == ["0", "1"]
    assert durable("list", "--count").out == "2\n"
    assert "2 instances" in durable("start", "tour", "--batch", "-", stdin="1\n2\n", terminal=True).out


def test_if_exists_skip_prints_the_existing_id(durable: RunDurable, hub: Path) -> None:
    assert durable("start", "tour", "--id", "done", "--if-exists", "skip", "--anyway") == (0, "done\n", "")
    assert durable("start", "tour", "--id", "done").exit_code == 4
    assert durable("start", "tour", "--id", "done", "--if-exists", "replace", "--anyway") == (0, "done\n", "")


def test_start_takes_the_version_of_the_settings_by_default(durable: RunDurable, work_folder: Path) -> None:
    (work_folder / "durable.yaml").write_text("default_version: '7'\nstate_dir: hub\n")
    durable("start", "tour", "--id", "a")
    durable("start", "tour", "--id", "b", "--version", "8")
    messages = [path.read_text() for path in sorted((work_folder / "hub" / "inbox" / "new").iterdir())]
    assert ['"version":"7"' in messages[0], '"version":"8"' in messages[1]] == [True, True]


# ── status ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("instance", "expected"),
    [
        ("tour-7", ["tour-7  hello_tour  Running  version 1.2, 6 records", 'custom     "half"']),
        ("tour-7", ["waits for  activity hello (id 2, attempt 2), for "]),
        ("tour-7", ["waits for  event Guide, since ", "    durable raise-event tour-7 Guide --data JSON"]),
        ("tour-7", ["waits for  timer at 2999-01-01 00:00:00Z, in "]),
        ("tour-7", ["waits for  sub-orchestration child (id 5), for ", "    durable status tour-7:1:5"]),
        ("held", ["suspended  since ", ': "audit"; 2 arrivals kept    durable resume held']),
        (
            "blocked",
            [
                "blocked    since ",
                ": no function\n           there\n",
                "resumes automatically once the code matches its history",
            ],
        ),
        ("blocked", ["no daemon  is running (last seen ", "start one with: durable run-daemon"]),
        ("done", ["done  tour  Completed  2 records", "output     [1]"]),
        ("failed", ["failed  tour  Failed  4 records", "failed     ValueError: empty city"]),
        ("new", ["new  tour  Pending\n", "Pending    no engine has accepted it yet (posted "]),
    ],
)
def test_status_shows_why_an_instance_is_not_progressing(
    durable: RunDurable, hub: Path, instance: str, expected: list[str]
) -> None:
    durable("start", "tour", "--id", "new")
    result = durable("status", instance)
    assert (result.exit_code, result.err) == (0, "")
    for text in expected:
        assert text in result.out


def test_a_start_that_waits_beside_an_engine_waits_for_room() -> None:
    now = datetime(2026, 11, 29, 9, 0, tzinfo=UTC)
    engine = EngineStatus(alive=True, pid=1)
    waiting = DurableOrchestrationStatus(instance_id="b-1", created_time=now - timedelta(seconds=3), engine=engine)
    assert list(describe_reasons(waiting, now)) == [
        ("Pending", "the engine starts it when there is room (posted 3 s ago)")
    ]


def test_an_instance_whose_wait_is_over_waits_for_its_next_turn() -> None:
    now = datetime.now(UTC)
    status = DurableOrchestrationStatus(
        instance_id="a",
        runtime_status=OrchestrationRuntimeStatus.Running,
        created_time=now,
        execution="1",
        engine=EngineStatus(alive=False),
    )
    assert list(describe_reasons(status, now)) == [
        ("waits for", "its next turn: what it was waiting for has arrived"),
        ("no daemon", "is running; start one with: durable run-daemon"),
    ]


def test_an_ended_instance_needs_no_daemon(durable: RunDurable, hub: Path) -> None:
    assert "daemon" not in durable("status", "done").out


def test_the_json_of_an_instance_is_the_status_payload(durable: RunDurable, hub: Path) -> None:
    payload = json.loads(durable("status", "tour-7", "-o", "json").out)
    assert list(payload) == [
        "name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime",
        "waitingFor", "holds", "blocked", "daemon", "taskCounts",
    ]  # fmt: skip
    assert payload["input"] == {"city": "Tokyo"}
    listed = {row["instanceId"]: row["input"] for row in json.loads(durable("list", "-o", "json").out)}
    assert listed["tour-7"] == {"city": "Tokyo"}
    assert [one["kind"] for one in payload["waitingFor"]] == ["activity", "event", "timer", "child"]
    assert json.loads(durable("status", "blocked", "-o", "json").out)["blocked"]["reason"] == "no function\nthere"


def test_every_output_format_holds_the_same_data(durable: RunDurable, hub: Path) -> None:
    plain = json.loads(durable("status", "tour-7", "-o", "json").out)
    assert json.loads(durable("status", "tour-7", "-o", "jsonl").out) == plain
    assert yaml.safe_load(durable("status", "tour-7", "-o", "yaml").out) == plain
    assert durable("status", "tour-7", "-o", "jsonl").out.count("\n") == 1


def test_of_several_ids_all_are_tried_and_the_highest_code_is_returned(durable: RunDurable, hub: Path) -> None:
    result = durable("status", "nobody", "done", "failed")
    assert result.exit_code == 3
    assert "done  tour" in result.out
    assert "failed  tour" in result.out
    assert len(json.loads(durable("status", "nobody", "done", "failed", "-o", "json").out)) == 2
    assert durable("wait", "done", "failed", "ended").exit_code == 7


# ── history and list ───────────────────────────────────────────────────────────────────────────────────────────────


def test_history_as_jsonl_is_the_file_as_it_is(durable: RunDurable, hub: Path) -> None:
    (path,) = (hub / ".state").glob("instances/*/failed.jsonl")
    assert durable("history", "failed", "-o", "jsonl").out == path.read_text()
    assert durable("history", "failed", "--follow", "-o", "jsonl").out == path.read_text()


def test_history_as_json_is_the_projection_of_the_http_api(durable: RunDurable, hub: Path) -> None:
    rows = json.loads(durable("history", "failed", "-o", "json").out)
    assert [row["EventType"] for row in rows] == ["ExecutionStarted", "TaskFailed", "ExecutionCompleted"]
    assert rows[1]["FunctionName"] == "hello"


def test_the_history_table_has_a_row_per_record(durable: RunDurable, hub: Path) -> None:
    lines = durable("history", "failed").out.splitlines()
    assert lines[0].split() == ["N", "TIME", "(UTC)", "EVENT", "DETAILS"]
    assert len(lines) == 5
    assert lines[3].endswith("TaskFailed          of 2: ValueError: empty city")
    followed = durable("history", "failed", "--follow").out.splitlines()
    assert [line.split() for line in followed] == [line.split() for line in lines[1:]]


def test_list_filters_sorts_counts_and_pages(durable: RunDurable, hub: Path) -> None:
    def ids(*arguments: str) -> list[str]:
        return [row["instanceId"] for row in json.loads(durable("list", "-o", "json", *arguments).out)]

    assert ids("--sort", "id") == ["blocked", "done", "ended", "failed", "held", "tour-7"]
    assert ids("--sort", "id", "--reverse", "--limit", "2") == ["tour-7", "held"]
    assert ids("--status", "completed,failed", "--sort", "id") == ["done", "failed"]
    assert ids("--name", "hello_tour") == ["tour-7"]
    assert ids("--prefix", "b") == ["blocked"]
    assert ids("--created-before", "2026-11-22T12:00:03Z") == ["tour-7"]
    assert durable("list", "--count", "--status", "running").out == "2\n"
    first = durable("list", "--sort", "id", "--limit", "4", "-o", "json")
    cursor = first.err.removeprefix("more: --cursor ").strip()
    assert ids("--sort", "id", "--cursor", cursor) == ["held", "tour-7"]


def test_a_list_in_a_pipe_is_plain_text_and_nothing_is_cut_off(durable: RunDurable, hub: Path) -> None:
    durable("start", "x" * 60, "--id", "y" * 100)
    out = durable("list").out
    assert "\x1b" not in out
    assert "…" not in out
    assert f"{'y' * 100}  {'x' * 60}  Pending" in out


def test_a_terminal_gets_colors_unless_it_asked_for_none(
    durable: RunDurable, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for verb in (["status", "failed"], ["list"]):
        assert "\x1b[31m" in durable(*verb, terminal=True).out
    monkeypatch.setenv("NO_COLOR", "1")
    for verb in (["status", "failed"], ["list"]):
        assert "\x1b[3" not in durable(*verb, terminal=True).out


def test_no_line_of_a_table_is_wider_than_the_terminal_and_ids_are_whole(
    durable: RunDurable, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out = durable("list", terminal=True).out
    assert max(map(len, out.splitlines())) <= 80
    assert "tour-7 " in out


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("form", ["table", "json", "jsonl", "yaml"])
@pytest.mark.parametrize("verb", ["status", "history", "list", "wait"])
def test_payloads_never_send_control_characters_to_a_terminal(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch, verb: str, form: str, terminal: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    evil = "\x1b]0;owned\x07\x9b2J\u202edlrow\r\b\x7f"
    payload = Raw(msgspec.json.encode({evil: evil}))
    with open_hub_writer(".state") as writer:
        started = ev.ExecutionStarted("t", "1", evil, payload)
        writer.write("t", started, ev.CustomStatusSet(payload), ev.ExecutionCompleted("Completed", payload))
    out = durable(verb, *([] if verb == "list" else ["t"]), "-o", form, terminal=terminal).out
    assert out
    if terminal:
        assert [character for character in out if character != "\n" and not character.isprintable()] == []
    elif form in ("json", "jsonl") and verb in ("status", "list"):
        assert json.loads(out)


# ── the verbs that move an instance ────────────────────────────────────────────────────────────────────────────────


def test_terminate_suspend_resume_and_purge_take_effect_without_a_daemon(
    durable: RunDurable, work_folder: Path
) -> None:
    durable("start", "tour", "--id", "t")
    for verb, done in (("suspend", "suspended"), ("resume", "resumed"), ("terminate", "terminated")):
        assert durable(verb, "t", "--reason", "audit") == (0, f"t  {done}\n", "")
    assert json.loads(durable("status", "t", "-o", "json").out)["output"] == "audit"
    (purged,) = json.loads(durable("purge", "t", "-o", "json").out)
    assert (purged["instanceId"], purged["purge"]) == ("t", "done")
    assert purged["bytesFreed"] > 300
    assert durable("status", "t").exit_code == 3


def test_an_event_that_was_raised_shows_as_requested(durable: RunDurable, work_folder: Path) -> None:
    durable("start", "tour", "--id", "t")
    assert durable("raise-event", "t", "Go", "--data", "true") == (0, "", "")
    assert "requested  raise-event; no engine has accepted it yet" in durable("status", "t").out
    assert durable("raise-event", "t", "Go", terminal=True).out == "t  Go raised\n"


def test_a_filter_asks_for_confirmation_and_supports_dry_run(durable: RunDurable, hub: Path) -> None:
    dry = durable("purge", "--status", "completed,failed", "--dry-run")
    assert dry.exit_code == 0
    assert sorted(dry.out.splitlines()) == [
        "2 in all; nothing was done",
        "would purge done  tour  Completed",
        "would purge failed  tour  Failed",
    ]
    declined = durable("purge", "--status", "completed,failed", stdin="n\n", terminal=True)
    assert declined.exit_code == 130
    assert "purge 2 instances (" in declined.err
    assert durable("list", "--count").out == "6\n"
    agreed = durable("purge", "--status", "completed,failed", stdin="y\n", terminal=True)
    assert (agreed.exit_code, agreed.out.count("  purged\n")) == (0, 2)
    assert agreed.out.splitlines()[-1].startswith("purged 2 instances, freed ")
    assert durable("purge", "--older-than", "0", "--yes").out.startswith("ended  purged\npurged 1 instance, freed ")
    assert durable("list", "--count").out == "3\n"


def test_dry_run_refuses_as_the_verb_does_in_every_output_format(durable: RunDurable, hub: Path) -> None:
    refused = durable("terminate", "tour-7", "done", "nobody", "--dry-run", "-o", "json")
    assert json.loads(refused.out) == [{"instanceId": "tour-7", "name": "hello_tour", "runtimeStatus": "Running"}]
    assert refused.exit_code == 5
    assert refused.err.splitlines() == [
        "durable: done is Completed: nothing is left to do",
        f"durable: no instance 'nobody' in {hub}/.state",
    ]
    assert durable("purge", "held", "--dry-run").exit_code == 5
    assert durable("purge", "held", "--dry-run", "--force").exit_code == 0
    again = durable("rewind", "failed", "--dry-run", "-o", "jsonl").out
    assert json.loads(again) == {"instanceId": "failed", "sentAgain": ["activity hello (id 2)"]}


def test_an_instance_being_rewound_is_not_purged(durable: RunDurable, hub: Path) -> None:
    durable("rewind", "failed")
    refused = durable("purge", "failed")
    assert (refused.exit_code, refused.out) == (4, "")
    assert refused.err == "durable: failed is being rewound; wait for it to end, or use --force\n"
    assert durable("purge", "failed", "--force").out == "failed  purged\n"
    assert durable("status", "failed").exit_code == 3


def test_a_filter_without_matches_is_reported(durable: RunDurable, hub: Path) -> None:
    result = durable("resume", "--prefix", "zzz", "--yes")
    assert (result.exit_code, result.out, result.err) == (0, "", "no instance matches the filter: nothing to resume\n")


def test_a_filter_matches_only_statuses_that_the_verb_allows(durable: RunDurable, hub: Path) -> None:
    assert durable("terminate", "--name", "tour", "--yes").out.split() == [
        "blocked",
        "terminated",
        "held",
        "terminated",
    ]


def test_a_dry_run_of_rewind_lists_the_work_to_retry(durable: RunDurable, hub: Path) -> None:
    assert durable("rewind", "failed", "--dry-run").out == "failed  would retry activity hello (id 2)\n"
    assert durable("rewind", "done", "--dry-run").exit_code == 5
    assert durable("rewind", "failed").out == "failed  rewind requested, no engine has accepted it yet\n"


def test_restart_prints_the_new_id(durable: RunDurable, hub: Path) -> None:
    result = durable("restart", "done")
    assert len(result.out.strip()) == 32
    assert durable("restart", "done", "--same-id").out == "done\n"
    assert durable("restart", "failed", "-o", "json").exit_code == 0


# ── run, wait, functions ───────────────────────────────────────────────────────────────────────────────────────────


def test_run_does_the_work_and_exits_by_the_outcome(durable: RunDurable, workflows: Path) -> None:
    created = f"created the hub {workflows.parent}/.state\n"
    assert durable("run", "greet", "--input", '"Tokyo"') == (0, '"Hello Tokyo!"\n', created)
    failed = durable("run", "greet", "--input", '""', "--id", "f")
    assert (failed.exit_code, failed.out) == (6, "")
    assert re.fullmatch(
        "durable: f Failed: ValueError: empty city\n"
        r"  at workflows/greetings.py:\d+ in hello, activity hello\n"
        r"  awaited at workflows/greetings.py:\d+ in greet\n",
        failed.err,
    )
    assert json.loads(durable("run", "greet", "--input", '"X"', "-o", "json").out)["output"] == "Hello X!"


def test_what_functions_print_does_not_mix_with_the_output(durable: RunDurable, workflows: Path) -> None:
    (workflows / "loud.py").write_text(PRINTING_WORKFLOWS)
    result = durable("run", "loud")
    assert (result.exit_code, result.out) == (0, "1\n")
    assert set(result.err.splitlines()) >= {"imported", "turned", "worked"}
    assert "imported" in durable("functions", "-o", "json").err
    assert json.loads(durable("functions", "-o", "json").out)["clashes"] == []


def test_run_refuses_a_name_that_the_code_lacks_and_starts_nothing(durable: RunDurable, workflows: Path) -> None:
    result = durable("run", "hello")
    assert (result.exit_code, result.err.count("\n")) == (3, 1)
    assert "known: greet, patient" in result.err
    assert not (workflows.parent / ".state").exists()


def test_without_any_function_run_and_functions_name_the_searched_folder(
    durable: RunDurable, work_folder: Path
) -> None:
    for verb in (["run", "x"], ["functions"], ["run-daemon"]):
        result = durable(*verb)
        assert result.exit_code == 78, verb
        assert "a folder workflows/" in result.err


def test_a_module_that_fails_to_import_does_not_take_the_others_down(durable: RunDurable, workflows: Path) -> None:
    (workflows / "broken.py").write_text('"""Broken."""\n1 / 0\n')
    result = durable("functions")
    assert result.exit_code == 0
    assert "hello    activity      (city: str) -> str  workflows/greetings.py:" in result.out
    assert "can't import broken: " in result.err
    assert "ZeroDivisionError" in result.err
    listed = json.loads(durable("functions", "-o", "json").out)
    assert [one["name"] for one in listed["functions"]] == ["greet", "hello", "patient"]
    assert [one["error"] is None for one in listed["modules"]] == [False, True]


def test_wait_prints_the_output_and_exits_by_the_outcome(durable: RunDurable, hub: Path) -> None:
    assert durable("wait", "done") == (0, "[1]\n", "")
    assert durable("wait", "failed") == (6, "", "durable: failed Failed: ValueError: empty city\n")
    assert durable("wait", "ended") == (7, "", "durable: ended Terminated: no\n")
    late = durable("wait", "tour-7", "--timeout", "0.02s")
    assert late.exit_code == 8
    assert "still Running" in late.err
    assert "no daemon is running" in late.err


def test_start_and_wait_return_when_a_daemon_completes_the_instance(durable: RunDurable, workflows: Path) -> None:
    from durablecli.config import load_config
    from durablecli.daemon.foreground import serve

    durable("start", "greet", "--id", "a", "--input", '"Oslo"')
    work = threading.Timer(0.1, lambda: serve(load_config(), state_dir=".state", until_idle=True, echo=lambda _: None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("signal.signal", lambda *_: None)  # only the main thread may set handlers
        work.start()
        assert durable("wait", "a", "--timeout", "20").out == '"Hello Oslo!"\n'
        work.join()


def test_an_engine_reports_a_blocked_instance_once(durable: RunDurable, workflows: Path) -> None:
    durable("start", "nobody", "--id", "n", "--anyway")
    shown = "n is blocked: orchestrator 'nobody' isn't loaded"
    for is_new in (True, False):
        daemon = [*COMMAND, "run-daemon", "--until-idle"]
        assert (shown in subprocess.run(daemon, check=True, capture_output=True, text=True).stderr) is is_new


def test_run_daemon_until_idle_does_all_possible_work(durable: RunDurable, workflows: Path) -> None:
    durable("start", "greet", "--id", "a", "--input", '"Oslo"')
    durable("start", "patient", "--id", "b", "--version", "2")
    result = durable("run-daemon", "--until-idle")
    assert result.exit_code == 0
    assert "loaded 2 orchestrators and 1 activity from" in result.err
    assert durable("wait", "a").out == '"Hello Oslo!"\n'
    durable("raise-event", "b", "Go", "--data", "[true]")
    assert durable("run-daemon", "--until-idle", "--replay-always").exit_code == 0
    assert json.loads(durable("wait", "b").out) == ["2", [True]]


# ── doctor ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_doctor_finds_nothing_in_a_good_hub_and_names_damage(durable: RunDurable, hub: Path) -> None:
    assert durable("doctor").out == "no problems found\n"
    (path,) = (hub / ".state").glob("instances/*/failed.jsonl")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"hello", b"hallo"))
    found = durable("doctor")
    assert found.exit_code == 1
    assert "finding" in found.out
    assert "failed.jsonl" in found.out
    assert "n 2" in found.out
    report = json.loads(durable("doctor", "-o", "json").out)
    assert "failed.jsonl" in report["findings"][0]
    repaired = durable("doctor", "--repair")
    assert "repaired " in repaired.out
    assert durable("doctor").exit_code == 0


def test_nothing_is_written_after_a_damaged_line_and_no_event_is_lost(durable: RunDurable, workflows: Path) -> None:
    durable("start", "patient", "--id", "p")
    durable("run-daemon", "--until-idle")
    durable("raise-event", "p", "Go", "--data", "7")
    (file,) = Path(".state").glob("instances/*/p.jsonl")
    file.write_bytes(file.read_bytes().replace(b'"EventAwaited"', b'"EventAwoited"'))
    before = file.read_bytes()
    said = r"p\.jsonl: byte \d+: record n 2 is damaged; stop the engine, then run: durable doctor --repair"
    running = durable("run-daemon", "--until-idle")
    assert (running.exit_code, bool(re.search(f"p is quarantined: .*{said}", running.err))) == (0, True)
    for verb in (["status", "p"], ["history", "p"], ["raise-event", "p", "Go"], ["terminate", "p"], ["purge", "p"]):
        result = durable(*verb)
        assert result.exit_code == 65, verb
        assert re.search(said, result.err), verb
        assert file.read_bytes() == before
    assert "1 message kept" in durable("status", "p").out
    assert "quarantined: " in durable("list").out
    assert "p has been quarantined since" in durable("doctor").out
    assert durable("doctor", "--repair").exit_code == 0
    assert durable("run-daemon", "--until-idle").exit_code == 0
    assert "Go: 7" in durable("history", "p").out


def test_doctor_repair_refuses_beside_an_engine_and_names_it(durable: RunDurable, hub: Path) -> None:
    with open_hub_writer(".state"):
        result = durable("doctor", "--repair")
        assert (result.exit_code, result.err.count("\n")) == (75, 1)
        assert f"pid {os.getpid()}" in result.err


@pytest.mark.parametrize("form", ["-o", "--output"])
def test_an_id_stays_whole_in_a_list_of_80_characters(
    durable: RunDurable, work_folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    instance = durable("start", "human_interaction").out.strip()
    out = durable("list", form, "table", terminal=True).out
    assert re.search(rf"^{instance}  human_interaction  Pending  ", out, re.MULTILINE)
    assert out.split()[:2] == ["ID", "NAME"]
    assert max(map(len, out.splitlines())) <= 80
