"""events: external events, all to one instance, and one to each of many."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Row, make_rate

EVENTS = 10_000


def measure(run: Run) -> Iterator[Row]:
    count = run.size(EVENTS)
    for receivers in sorted({1, count}):
        each_takes = Raw(b"%d" % (count // receivers))
        found = []
        with open_engine(f"{run.make_folder()}/state") as engine:
            for round_ in run.rounds(3):
                ids = [f"receiver-{round_}-{number}" for number in range(receivers)]
                measure_run(engine, [MessageItem(id_, "count_events", each_takes) for id_ in ids])
                events = [MessageItem(ids[number % receivers], "go") for number in range(count)]
                found.append(measure_run(engine, events, "raise-event"))
                assert all(engine.has_ended(id_) for id_ in ids), "an event is missing"
        yield make_rate(f"{count:,} events to {receivers:,} instance{'s'[: receivers > 1]}", count, found)
