"""A hub in a folder of its own, the `durable` command against it, and daemons that a test may kill."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from durablecli import Client
from tests.support import fork_server
from tests.support.waiting import wait_until

FLOWS = Path(__file__).parents[1] / "e2e" / "flows"
COMMAND = fork_server.COMMAND
STATELESS = frozenset({"functions", "init"})


class CommandResult(NamedTuple):
    """What one call of the command gave."""

    exit_code: int
    out: str
    err: str


class DurableProcess:
    """A `durable` that runs beside the test; what it says is in a file."""

    def __init__(self, arguments: list[str], folder: Path, environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as said:
            self.process = fork_server.start(arguments, folder, environment, said.fileno(), said.fileno())
        self.pid = self.process.pid

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for_output(self, text: str, seconds: float = 20.0) -> None:
        """Wait until it has said so."""

        def has() -> bool:
            if text in self.output:
                return True
            assert self.alive, f"ended with {self.process.returncode} before saying {text!r}:\n{self.output}"
            return False

        wait_until(has, seconds, f"{text!r} in\n{self.output}")

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait_for_exit(self, seconds: float = 30.0) -> int:
        """Its exit code, when it has ended."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still runs after {seconds} s:\n{self.output}") from None

    def kill(self) -> None:
        """As a power switch would: SIGKILL."""
        self.process.kill()
        self.process.wait()


class CliHarness:
    """A state directory, and everything that a test does to it from outside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / ".state"
        self.runs_file = folder / "runs"
        self.release_file = folder / "released"
        self.client = Client(self.root)
        self.command_prefix: list[str] = []
        """A command that runs the command, as one that takes rights away."""
        self.processes: list[DurableProcess] = []
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("DURABLE_")}
        self.environment["RUNS"] = str(self.runs_file)
        self.environment["RELEASED"] = str(self.release_file)

    def __call__(self, *arguments: str, code: int | None = 0, timeout: float = 60) -> CommandResult:
        """Run one verb to its end; `code` is what it must exit with (None: anything)."""
        where = [] if arguments[0] in STATELESS else ["--state-dir", str(self.root)]
        if self.command_prefix:
            done = self._run_prefixed([*arguments, *where], timeout)
        else:
            done = fork_server.run([*arguments, *where], self.folder, self.environment, timeout)
        said = f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code is None or done.returncode == code, said
        assert "Traceback" not in done.stderr, said
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def _run_prefixed(self, arguments: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command_prefix, *COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str, app: str | None = None, **settings: str) -> DurableProcess:
        """Start a verb and don't wait for it. `settings` are variables, as DURABLE_DRAIN."""
        log = self.folder / f"said-{len(self.processes)}"
        app_option = [] if app is None else ["--app", str(FLOWS / f"{app}.py")]
        command = [*arguments, *app_option, "--state-dir", str(self.root)]
        process = DurableProcess(command, self.folder, self.environment | settings, log)
        self.processes.append(process)
        return process

    def start_daemon(self, app: str, *options: str, **settings: str) -> DurableProcess:
        """A daemon that has taken the hub and handles its signals."""
        daemon = self.start("run-daemon", *options, app=app, **settings)
        wait_until(lambda: self._daemon_is_up(daemon), description=f"the daemon:\n{daemon.output}")
        return daemon

    def _daemon_is_up(self, daemon: DurableProcess) -> bool:
        assert daemon.alive, f"the daemon ended with {daemon.process.returncode}:\n{daemon.output}"
        try:
            notice = json.loads((self.root / "engine.json").read_bytes())
        except FileNotFoundError:
            return False
        return bool(notice["pid"] == daemon.pid)

    def run(self, app: str, name: str, *options: str, code: int = 0) -> CommandResult:
        """Let `durable run` do the work."""
        return self("run", name, *options, "--app", str(FLOWS / f"{app}.py"), code=code)

    def run_until_idle(self, app: str) -> str:
        """Let a daemon work until nothing can move; what it said."""
        daemon = self.start("run-daemon", "--until-idle", app=app)
        assert daemon.wait_for_exit(60) == 0, daemon.output
        return daemon.output

    def read_status(self, instance: str) -> dict[str, Any]:
        """What `durable status` shows to programs."""
        shown: dict[str, Any] = json.loads(self("status", instance, "-o", "json").out)
        return shown

    def read_runs(self) -> list[list[str]]:
        """What activities noted: a line each, in words."""
        try:
            text = self.runs_file.read_text()
        except FileNotFoundError:
            return []
        return [line.split() for line in text.splitlines()]

    def release(self) -> None:
        """Let the activities end that wait for it, now and later."""
        self.release_file.touch()

    def assert_sound(self) -> None:
        """The checker finds nothing."""
        checked = self("doctor", code=None)
        assert checked.exit_code == 0, checked.out

    def close(self) -> None:
        for process in self.processes:
            if process.alive:
                process.kill()
