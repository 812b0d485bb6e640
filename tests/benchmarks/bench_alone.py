"""alone: one hello5 at a time, from its start until it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from durablecli.daemon.embedded_engine import embedded
from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks import app
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Budget, Row, make_percentile

RUNS = 300


def measure(run: Run) -> Iterator[Row]:
    count = run.size(RUNS)
    with embedded(app, f"{run.make_folder()}/state") as client:
        client.wait(client.start_new(app.hello5))
        took = []
        for _ in range(count):
            began = perf_counter()
            client.wait(client.start_new(app.hello5))
            took.append(perf_counter() - began)
    yield make_percentile("alone, embedded client, median", took, 50, "ms", budget=Budget(2, 1.6))
    yield make_percentile("alone, embedded client, p99", took, 99, "ms")
    with open_engine(f"{run.make_folder()}/state") as engine:
        took = [measure_run(engine, [MessageItem(f"alone-{n}", name="hello5")]).seconds for n in range(count)]
    yield make_percentile("alone, engine in process, median", took, 50, "ms", budget=Budget(3, 1.6))
    yield make_percentile("alone, engine in process, p99", took, 99, "ms")
