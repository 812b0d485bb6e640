"""The current folder: commands from any folder, and code that changes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli import Client, testing
from durablecli.daemon.embedded_engine import embedded
from tests.support.cli_harness import COMMAND

CHDIR_WORKFLOWS = """
import os
import durablecli as df
{module}
@df.activity
def move(x):
    os.chdir("/")
    return x

@df.activity(executor="process")
def square(x):
    return x * x

@df.entity
class Mover:
    def go(self) -> str:
        os.chdir("/")
        return os.getcwd()

@df.orchestrator
def moving(context):
    os.chdir("/")
    yield context.call_activity(move, 1)
    yield context.call_entity(df.EntityId("Mover", "a"), "go")
    return (yield context.call_activity(square, 7))
"""


@df.activity
def move(value: object) -> str:
    os.chdir("/")
    return os.getcwd()


@df.orchestrator
def moving(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_activity(move))


def run_durable(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-P", *COMMAND[1:], *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def find_hubs(folder: Path) -> list[str]:
    return sorted(str(found.parent.relative_to(folder)) for found in folder.rglob("hub.json"))


@pytest.mark.parametrize("module", ["", "os.chdir('/')"])
def test_code_that_changes_the_folder_breaks_nothing(tmp_path: Path, module: str) -> None:
    flows = tmp_path / "project" / "workflows"
    flows.mkdir(parents=True)
    (flows / "moving.py").write_text(CHDIR_WORKFLOWS.format(module=module))
    (flows.parent / "durable.yaml").write_text("state_dir: hub\napp: [workflows]\n")
    first = run_durable(flows, "run", "moving", "--id", "a")
    assert first.stdout == "49\n"
    assert f"created the hub {tmp_path}/project/hub\n" in first.stderr
    run_durable(flows.parent, "start", "moving", "--id", "b")
    run_durable(tmp_path, "run-daemon", "--until-idle", "--app", "project/workflows", "--state-dir", "project/hub")
    assert run_durable(flows, "wait", "b").stdout == "49\n"
    assert find_hubs(tmp_path) == ["project/hub"]


def test_an_embedded_engine_and_its_client_keep_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    early = Client(".state")
    with embedded(testing.build_registry(move, moving), ".state") as client:
        assert client.wait(client.start_new(moving), 20).output == "/"
        assert early.wait(client.start_new(moving), 20).output == "/"
    assert find_hubs(tmp_path) == [".state"]


def test_workflows_import_the_packages_of_the_project_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("def square(x):\n    return x * x\n")
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "flow.py").write_text(
        "import durablecli as df\nimport shop, sys\n"
        "@df.activity(executor='process')\ndef square(x):\n    return shop.square(x)\n"
        "@df.activity\ndef path(x):\n    return sys.path\n"
        "@df.orchestrator\ndef flow(context):\n"
        "    return [(yield context.call_activity(square, 7)), (yield context.call_activity(path))]\n"
    )
    done = run_durable(tmp_path, "run", "flow")
    assert done.stdout.startswith("[49,")
    assert str(tmp_path / ".state") not in done.stdout
