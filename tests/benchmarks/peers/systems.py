"""The peers: each does the same work once, many hello5 at once and then some alone, in processes of its own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import Request, urlopen

from tests.benchmarks.bench_http import LoadGenerator
from tests.benchmarks.harness import Run
from tests.benchmarks.peers.packages import (
    NODE_MODULES,
    PeerMissing,
    install_node_packages,
    install_postgres,
    install_python_packages,
    run,
)
from tests.support.ports import find_free_port

HERE = Path(__file__).parent
ALONE = 50
_START_LIMIT = 60.0


class Round(NamedTuple):
    """What one round found: the rate of many at once, and the seconds of one alone."""

    rate: float
    alone: float
    version: str
    durability: str


class Peer(NamedTuple):
    """A peer and how many hello5 it does at once: a few seconds' worth."""

    name: str
    at_once: int
    measure: Callable[[Run, int], Round]


def measure_program(program: str, count: int, alone: int, *arguments: str) -> Round:
    """Run a program with the packages of the peers, which prints what it found."""
    python = install_python_packages()
    found: dict[str, Any] = json.loads(
        run([python, str(HERE / program), str(count), str(alone), *arguments]).splitlines()[-1]
    )
    rate = count / found["seconds"]
    return Round(rate, statistics.median(found["alone"]), found["version"], found["durability"])


def measure_dbos_on_sqlite(where: Run, count: int) -> Round:
    url = f"sqlite:///{where.make_folder()}/dbos.sqlite"
    return measure_program("dbos_hello5.py", count, where.size(ALONE), url)


def measure_dbos_on_postgres(where: Run, count: int) -> Round:
    with run_postgres(where) as (url, version):
        found = measure_program("dbos_hello5.py", count, where.size(ALONE), url)
    return found._replace(version=f"{found.version}, {version}")


def measure_durabletask(where: Run, count: int) -> Round:
    return measure_program("durabletask_hello5.py", count, where.size(ALONE), str(find_free_port()))


def measure_restate(where: Run, count: int) -> Round:
    with run_restate(where) as (ingress, version):
        request = f"POST /bench/hello5 HTTP/1.1\r\nHost: 127.0.0.1:{ingress}\r\nContent-Length: 0\r\n\r\n".encode()
        send_requests(ingress, [request] * 5)
        seconds = send_requests(ingress, [request] * count)[0]
        alone = [send_requests(ingress, [request])[1][0] for _ in range(where.size(ALONE))]
    durability = "a replicated log of one node, its write-ahead log synced (the default)"
    return Round(count / seconds, statistics.median(alone), version, durability)


def send_requests(port: int, requests: list[bytes]) -> tuple[float, list[float]]:
    """The seconds of all, and of each of them."""
    load = LoadGenerator(port, requests, (200,))
    return asyncio.run(load.run()), load.durations


# ── servers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def run_postgres(where: Run) -> Iterator[tuple[str, str]]:
    """A cluster of its own with PostgreSQL's defaults, run by an unprivileged user: the URL of a database."""
    programs = install_postgres()
    folder = tempfile.mkdtemp(prefix="durable-bench-pg-", dir=Path(where.folder).parent)
    user: dict[str, object] = {}
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
    port = find_free_port()
    run([f"{programs}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "bench"], **user)
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c max_connections=200"
    control = [f"{programs}/pg_ctl", "-D", f"{folder}/data", "-w", "-l", f"{folder}/log"]
    run([*control, "-o", options, "start"], **user)
    try:
        version = run([f"{programs}/postgres", "--version"]).split()[2]
        yield f"postgresql+psycopg://bench@127.0.0.1:{port}/dbos", f"PostgreSQL {version}"
    finally:
        run([*control, "-m", "fast", "stop"], **user)


@contextmanager
def run_restate(where: Run) -> Iterator[tuple[int, str]]:
    """A server with Restate's defaults, and the service: the port for calls."""
    server = install_node_packages()
    node, ingress, admin, service = (find_free_port() for _ in range(4))
    environment = {
        **os.environ,
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
        "RESTATE_LOGGING": "ERROR",
        "NODE_PATH": str(NODE_MODULES),
    }
    folder = where.make_folder()
    commands = [
        [str(server), "--no-logo", "--base-dir", folder],
        ["node", str(HERE / "restate_service.cjs"), str(service)],
    ]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, env=environment, **quiet) for command in commands]  # type: ignore[call-overload]
    try:
        register_service(f"http://127.0.0.1:{admin}/deployments", f"http://127.0.0.1:{service}")
        wait_for_service(f"http://127.0.0.1:{ingress}/bench/hello5")
        sdk = json.loads((NODE_MODULES / "@restatedev/restate-sdk/package.json").read_text())["version"]
        node_version = run(["node", "--version"]).strip()
        yield ingress, f"{run([str(server), '--version']).strip()}, TypeScript SDK {sdk}, Node {node_version}"
    finally:
        for process in processes:
            process.terminate()
            process.wait(60)


def register_service(url: str, service: str) -> None:
    post_until_accepted(url, json.dumps({"uri": service}).encode())


def wait_for_service(url: str) -> None:
    post_until_accepted(url, b"")


def post_until_accepted(url: str, body: bytes) -> None:
    """Post again and again, until a server that begins takes it."""
    began = monotonic()
    while True:
        try:
            with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=10):  # noqa: S310
                return
        except (URLError, OSError) as error:
            if monotonic() - began > _START_LIMIT:
                raise PeerMissing(f"{url} doesn't answer: {error}") from error
            sleep(0.1)


PEERS = (
    Peer("Restate", 2_000, measure_restate),
    Peer("DBOS on PostgreSQL", 500, measure_dbos_on_postgres),
    Peer("DBOS on SQLite", 300, measure_dbos_on_sqlite),
    Peer("durabletask in memory", 500, measure_durabletask),
)
