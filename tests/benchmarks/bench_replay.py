"""replay: an event wakes instances with long histories, each of which an engine reads and replays for it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from durablecli.client import Client
from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Budget, Row, make_rate

STEPS, INSTANCES = 10_000, 3


def measure(run: Run) -> Iterator[Row]:
    """The histories are made first, by one engine; then each round has an engine of its own."""
    steps = Raw(b"%d" % run.size(STEPS))
    state = f"{run.make_folder()}/state"
    rounds = [[f"waiting-{round_}-{number}" for number in range(INSTANCES)] for round_ in run.rounds(3)]
    with open_engine(state) as engine:
        measure_run(engine, [MessageItem(id_, "chain_then_wait", steps) for ids in rounds for id_ in ids])
    records = sum(len(Client(state).get_history(id_)) for id_ in rounds[0])
    found = []
    for ids in rounds:
        with open_engine(state) as engine:
            found.append(measure_run(engine, [MessageItem(id_, "go") for id_ in ids], "raise-event"))
            assert engine.stats["replays"] == INSTANCES
    budget = Budget(300_000, 600_000, higher=True)
    yield make_rate(f"cold replay of {records // INSTANCES:,} events", records, found, budget=budget)
