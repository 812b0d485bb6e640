"""The files for GitHub, pre-commit and PyPI agree with the Makefile and pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
ALLOWED_ACTIONS = {"actions/checkout", "actions/setup-python"}
SYSTEMS = {"Operating System :: POSIX :: Linux": "ubuntu-latest", "Operating System :: MacOS": "macos-latest"}


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def make_targets() -> dict[str, list[str]]:
    """The commands of each target that the Makefile declares as phony."""
    text = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    rules = re.findall(r"^([\w-]+):.*\n((?:\t.*\n)*)", text, re.MULTILINE)
    commands = {name: [line.strip() for line in body.splitlines()] for name, body in rules}
    return {name: commands[name] for name in phony[1].split()}


def jobs() -> list[dict[str, Any]]:
    return [job for path in WORKFLOWS for job in load_yaml(path)["jobs"].values()]


def steps() -> list[dict[str, Any]]:
    return [step for job in jobs() for step in job["steps"]]


@pytest.mark.parametrize("command", [step["run"] for step in steps() if "run" in step])
def test_workflows_run_only_make_targets_that_exist(command: str) -> None:
    words = re.sub(r"\$\{\{.*?\}\}", "value", command).split()
    assert words[0] == "make"
    targets = [word for word in words[1:] if "=" not in word]
    assert targets
    assert set(targets) <= set(make_targets())


def test_workflows_use_no_other_actions() -> None:
    assert {step["uses"].partition("@")[0] for step in steps() if "uses" in step} <= ALLOWED_ACTIONS


def test_the_classifiers_name_the_systems_and_versions_that_are_tested() -> None:
    (matrix,) = [job["strategy"]["matrix"] for job in jobs() if "strategy" in job]
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    systems = [SYSTEMS[name] for name in classifiers if name.startswith("Operating System ::")]
    versions = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(classifiers))
    assert sorted(systems) == sorted(matrix["os"])
    assert versions == matrix["python"]


def test_the_oldest_python_is_the_one_that_is_required() -> None:
    (matrix,) = [job["strategy"]["matrix"] for job in jobs() if "strategy" in job]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={matrix['python'][0]}"


def test_pre_commit_runs_the_commands_of_make_lint() -> None:
    repositories = load_yaml(ROOT / ".pre-commit-config.yaml")["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert [hook["entry"] for hook in hooks] == [line.replace("$(BIN)", ".venv/bin") for line in make_targets()["lint"]]
    assert {(hook["language"], hook["pass_filenames"]) for hook in hooks} == {("system", False)}
