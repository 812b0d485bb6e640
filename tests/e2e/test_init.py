"""`durable init`: what it writes works as it is, and nothing that exists is changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_harness import CliHarness


def run_init(hub: CliHarness, *arguments: str, code: int = 0) -> list[str]:
    done = hub("init", *arguments, code=code)
    return (done.out or done.err).splitlines()


def test_a_new_project_runs_is_tested_and_is_served_by_dev(hub: CliHarness) -> None:
    lines = run_init(hub, "demo")
    assert [line.split("/", 1)[1] for line in lines if line.startswith("created")] == [
        ".gitignore", "conftest.py", "durable.yaml", "tests/test_hello.py", "workflows/hello.py",
    ]  # fmt: skip
    assert [line.strip() for line in lines[-4:]] == [
        "cd demo", "pytest", "durable dev", """durable run hello --input '{"names": ["Ada", "Grace"]}'""",
    ]  # fmt: skip
    hub.folder = hub.folder / "demo"
    assert [row.split()[:2] for row in hub("functions").out.splitlines()[1:]] == [
        ["greet", "activity"], ["hello", "orchestrator"],
    ]  # fmt: skip
    assert hub("run", "hello", "--input", '{"names": ["Ada"]}').out == '["Hello Ada!"]\n'
    dev = hub.start("dev", "--listen", "0")
    dev.wait_for_output("watching workflows/")
    assert hub("run", "hello", "--input", '{"names": ["Grace"]}').out == '["Hello Grace!"]\n'
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=hub.folder,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "1 passed" in tests.stdout


def test_files_that_exist_are_kept_and_named(hub: CliHarness) -> None:
    (hub.folder / "durable.yaml").write_text("drain: 3s\n")
    lines = run_init(hub)
    assert "kept     durable.yaml, which exists already" in lines
    assert "created  workflows/hello.py" in lines
    assert (hub.folder / "durable.yaml").read_text() == "drain: 3s\n"
    before = {path: path.read_bytes() for path in hub.folder.rglob("*") if path.is_file()}
    assert run_init(hub, code=4) == ["durable: .: all files of a new project exist already, nothing was changed"]
    assert {path: path.read_bytes() for path in before} == before
    assert [line for line in run_init(hub, "--systemd") if line.startswith("created")] == ["created  durable.service"]


def test_the_unit_file_names_the_folder_and_the_command(hub: CliHarness) -> None:
    assert run_init(hub, "demo", "--systemd")[-1].endswith(
        f"systemctl --user enable --now {hub.folder}/demo/durable.service"
    )
    unit = (hub.folder / "demo" / "durable.service").read_text()
    assert f"\nWorkingDirectory={hub.folder}/demo\n" in unit
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert command.endswith(" run-daemon")
    assert os.access(command.removeprefix("ExecStart=").split()[0], os.X_OK)


@pytest.mark.parametrize("in_the_way", ["demo", "demo/workflows"])
def test_a_file_in_the_way_is_a_conflict(hub: CliHarness, in_the_way: str) -> None:
    path = Path(hub.folder, in_the_way)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert hub("init", "demo/", code=None).exit_code in (2, 4)
