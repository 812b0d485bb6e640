"""chain: one instance of many steps. A step of a long history must cost what a step of a short one costs."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Raw

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import Run, measure_run, open_engine
from tests.benchmarks.table import Budget, Cost, Row, make_time

LENGTHS = (100, 1_000, 10_000)
STEPS = 2_000
"""Short chains are measured one after another, until they have had at least so many steps."""


def measure(run: Run) -> Iterator[Row]:
    found = {length: measure_step(run, length) for length in run.sizes(*LENGTHS)}
    for length, costs in found.items():
        row = make_time(f"chain of {length:,}, a step", [cost.seconds for cost in costs], "µs")
        row.cpu = sorted(costs)[len(costs) // 2].cpu
        yield row
    shortest, longest = min(found), max(found)
    ratio = min(found[longest]).seconds / min(found[shortest]).seconds
    yield Row(f"a step of {longest:,} beside one of {shortest:,}", ratio, "×", budget=Budget(1.2, 1.0))


def measure_step(run: Run, length: int) -> list[Cost]:
    """What a step took, in each of three rounds."""
    steps = Raw(b"%d" % length)
    chains = max(1, run.size(STEPS) // length)
    found = []
    with open_engine(f"{run.make_folder()}/state") as engine:
        for round_ in run.rounds(3):
            took = [measure_run(engine, [MessageItem(f"chain-{round_}-{n}", "chain", steps)]) for n in range(chains)]
            seconds, cpu = (sum(each) / chains / length for each in zip(*took, strict=True))
            found.append(Cost(seconds, cpu))
    return found
