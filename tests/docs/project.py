"""A temporary project in which the code blocks of one page run, in their order.

- A block with a title is that file of the project.
- A `console` block is a transcript: each command prints exactly the lines below it. A line `…` matches any number of
  lines, a `…` within a line for any text. Times, random ids and checksums match any others. A command that ends in `&`
  runs until the end of the page, or until `kill %1` or `kill -9 %1`. A command that fails is followed by `echo $?`.
- A `python` block without a title is a program, an `sh` block a list of commands. Both must succeed.
- Of `make`, which would run the tests themselves, it is only checked that the target exists.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType

import yaml

from tests.docs.pages import ROOT, Block, Step, steps
from tests.support.ports import find_free_port

PORT = "7071"
_TIMEOUT = 60.0
_VARIABLE = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?Z?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "<id>"),
    (re.compile(r'"crc":"[0-9a-f]+"'), '"crc":"<crc>"'),
    (re.compile(r"\s+"), " "),
]


class Project:
    """The folder, its environment, and the command that runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(find_free_port())
        self.daemon: subprocess.Popen[bytes] | None = None
        self._log = folder.parent / f"{folder.name}.log"
        self.code = 0
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
        self.environment = clean | {"PATH": programs, "NO_PROXY": "localhost,127.0.0.1", "COLUMNS": "120"}

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()

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
        if self.daemon is not None:
            self._stop()
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
        path.write_text(text, encoding="utf-8")
        if path.suffix in (".yaml", ".json"):
            yaml.safe_load(text)

    def _program(self, text: str) -> None:
        done = subprocess.run(
            [sys.executable, "-"], input=text.replace(PORT, self.port), cwd=self.folder, env=self.environment,
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
        elif step.command == "kill %1":
            self._stop()
        elif step.command == "kill -9 %1":
            assert self.daemon is not None
            self.daemon.kill()
            self.daemon.wait()
            self.daemon = None
        elif step.command.endswith(" &"):
            self._start(step)
        else:
            done = self._bash(step.command)
            self.code = done.returncode
            printed = done.stdout if done.returncode == 0 else done.stdout + done.stderr
            _compare(step, self._as_shown(printed), done.stderr)

    def _bash(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", self._with_port(command)], cwd=self.folder, env=self._env(command),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip

    # The port of the pages is replaced by a free one.

    def _with_port(self, command: str) -> str:
        return re.sub(r"--http(?! [\d.:]*\d)", f"--http {self.port}", command.replace(PORT, self.port))

    def _as_shown(self, printed: str) -> str:
        return printed.replace(self.port, PORT).replace(str(self.folder), "/srv/project")

    def _env(self, command: str) -> dict[str, str]:
        serves = "run-daemon" in command and (self.folder / "host.json").exists()
        return self.environment | ({"DURABLE_HTTP__LISTEN": self.port} if serves else {})

    # Background

    def _start(self, step: Step) -> None:
        assert self.daemon is None, "one command runs in the background already"
        command = self._with_port(step.command.removesuffix(" &"))
        with self._log.open("wb") as file:
            self.daemon = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder, env=self._env(command), stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        limit = monotonic() + _TIMEOUT
        shown = _pattern([*step.output, "…"])
        while not (self._is_ready() and shown.fullmatch(_normal(self._as_shown(self._log.read_text())))):
            waits = self.daemon.poll() is None and monotonic() < limit
            assert waits, f"{step.command}:\n{self._log.read_text()}"
            sleep(0.02)

    def _is_ready(self) -> bool:
        """Whether the daemon has published its functions."""
        assert self.daemon is not None
        found = [path.read_text() for path in self.folder.glob(".state/**/engine.json")]
        return any(f'"pid":{self.daemon.pid},' in text for text in found)

    def _stop(self) -> None:
        assert self.daemon is not None
        self.daemon.send_signal(signal.SIGTERM)
        code = self.daemon.wait(_TIMEOUT)
        assert code == 0, f"the daemon ends with {code}:\n{self._log.read_text()}"
        self.daemon = None


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
