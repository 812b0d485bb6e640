"""dashboard: the time of its first page over very many instances, and what open pages cost the daemon.

An open page is a client that does what the script of the page does: it listens to the stream of changes, and asks for
the list again when that says so, at most once a second.
"""

from __future__ import annotations

import re
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from time import perf_counter, sleep

from durablecli.client import Client
from durablecli.store.query import Query
from tests.benchmarks.bench_http import find_port
from tests.benchmarks.harness import APP, Run, run_daemon, run_durable, write_batch
from tests.benchmarks.table import Budget, Row, make_percentile

INSTANCES = 100_000
LOAD = 10_000
PAGES = 5
REQUESTS = 20
FIRST_PAGES = {
    "first page": "/",
    "only those of a status": "/?status=Running",
    "only those of a name": "/?name=sleeper",
    "only those of an hour": "/?after=1h",
}
_PAUSE = 1.0


def measure(run: Run) -> Iterator[Row]:
    """The pages over sleeping instances, then the load with and without open pages."""
    count, folder = run.size(INSTANCES), run.make_folder()
    state = f"{folder}/state"
    run_durable("start", "sleeper", "--app", APP, "--state-dir", state, "--batch", write_batch(folder, count))
    run_durable("run-daemon", "--app", APP, "--state-dir", state, "--until-idle")
    with tempfile.TemporaryFile("w+") as output, run_daemon(state, "--http", "0", output=output):
        port = find_port(output)
        for what, path in FIRST_PAGES.items():
            took = [fetch(port, path)[1] for _ in range(run.size(REQUESTS))]
            yield make_percentile(f"{what}, {count:,} instances, p50", took, 50, "ms", budget=Budget(200))
    yield from measure_open_pages(run)


def measure_open_pages(run: Run) -> Iterator[Row]:
    """The rate of hello5 with open pages and without, in turns, in one hub."""
    count, folder = run.size(LOAD), run.make_folder()
    state = f"{folder}/state"
    alone, watched, refreshes = [], [], 0
    with tempfile.TemporaryFile("w+") as output, run_daemon(state, "--http", "0", output=output):
        port = find_port(output)
        for _ in run.rounds(5):
            alone.append(measure_load(state, count, folder))
            with open_pages(port, PAGES) as pages:
                watched.append(measure_load(state, count, folder))
            refreshes += sum(page.refreshes for page in pages)
    yield Row("hello5 without an open page", count / median(alone), "/s")
    yield Row(f"hello5 with {PAGES} open pages", count / median(watched), "/s")
    ratio = median(without / with_pages for without, with_pages in zip(alone, watched, strict=True))
    yield Row(f"… of the rate without, at {PAGES} open pages", 100 * ratio, "%", budget=Budget(90, higher=True))
    yield Row("updates of each page", refreshes / PAGES / sum(watched), "/s")


def measure_load(state: str, count: int, folder: str) -> float:
    """The seconds until one more batch of hello5 has ended."""
    client = Client(state)
    target = count_completed(client) + count
    began = perf_counter()
    run_durable("start", "hello5", "--app", APP, "--state-dir", state, "--batch", write_batch(folder, count))
    while count_completed(client) < target:
        sleep(0.1)
    return perf_counter() - began


def count_completed(client: Client) -> int:
    """By the index alone, so that counting costs next to nothing."""
    return client.page_and_counts(Query(name="hello5", limit=1), indexed_only=True).counts.get("Completed", 0)


class OpenPage(threading.Thread):
    """One open page."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._stream = socket.create_connection(("127.0.0.1", port))
        self.refreshes = 0

    def run(self) -> None:
        fetch(self._port, "/")
        self._stream.sendall(b"GET /ui/changes HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        with suppress(OSError):
            while data := self._stream.recv(65536):
                if b"event: change" in data:
                    _, took = fetch(self._port, "/", "hx-request: true\r\n")
                    self.refreshes += 1
                    sleep(max(_PAUSE, 10 * took))

    def close(self) -> None:
        self._stream.shutdown(socket.SHUT_RDWR)
        self._stream.close()


@contextmanager
def open_pages(port: int, count: int) -> Iterator[Sequence[OpenPage]]:
    pages = [OpenPage(port) for _ in range(count)]
    for page in pages:
        page.start()
    try:
        yield pages
    finally:
        for page in pages:
            page.close()
            page.join()


def fetch(port: int, path: str, headers: str = "") -> tuple[bytes, float]:
    """The body of a page, and the seconds until all of it has come."""
    began = perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n".encode())
        data = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert re.match(rb"HTTP/1.1 200 ", data), data[:300]
    return data.partition(b"\r\n\r\n")[2], perf_counter() - began
