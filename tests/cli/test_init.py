"""`durable init`: the commands that it names as the next steps can be run as they are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from durablecli.cli import durable
from durablecli.errors import UsageError


def list_next_steps(folder: Path) -> list[str]:
    lines = CliRunner().invoke(durable, ["init", str(folder)]).output.splitlines()
    return [line.strip() for line in lines[lines.index("") + 1 :]]


def test_the_test_of_the_project_is_one_of_the_next_steps(tmp_path: Path) -> None:
    assert list_next_steps(tmp_path / "demo")[:2] == [f"cd {tmp_path}/demo", "pytest"]


def test_where_pytest_is_missing_it_is_installed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytest", None)
    assert list_next_steps(tmp_path / "demo")[1] == "pip install pytest && pytest"


def test_an_empty_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(durable, ["init", ""])
    assert isinstance(result.exception, UsageError)
    assert not [*tmp_path.iterdir()]
