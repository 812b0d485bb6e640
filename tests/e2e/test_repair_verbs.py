"""Rewind, restart and fork through the command: previews, effects, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.cli_harness import CliHarness

FLOW = """
import os
import durablecli as df


@df.activity
def load(file: str) -> str:
    if os.path.exists(f"broken-{file}"):
        raise ValueError(f"{file} is broken")
    with open("runs", "a") as log:
        log.write(f"{file}\\n")
    return file


@df.orchestrator
def collects(context):
    tasks = [context.call_activity(load, file) for file in context.get_input()]
    results, failed = [], 0
    for task in tasks:
        try:
            results.append((yield task))
        except df.TaskFailedError:
            failed += 1
    if failed:
        raise RuntimeError(f"{failed} failed")
    return results


@df.orchestrator
def chain(context):
    first = yield context.call_activity(load, "a")
    with (yield context.lock_entities(["@counter@x"])):
        second = yield context.call_activity(load, "b")
    return [first, second, (yield context.call_activity(load, "c"))]


@df.entity
def counter(context):
    context.set_result(0)
""".replace("\\\\", "\\")


@pytest.fixture
def app(hub: CliHarness) -> CliHarness:
    """A hub with the flow as its app."""
    (hub.folder / "workflows").mkdir()
    (hub.folder / "workflows" / "loads.py").write_text(FLOW)
    return hub


def run_idle(hub: CliHarness) -> None:
    daemon = hub.start("run-daemon", "--until-idle", "--app", "workflows")
    assert daemon.wait_for_exit() == 0, daemon.output


def loaded(hub: CliHarness) -> list[str]:
    return (hub.folder / "runs").read_text().split()


def test_failed_activities_are_retried(app: CliHarness) -> None:
    (app.folder / "broken-b").touch()
    app("run", "collects", "--id", "c", "--input", '["a","b","c"]', "--app", "workflows", code=6)
    (app.folder / "broken-b").unlink()
    assert app("rewind", "c", "--dry-run").out == (
        "c  would continue after its failure; no work is retried; --failed-activities retries 1 failed call\n"
    )
    preview = app("rewind", "c", "--failed-activities", "--dry-run").out
    assert preview == "c  would retry activity load (id 3)\n"
    assert app("rewind", "c", "--failed-activities").exit_code == 0
    run_idle(app)
    assert app.read_status("c")["output"] == ["a", "b", "c"]
    assert sorted(loaded(app)) == ["a", "b", "c"]
    app.assert_sound()


def test_a_rewind_to_a_record(app: CliHarness) -> None:
    (app.folder / "broken-c").touch()
    app("run", "chain", "--id", "x", "--app", "workflows", code=6)
    assert "locks" in app("rewind", "x", "--to", "2", code=5).err
    assert app("rewind", "x", "--to", "99", code=5).err.startswith("durable: x can be rewound to records 2 to ")
    assert "--to is for one instance" in app("rewind", "--prefix", "x", "--to", "2", "--yes", code=2).err


def test_a_restart_with_another_input(app: CliHarness, tmp_path: Path) -> None:
    app("run", "collects", "--id", "c", "--input", '["a"]', "--app", "workflows")
    again = app("restart", "c", "--input", '["d"]').out.strip()
    app("restart", "c", "--same-id", "--input", '["e"]')
    editor = tmp_path / "editor.py"
    editor.write_text("import sys\nopen(sys.argv[1], 'w').write('[\"f\"]')\n")
    app.environment["EDITOR"] = app.environment["VISUAL"] = f"{sys.executable} {editor}"
    edited = app("restart", again, "--edit").out.strip()
    app.environment["EDITOR"] = app.environment["VISUAL"] = "true"
    assert "the input wasn't saved: nothing was started" in app("restart", again, "--edit", code=2).err
    assert "--edit is for one instance" in app("restart", "c", again, "--edit", code=2).err
    run_idle(app)
    assert [app.read_status(id)["output"] for id in (again, "c", edited)] == [["d"], ["e"], ["f"]]


def test_a_fork_leaves_the_original_byte_identical(app: CliHarness) -> None:
    app("run", "chain", "--id", "x", "--app", "workflows")
    [file] = [path for path in (app.root / "instances").rglob("*.jsonl") if path.name.startswith("x")]
    before = file.read_bytes()
    kinds = [json.loads(line)["type"] for line in before.splitlines()]
    locked = kinds.index("EntityLockGranted") + 2
    refused = app("fork", "x", "--from", str(locked), code=5).err
    assert "it held or waited for the locks of @counter@x" in refused
    last = len(kinds) - 1 - kinds[::-1].index("TaskCompleted") + 1
    assert app("fork", "x", "--from", str(last), "--dry-run").out.startswith("would run again: activity load (id ")
    (app.folder / "runs").unlink()
    assert app("fork", "x", "--from", str(last), "--id", "y").out == "y\n"
    assert app("fork", "x", "--from", str(last), "--id", "y", code=4).err
    run_idle(app)
    assert app.read_status("y")["output"] == ["a", "b", "c"]
    assert loaded(app) == ["c"]
    assert f"forked     from x, before record {last}\n" in app("status", "y").out
    assert f"forked from x before record {last}" in app("history", "y").out
    assert file.read_bytes() == before
    assert app("fork", "nobody", "--from", "2", code=3).err
    app.assert_sound()
