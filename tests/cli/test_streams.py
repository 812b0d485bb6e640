"""Signals during imports, a full stderr, and permissions that are lost."""

from __future__ import annotations

import subprocess
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import pytest

from durablecli.engine.engine import Engine
from tests.cli.conftest import RunDurable
from tests.support.cli_harness import COMMAND

SELF_SIGNALING_MODULE = """
import os, time
os.kill(os.getpid(), {number})
time.sleep(30)
"""
FLOW = """
import durablecli as df

@df.orchestrator
def flow(context):
    return 1
"""


@pytest.fixture
def workflows(work_folder: Path) -> Path:
    folder = work_folder / "workflows"
    folder.mkdir()
    (folder / "flow.py").write_text(FLOW)
    return folder


def run_durable(*arguments: str, stderr: Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("verb", [["run-daemon"], ["run", "flow"], ["functions"], ["start", "flow"]], ids=" ".join)
def test_ctrl_c_while_modules_are_imported_ends_in_one_line(workflows: Path, verb: list[str]) -> None:
    (workflows / "stopping.py").write_text(SELF_SIGNALING_MODULE.format(number=int(SIGINT)))
    done = run_durable(*verb)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.count("\n") <= 1
    assert "Traceback" not in done.stderr


def test_sigterm_while_a_daemon_imports_modules_leaves_a_clean_hub(workflows: Path) -> None:
    (workflows / "stopping.py").write_text(SELF_SIGNALING_MODULE.format(number=int(SIGTERM)))
    done = run_durable("run-daemon")
    assert done.returncode == 0, done.stderr
    assert "stopped" in done.stderr
    assert '"clean":true' in (workflows.parent / ".state" / "hub.json").read_text()


def test_sigterm_while_a_run_imports_modules_is_reported(workflows: Path) -> None:
    (workflows / "stopping.py").write_text(SELF_SIGNALING_MODULE.format(number=int(SIGTERM)))
    done = run_durable("run", "flow")
    assert (done.returncode, done.stderr) == (143, "stopped by SIGTERM; nothing was started\n")


@pytest.mark.parametrize(
    "arguments", [["status", "nobody"], ["run", "flwo"], ["--wrong"], ["run-daemon"]], ids=" ".join
)
def test_a_full_stderr_is_a_storage_error(workflows: Path, arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        assert run_durable(*arguments, stderr=full).returncode == 74


def test_a_full_stderr_is_ignored_without_errors(workflows: Path) -> None:
    with open("/dev/full", "w") as full:
        done = run_durable("run", "flow", stderr=full)
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_permissions_lost_while_an_engine_runs_are_a_storage_error(
    durable: RunDurable, workflows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "journal/1.jsonl")

    monkeypatch.setattr(Engine, "step", refuse)
    for verb in (["run-daemon"], ["run", "flow"]):
        result = durable(*verb)
        assert result.exit_code == 74, result.err
        assert "journal/1.jsonl" in result.err
