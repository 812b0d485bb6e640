"""http: what a daemon answers to 64 clients at once: starts to their 202, durable, and reads of a status.

The daemon is a process of its own, as people run it; the clients are raw streams in this one, which says less than
any client library and so costs less of the machine that both share.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from tests.benchmarks.harness import measure_bare_loop, print_environment

CLIENTS = 64
STARTS = 4_000
READS = 4_000
ROUNDS = 3
BASE = "/runtime/webhooks/durabletask"


@contextmanager
def run_daemon(folder: str) -> Iterator[int]:
    """A daemon over a new hub; the port it listens on."""
    root = tempfile.mkdtemp(prefix="hub-", dir=folder)
    command = ["run-daemon", "--app", "tests.benchmarks.harness", "--state-dir", f"{root}/state", "--http", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "durablecli", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "the daemon ended"
            found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
        yield int(found[1])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def encode_request(method: str, path: str, body: bytes = b"") -> bytes:
    head = f"{method} {BASE}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class LoadGenerator:
    """Some connections that send what is left to be sent, each waiting for its answer."""

    def __init__(self, port: int, requests: list[bytes], expected_status: int) -> None:
        self.port = port
        self.remaining = iter(requests)
        self.expected_head = b"HTTP/1.1 %d " % expected_status
        self.durations: list[float] = []
        self.bodies: list[bytes] = []

    async def run_client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for each in self.remaining:
            before = perf_counter()
            writer.write(each)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(self.expected_head), head
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.bodies.append(await reader.readexactly(size))
            self.durations.append(perf_counter() - before)
        writer.close()

    async def run(self) -> float:
        before = perf_counter()
        await asyncio.gather(*(self.run_client() for _ in range(CLIENTS)))
        return perf_counter() - before


def measure(label: str, port: int, requests: list[bytes], expected_status: int) -> list[bytes]:
    """Print the rate and the median and 99th percentile of what one request takes; the bodies of the answers."""
    rates, took, bodies = [], [], []
    for _ in range(ROUNDS):
        load = LoadGenerator(port, requests, expected_status)
        rates.append(len(requests) / asyncio.run(load.run()))
        took += load.durations
        bodies += load.bodies
    cuts = statistics.quantiles(took, n=100)
    figures = " / ".join(f"{rate:,.0f}" for rate in rates)
    print(
        f"{label:<11}{figures} a second at {CLIENTS} clients, {cuts[49] * 1e3:.1f} ms median, {cuts[98] * 1e3:.1f} p99"
    )
    return bodies


def main() -> None:
    folder = print_environment()
    before = measure_bare_loop()
    with run_daemon(folder) as port:
        idle = encode_request("POST", "/orchestrators/fan_out_signals", b'{"round":0,"entities":1,"signals":0}')
        started = measure("starts", port, [idle] * STARTS, 202)
        measure("hello5", port, [encode_request("POST", "/orchestrators/hello5")] * STARTS, 202)
        ids = [json.loads(body)["id"] for body in started]
        measure("status", port, [encode_request("GET", f"/instances/{id}") for id in ids[:READS]], 200)
    print(f"bare loop  {before:.3f} s before, {measure_bare_loop():.3f} s after")


if __name__ == "__main__":
    main()
