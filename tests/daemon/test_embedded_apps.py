"""What `df.embedded` takes: functions, modules, paths and settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import durablecli as df
from durablecli.config import Config
from durablecli.errors import ConfigError, HubLocked
from tests.support import flows


@df.orchestrator
def same(context: df.DurableOrchestrationContext) -> Any:
    return context.get_input()


def write_app(folder: Path, body: str = "return context.get_input() * 2") -> Path:
    path = folder / "doubling.py"
    path.write_text(f"import durablecli as df\n\n@df.orchestrator\ndef double(context):\n    {body}\n")
    return path


def test_functions_modules_and_paths_run_together(tmp_path: Path) -> None:
    with df.embedded([same, flows, write_app(tmp_path)], tmp_path / "hub") as client:
        assert client.wait(client.start_new("double", client_input=21), 60).output == 42
        assert client.wait(client.start_new(same, client_input=1), 60).output == 1


def test_an_activity_in_a_worker_process_is_loaded_from_its_file(tmp_path: Path) -> None:
    source = tmp_path / "own_processes.py"
    source.write_text(
        "import os\nimport durablecli as df\n\n"
        "@df.activity(executor='process')\ndef crunch(value):\n    return os.getpid()\n\n"
        "@df.orchestrator\ndef flow(context):\n    return (yield context.call_activity(crunch))\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import own_processes  # type: ignore[import-not-found]

        with df.embedded([own_processes.crunch, own_processes.flow], tmp_path / "hub") as client:
            pid = client.wait(client.start_new("flow"), 60, expected_type=int)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("own_processes", None)
    assert pid != os.getpid()


def test_settings_are_a_mapping_or_a_config(tmp_path: Path) -> None:
    folder = tmp_path / "named"
    with df.embedded(
        same, config={"state_dir": str(folder), "concurrency": {"activities": 2}, "drain": "1s"}
    ) as client:
        assert client.root == str(folder)
    with df.embedded(same, tmp_path / "given", config=Config(state_dir=str(folder))) as client:
        assert client.root == str(tmp_path / "given")


def test_what_cannot_run_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    with pytest.raises(ConfigError, match=r"config: \$\.concurrency\.activites: unknown key; did you mean"):
        df.embedded(same, hub, config={"concurrency": {"activites": 2}})
    with pytest.raises(TypeError, match="isn't a decorated function, an app or a module"):
        df.embedded(len, hub)
    with pytest.raises(ConfigError, match="has no function"):
        df.embedded([], hub)
    with pytest.raises(ConfigError, match="no such file"):
        df.embedded([tmp_path / "missing.py"], hub)
    with pytest.raises(ConfigError, match="SyntaxError"):
        df.embedded(write_app(tmp_path, "return ("), hub)
    assert not hub.exists()


def test_a_second_engine_is_refused_at_the_start_of_the_block(tmp_path: Path) -> None:
    with df.embedded(same, tmp_path / "hub") as client:
        with pytest.raises(HubLocked), df.embedded(same, tmp_path / "hub"):
            raise AssertionError("not reached")
        assert client.wait(client.start_new(same, client_input=1), 60).output == 1
