"""http: what a daemon answers to 64 clients at once: starts to their 202, durable, and reads of a status.

The daemon is a process of its own, as people run it; the clients are raw streams in this one, which says less than
any client library and so costs less of the machine that both share.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import IO

from tests.benchmarks.harness import Run, run_daemon
from tests.benchmarks.table import Budget, Cost, Row, make_percentile, make_rate

CLIENTS = 64
REQUESTS = 4_000
BASE = "/runtime/webhooks/durabletask"


def measure(run: Run) -> Iterator[Row]:
    """Starts, and then at once, while the last of them still run, reads."""
    count = run.size(REQUESTS)
    with (
        tempfile.TemporaryFile("w+") as output,
        run_daemon(f"{run.make_folder()}/state", "--http", "0", output=output),
    ):
        port = find_port(output)
        idle = [encode_request("POST", "/orchestrators/return_at_once")] * count
        yield from measure_requests(run, "HTTP: starts", port, idle, 202)[0]
        hello = [encode_request("POST", "/orchestrators/hello5")] * count
        rows, bodies = measure_requests(run, "HTTP: starts of hello5", port, hello, 202)
        yield from rows
        reads = [encode_request("GET", f"/instances/{json.loads(body)['id']}") for body in bodies[-count:]]
        rows, _ = measure_requests(run, "HTTP: reads of a status right after", port, reads, 200, 202)
        rows[0].budget = Budget(1_500, higher=True)
        yield from rows


def find_port(output: IO[str]) -> int:
    """The port that a daemon listens on, once it has said so."""
    while True:
        output.seek(0)
        found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", output.read())
        if found is not None:
            return int(found[1])
        sleep(0.01)


def encode_request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {BASE}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class LoadGenerator:
    """Some connections that send what is left to be sent, each waiting for its answer."""

    def __init__(self, port: int, requests: list[bytes], statuses: tuple[int, ...]) -> None:
        self.port = port
        self.remaining = iter(requests)
        self.heads = tuple(b"HTTP/1.1 %d " % status for status in statuses)
        self.durations: list[float] = []
        self.bodies: list[bytes] = []

    async def run_client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for each in self.remaining:
            before = perf_counter()
            writer.write(each)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(self.heads), head
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.bodies.append(await reader.readexactly(size))
            self.durations.append(perf_counter() - before)
        writer.close()

    async def run(self) -> float:
        before = perf_counter()
        await asyncio.gather(*(self.run_client() for _ in range(CLIENTS)))
        return perf_counter() - before


def measure_requests(
    run: Run, what: str, port: int, requests: list[bytes], *statuses: int
) -> tuple[list[Row], list[bytes]]:
    """The rate, and the 99th percentile of what one request takes; and the bodies of the answers."""
    found, took, bodies = [], [], []
    for _ in run.rounds(3):
        load = LoadGenerator(port, requests, statuses)
        found.append(Cost(asyncio.run(load.run()), 0.0))
        took += load.durations
        bodies += load.bodies
    rate = make_rate(what, len(requests), found)
    rate.cpu = None  # that of the daemon isn't counted
    return [rate, make_percentile(f"{what}, p99 at {CLIENTS} clients", took, 99, "ms")], bodies
