"""A daemon and its workers are killed under load in two languages, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, sleep

import pytest

from durablecli.client import Query
from tests.sdk.javascript.find_node import PACKAGES, PROJECT, find_node
from tests.sdk.load_checks import Kill, LoadChecks
from tests.sdk.load_client import LoadClient
from tests.support.cli_harness import CliHarness, DurableProcess
from tests.support.fork_server import COMMAND
from tests.support.ports import find_free_port
from tests.support.waiting import wait_until

SEED = int(os.environ.get("KILLS_SEED", "0")) or random.SystemRandom().randrange(1 << 32)
KILLS = 6
SOAK_KILLS = int(os.environ.get("DURABLE_KILLS", "100"))
FOLDER = Path(__file__).parent
WORKERS = ("python 1", "python 2", "javascript", "durablecli")
VICTIMS = ("daemon", "daemon", "daemon", *WORKERS)


class LoadedHub:
    """A daemon with workers of the Python SDK, the JavaScript SDK and durablecli. Each may be killed."""

    def __init__(self, hub: CliHarness, rng: random.Random) -> None:
        self.hub = hub
        self.rng = rng
        self.port = find_free_port()
        self.kills: list[Kill] = []
        self.counts: Counter[str] = Counter()
        self.daemon: DurableProcess
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self._log = (hub.folder / "workers").open("wb")
        self.start_daemon()
        for name in WORKERS:
            self.start_worker(name)

    def start_daemon(self) -> None:
        app = str(FOLDER / "load_flows.py")
        self.daemon = self.hub.start("run-daemon", "--app", app, "--grpc", str(self.port))
        self.daemon.wait_for_output("listening for gRPC on")

    def start_worker(self, name: str) -> None:
        node = find_node()
        assert node is not None, "Node.js is missing: make node"
        address, app = f"127.0.0.1:{self.port}", str(FOLDER / "load_engine_flows.py")
        commands = {
            "javascript": [node, "load_worker.js"],
            "durablecli": [*COMMAND, "run-daemon", "--engine", f"dts://{address}", "--app", app],
        }
        python = [sys.executable, str(FOLDER / "load_worker.py"), address]
        self.workers[name] = subprocess.Popen(
            commands.get(name, python),
            cwd=PROJECT,
            env=self.hub.environment | {"HUB_ADDRESS": address, "PYTHONPATH": str(FOLDER.parents[1])},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )

    def run(self, kills: int) -> LoadChecks:
        """Kill, check and start again so many times under load; then let everything end, and check what came of it."""
        began = monotonic()
        load = LoadClient(f"127.0.0.1:{self.port}", self.hub.client, self.rng.randrange(1 << 32))
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(load.run)
            try:
                for _ in range(kills):
                    self._wait_for_work()
                    self._kill_once()
            except BaseException:
                load.is_abandoned = True
                raise
            finally:
                load.stopped.set()
            sending.result()
        unfinished = Query(status=("Pending", "Running", "Suspended", "Failed"))
        wait_until(lambda: self.hub.client.count(unfinished) == 0, 60, "the end of all instances", 0.1)
        checks = LoadChecks(self.hub.client, load, self.hub.read_runs(), self.kills)
        wait_until(lambda: checks.all_tokens_arrived, 20, "all operations of entities", 0.1)
        checks.check_all()
        self.daemon.kill()
        self.hub.assert_sound()
        self.counts["seconds"] = round(monotonic() - began)
        return checks

    def _wait_for_work(self) -> None:
        """Wait until all workers have begun an activity, or some seconds have passed, and for a random moment then."""
        limit = monotonic() + 5
        size = self._journal_size()
        pids = {str(worker.pid) for worker in self.workers.values()}
        while not pids <= {line[4] for line in self._read_since(size)} and monotonic() < limit:
            sleep(0.02)
        sleep(self.rng.uniform(0, 0.3))

    def _journal_size(self) -> int:
        return self.hub.runs_file.stat().st_size if self.hub.runs_file.exists() else 0

    def _read_since(self, size: int) -> list[list[str]]:
        if not self.hub.runs_file.exists():
            return []
        with self.hub.runs_file.open() as file:
            file.seek(size)
            return [words for line in file if len(words := line.split()) == 6]

    def _kill_once(self) -> None:
        victim = self.rng.choice(VICTIMS)
        self.counts["kills"] += 1
        self.counts[f"kills of {victim}"] += 1
        assert self.daemon.alive, f"{self.daemon.process.returncode}: {self.daemon.output}"
        before = time.time_ns() // 1000
        if victim == "daemon":
            self.daemon.kill()
            self.kills.append(Kill(0, before, time.time_ns() // 1000))
            self.hub.assert_sound()
            self.start_daemon()
        else:
            worker = self.workers[victim]
            assert worker.poll() is None, f"{victim} has ended: {(self.hub.folder / 'workers').read_text()}"
            worker.kill()
            worker.wait()
            self.kills.append(Kill(worker.pid, before, time.time_ns() // 1000))
            self.hub.assert_sound()
            self.start_worker(victim)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.kill()
            worker.wait()
        self._log.close()
        self.hub.close()


@pytest.fixture
def loaded(tmp_path: Path) -> Iterator[LoadedHub]:
    assert PACKAGES.is_dir(), "packages of tests/sdk/javascript are missing: make node"
    print(f"KILLS_SEED={SEED}")
    made = LoadedHub(CliHarness(tmp_path), random.Random(SEED))
    yield made
    made.close()


def report(loaded: LoadedHub, checks: LoadChecks) -> None:
    print(", ".join(f"{count} {what}" for what, count in (loaded.counts + checks.counts).items()))


@pytest.mark.timeout(120)
def test_kills_of_the_daemon_and_of_workers_lose_nothing(loaded: LoadedHub) -> None:
    checks = loaded.run(KILLS)
    report(loaded, checks)
    assert checks.counts["acknowledged starts"] >= 5 * KILLS


@pytest.mark.soak
def test_a_hundred_kills_of_the_daemon_and_of_workers_lose_nothing(loaded: LoadedHub) -> None:
    checks = loaded.run(SOAK_KILLS)
    report(loaded, checks)
    assert checks.counts["acknowledged starts"] >= 10 * SOAK_KILLS
    assert checks.counts["runs again"] > 0
