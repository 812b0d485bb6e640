"""A temporary project in which the code blocks of one page run, in their order.

- A block with a title is that file of the project.
- A `console` block is a transcript: each command prints exactly the lines below it. A line `…` matches any number of
  lines, a `…` within a line for any text. Times, random ids and checksums match any others. A command that ends in `&`
  runs until the end of the page, or until `kill %1` or `kill -9 %1`, where 1 is its number. A command that fails is
  followed by `echo $?`.
- A `python` block without a title is a program, an `sh` block a list of commands. Both must succeed.
- Of `make`, which would run the tests themselves, it is only checked that the target exists. `pip install` and `npm
  install` find their packages among those that the tests have.
- A command that is nothing but `durable` and its arguments is forked instead of started, which saves the imports.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import NamedTuple

import yaml

from tests.docs.pages import ROOT, Block, Step, steps
from tests.support import fork_server
from tests.support.ports import find_free_port

PORT = "7071"
GRPC_PORT = "4001"
NODE_PACKAGES = ROOT / "tests" / "sdk" / "javascript" / "node_modules"
_TIMEOUT = 60.0
_VARIABLE = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r'"crc":"[0-9a-f]+"'), '"crc":"<crc>"'),
    (re.compile(r"\s+"), " "),
]


class Job(NamedTuple):
    """A command in the background, and what it prints. `is_daemon` is said of one that works on a hub."""

    process: fork_server.Started
    log: Path
    is_daemon: bool


class Project:
    """The folder, its environment, and the commands that run in the background, by their numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {PORT: str(find_free_port()), GRPC_PORT: str(find_free_port())}
        self.jobs: dict[int, Job] = {}
        self.code = 0
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
        self.environment = clean | {"PATH": programs, "NO_PROXY": "localhost,127.0.0.1", "COLUMNS": "120"}

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in list(self.jobs):
            self._kill(number)

    def run(self, block: Block) -> None:
        """Run one block; raises AssertionError if it does not do what the page says."""
        if block.title is not None:
            self._write(block.title, block.text)
        elif block.language == "console":
            for step in steps(block):
                self._step(step)
        elif block.language == "sh":
            for line in filter(None, block.text.splitlines()):
                self._step(Step(line, ["…"]))
        elif block.language == "python":
            self._program(block.text)
        else:
            raise AssertionError(f"a {block.language or 'plain'} block without a title can't be run: mark it")
        assert self.code == 0, f"the block ends with a command that failed with {self.code}"

    def finish(self) -> None:
        """Check that the configuration and every module of the project load, and that no data was damaged."""
        for number in sorted(self.jobs, reverse=True):
            self._stop(number)
        if (self.folder / "workflows").is_dir():
            listed = self._bash("durable functions -o json")
            assert listed.returncode == 0, listed.stderr
            assert [each for each in json.loads(listed.stdout)["modules"] if each["error"]] == []
        for hub in self.folder.glob(".state/**/hub.json"):
            checked = self._bash(f"durable doctor --state-dir {hub.parent.relative_to(self.folder)}")
            assert checked.returncode == 0, checked.stdout + checked.stderr

    # Blocks

    def _write(self, title: str, text: str) -> None:
        path = self.folder / title
        assert path.resolve().is_relative_to(self.folder.resolve()), title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(GRPC_PORT, self.ports[GRPC_PORT]), encoding="utf-8")
        if path.suffix in (".yaml", ".json"):
            yaml.safe_load(text)

    def _program(self, text: str) -> None:
        done = subprocess.run(
            [sys.executable, "-"], input=self._with_ports(text), cwd=self.folder, env=self.environment,
            capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def _step(self, step: Step) -> None:
        if step.command == "echo $?":
            assert step.output == [str(self.code)], f"the command exits with {self.code}"
            self.code = 0
            return
        assert self.code == 0, f"the command before {step.command!r} failed with {self.code}"
        if step.command.startswith("make"):
            target = step.command.split()[1]
            plan = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
            assert plan.returncode == 0, plan.stderr
        elif step.command.startswith(("pip install ", "npm install ")):
            self._install(*step.command.split()[::2])
        elif kill := re.fullmatch(r"kill (-9 )?%(\d+)", step.command):
            (self._kill if kill[1] else self._stop)(int(kill[2]))
        elif step.command.endswith(" &"):
            self._start(step)
        else:
            done = self._bash(step.command)
            self.code = done.returncode
            printed = done.stdout if done.returncode == 0 else done.stdout + done.stderr
            _compare(step, self._as_shown(printed), done.stderr)

    def _bash(self, command: str) -> subprocess.CompletedProcess[str]:
        command = self._with_ports(command)
        if (words := split_durable(command)) is not None:
            return fork_server.run(words, self.folder, self._env(command), _TIMEOUT)
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self._env(command),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip

    def _install(self, tool: str, package: str) -> None:
        if tool == "pip":
            assert distribution(package).version
        else:
            assert (NODE_PACKAGES / package).is_dir(), f"{package} isn't in tests/sdk/javascript: make node"
            (self.folder / "node_modules").symlink_to(NODE_PACKAGES)

    # The ports of the pages are replaced by free ones.

    def _with_ports(self, text: str) -> str:
        for shown, used in self.ports.items():
            text = text.replace(shown, used)
        for option, shown in (("--http", PORT), ("--grpc", GRPC_PORT)):
            text = re.sub(rf"{option}(?! [\d.:]*\d)", f"{option} {self.ports[shown]}", text)
        return text

    def _as_shown(self, printed: str) -> str:
        for shown, used in self.ports.items():
            printed = printed.replace(used, shown)
        return printed.replace(str(self.folder), "/srv/project")

    def _env(self, command: str) -> dict[str, str]:
        serves = "durable dev" in command or ("run-daemon" in command and (self.folder / "host.json").exists())
        return self.environment | ({"DURABLE_HTTP__LISTEN": self.ports[PORT]} if serves else {})

    # Background

    def _start(self, step: Step) -> None:
        number = max(self.jobs, default=0) + 1
        command = self._with_ports(step.command.removesuffix(" &"))
        log = self.folder.parent / f"{self.folder.name}.{number}.log"
        with log.open("wb") as file:
            process: fork_server.Started
            if (words := split_durable(command)) is not None:
                process = fork_server.start(words, self.folder, self._env(command), file.fileno(), file.fileno())
            else:
                process = subprocess.Popen(
                    ["bash", "-c", f"exec {command}"],
                    cwd=self.folder, env=self._env(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                )  # fmt: skip
        self.jobs[number] = job = Job(process, log, _runs_daemon(command))
        limit = monotonic() + _TIMEOUT
        shown = _pattern([*step.output, "…"])
        while not (self._is_ready(job) and shown.fullmatch(_normal(self._as_shown(log.read_text())))):
            assert process.poll() is None, f"{step.command}:\n{log.read_text()}"
            assert monotonic() < limit, f"{step.command}:\n{log.read_text()}"
            sleep(0.02)

    def _is_ready(self, job: Job) -> bool:
        """Whether a daemon has published its functions."""
        found = [path.read_text() for path in self.folder.glob(".state/**/engine.json")]
        return not job.is_daemon or any(f'"pid":{job.process.pid},' in text for text in found)

    def _stop(self, number: int) -> None:
        process, log, is_daemon = self.jobs.pop(number)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        code = process.wait(_TIMEOUT)
        assert not is_daemon or code == 0, f"the daemon ends with {code}:\n{log.read_text()}"

    def _kill(self, number: int) -> None:
        process = self.jobs.pop(number).process
        process.kill()
        process.wait()


def split_durable(command: str) -> list[str] | None:
    """Split a call of `durable` into its arguments; None for a command that needs a shell or is another one."""
    unquoted = re.sub(r"'[^']*'", "", command)
    if re.search(r"[$`*?~{}\\\n|&;<>()#!]", unquoted):
        return None
    words = shlex.split(command)
    return words[1:] if words[:1] == ["durable"] else None


def _runs_daemon(command: str) -> bool:
    return "durable dev" in command or ("run-daemon" in command and "--engine" not in command)


def _compare(step: Step, printed: str, errors: str) -> None:
    if not _pattern(step.output).fullmatch(_normal(printed)):
        expected = "".join(f"    {line}\n" for line in step.output)
        raise AssertionError(f"$ {step.command}\nthe page shows:\n{expected}printed:\n{printed}\nerrors:\n{errors}")


def _pattern(lines: list[str]) -> re.Pattern[str]:
    parts = []
    for line in lines:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(r".*?".join(re.escape(_normal_line(part)) for part in _normal_line(line).split("…")) + r"\n")
    return re.compile("".join(parts))


def _normal(text: str) -> str:
    return "".join(f"{_normal_line(line)}\n" for line in text.splitlines())


def _normal_line(line: str) -> str:
    for pattern, token in _VARIABLE:
        line = pattern.sub(token, line)
    return line.strip()
