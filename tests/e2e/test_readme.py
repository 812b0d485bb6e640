"""README tells the truth: its first workflow runs, and its commands print what it says they print."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Process

README = Path(__file__).parents[2] / "README.md"
APP = "# function_app.py\n"
PORT = "7071"


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
    for number, block in enumerate(block for block in blocks("python") if not block.startswith(APP)):
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


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


class Shell:
    """Runs the commands of a console block as they stand, but for the port. What ends in `&` runs until the end."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.daemon: Process | None = None
        env = {key: value for key, value in os.environ.items() if not key.startswith("DURABLE_")}
        self.env = env | {"DURABLE_HTTP__LISTEN": self.port, "NO_PROXY": "localhost"}

    def __call__(self, command: str) -> list[str]:
        if command.endswith(" &"):
            words = shlex.split(command.replace("--http", f"--http {self.port}"))[1:-1]
            self.daemon = Process(words, self.home, self.env, self.home / "said")
            self.daemon.says("answers at ")
            return self.daemon.said.splitlines()
        first, *rest = shlex.split(command.replace(PORT, self.port))
        words = [sys.executable, "-m", "durablecli"] if first == "durable" else [first, "-sS"]
        ran = subprocess.run(
            [*words, *rest], cwd=self.home, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.splitlines()


@pytest.fixture
def shell(home: Path) -> Iterator[Shell]:
    made = Shell(home)
    yield made
    if made.daemon is not None:
        made.daemon.kill()


def prints_what_it_shows(shell: Shell, block: str) -> None:
    for command, expected in told(block):
        printed = iter([shape(line) for line in shell(command)])
        for line in expected:
            begin, cut, _ = shape(line).partition("…")
            found = line == "…" or any(text == begin or (cut and text.startswith(begin)) for text in printed)
            assert found, f"{command}: {line!r} isn't printed"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the transcripts are those of curl")
def test_the_http_api_answers_as_the_readme_shows(shell: Shell) -> None:
    prints_what_it_shows(shell, blocks("console")[2])


@pytest.mark.skipif(shutil.which("curl") is None, reason="the transcripts are those of curl")
def test_the_app_of_the_readme_runs_as_it_is(shell: Shell) -> None:
    (app,) = [block for block in blocks("python") if block.startswith(APP)]
    shutil.rmtree(shell.home / "workflows")
    (shell.home / "function_app.py").write_text(app, encoding="utf-8")
    (shell.home / "host.json").write_text(blocks("json")[0], encoding="utf-8")
    prints_what_it_shows(shell, blocks("console")[3])


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
