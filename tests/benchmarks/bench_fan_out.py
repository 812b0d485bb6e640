"""fan-out: one instance calls many activities at once, by each executor."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw, json

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Budget, Row, make_rate

WIDTHS = (100, 1_000, 10_000, 100_000)
ACTIVITIES = {"thread": "hello", "async": "hello_async", "process": "hello_process"}
PROCESS_WIDTHS = (100, 1_000, 10_000)
"""A hundred thousand by process would take longer than all the others together."""


def measure(run: Run) -> Iterator[Row]:
    for executor, activity in ACTIVITIES.items():
        with open_engine(f"{run.make_folder()}/state") as engine:
            started = Raw(json.encode({"activity": activity, "count": 10}))
            measure_run(engine, [MessageItem("warm-up", "fan_out", started)])
            for width in run.sizes(*(PROCESS_WIDTHS if executor == "process" else WIDTHS)):
                given = Raw(json.encode({"activity": activity, "count": width}))
                rounds = run.rounds(3 if width <= 10_000 else 1)
                found = [measure_run(engine, [MessageItem(f"{width}-{n}", "fan_out", given)]) for n in rounds]
                row = make_rate(f"fan-out of {width:,} by {executor}", width, found)
                if width == 10_000 and executor == "thread":
                    row.budget = Budget(30_000, 100_000, higher=True)
                if executor == "process":
                    row.cpu = None  # its workers aren't counted
                yield row
