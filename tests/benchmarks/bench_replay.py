"""replay: an event wakes instances with long histories, each of which an engine reads and replays for it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from durablecli.client import Client
from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Budget, Row, make_rate

STEPS, INSTANCES = 10_000, 5


def measure(run: Run) -> Iterator[Row]:
    steps = run.size(STEPS)
    state = f"{run.make_folder()}/state"
    found = []
    records = 0
    for round_ in run.rounds(3):
        ids = [f"waiting-{round_}-{number}" for number in range(INSTANCES)]
        with open_engine(state) as engine:
            measure_run(engine, [MessageItem(id_, "chain_then_wait", Raw(b"%d" % steps)) for id_ in ids])
        client = Client(state)
        records = sum(len(client.get_history(id_)) for id_ in ids)
        with open_engine(state) as engine:
            found.append(measure_run(engine, [MessageItem(id_, "go") for id_ in ids], "raise-event"))
            assert engine.stats["replays"] == INSTANCES
    yield make_rate(
        f"cold replay of {records // INSTANCES:,} events", records, found, budget=Budget(300_000, 600_000, higher=True)
    )
