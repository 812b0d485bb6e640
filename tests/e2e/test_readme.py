"""README tells the truth: its first workflow runs, and its commands print what it says they print."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def told(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a console block, with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers and the width of columns."""
    return re.sub(r"\s+", " ", re.sub(r"[0-9]+", "0", line)).strip()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the workflows of all code blocks."""
    (tmp_path / "workflows").mkdir()
    for number, block in enumerate(blocks("python")):
        (tmp_path / "workflows" / f"block_{number}.py").write_text(block, encoding="utf-8")
    return tmp_path


def durable(command: str, home: Path) -> list[str]:
    words = shlex.split(command)
    assert words[0] == "durable"
    env = {key: value for key, value in os.environ.items() if not key.startswith("DURABLE_")}
    ran = subprocess.run(
        [sys.executable, "-m", "durablecli", *words[1:]],
        cwd=home, env=env, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize(("number", "count"), [(0, 7), (1, 6)], ids=["the first workflow", "entities"])
def test_the_commands_print_what_the_readme_shows(home: Path, number: int, count: int) -> None:
    commands = told(blocks("console")[number])
    assert len(commands) == count
    for command, expected in commands:
        printed = iter([shape(line) for line in durable(command, home)])
        for line in expected:
            assert line == "…" or shape(line) in printed, f"{command}: {line!r} isn't printed"


def test_an_entity_that_is_a_function_does_what_the_readme_says(home: Path) -> None:
    durable("durable entity signal @light@hall toggle", home)
    durable("durable run-daemon --until-idle", home)
    assert "state      true" in durable("durable entity get @light@hall", home)
    assert 'state      {"value":1}' in durable("durable entity get @counter@toggles", home)
    durable("durable entity delete --force @light@hall", home)
    program = next(path for path in (home / "workflows").iterdir() if "df.Client(" in path.read_text(encoding="utf-8"))
    assert runpy.run_path(str(program))["turn_on"](str(home / ".state")) is False
    assert any(
        line.startswith("requested  signal toggle at ") for line in durable("durable entity get @light@hall", home)
    )


def test_every_verb_stands_in_the_readme(home: Path) -> None:
    text = README.read_text(encoding="utf-8")
    help_text = "\n".join(durable("durable --help", home))
    verbs = re.findall(r"^  ([a-z-]+)  ", help_text.split("Verbs:")[1], re.MULTILINE)
    assert len(verbs) == 18
    assert [verb for verb in verbs if f"`durable {verb}" not in text and f"`{verb}`" not in text] == []


def test_every_sample_stands_in_the_readme() -> None:
    samples = {path.name for path in (README.parent / "workflows").glob("*.py")}
    assert samples == set(re.findall(r"`([a-z_]+\.py)` \|", README.read_text(encoding="utf-8")))
