"""hello5, a chain of five activities: many at once from outside, as people run them, and in this process."""

from __future__ import annotations

from collections.abc import Iterator

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import (
    APP,
    Run,
    average,
    measure_run,
    measure_wall,
    open_engine,
    run_durable,
    write_batch,
)
from tests.benchmarks.table import Budget, Row, make_rate

BUDGETS = {5_000: Budget(4_000, 7_000)}
MEMORY_BUDGET = Budget(300)
SMALL, LARGE = 5_000, 100_000
SLOW_SYNC_SECONDS = 0.005


def measure(run: Run) -> Iterator[Row]:
    small: Row | None = None
    for count in run.sizes(SMALL, 20_000, LARGE):
        row = measure_outside(run, count, rounds=3 if count == SMALL else 1)
        yield row
        small = small or row
        if count == LARGE:
            assert row.cpu is not None
            assert small.cpu is not None
            yield Row(f"CPU each at {LARGE:,} and at {SMALL:,}", row.cpu / small.cpu, "×", budget=Budget(1.2, 1.0))
            yield Row("peak RSS", row.memory or 0, "MB", budget=MEMORY_BUDGET)
    yield measure_inside(run)
    yield measure_inside(run, sync=SLOW_SYNC_SECONDS)


def measure_outside(run: Run, count: int, rounds: int) -> Row:
    """One daemon until it is idle, after `start --batch`; the wall at the same size before and after each round."""
    found = []
    walls = [measure_wall(run, count).outside]
    for _ in run.rounds(rounds):
        folder = run.make_folder()
        state = f"{folder}/state"
        run_durable("start", "hello5", "--app", APP, "--state-dir", state, "--batch", write_batch(folder, count))
        found.append(run_durable("run-daemon", "--app", APP, "--state-dir", state, "--until-idle"))
        walls.append(measure_wall(run, count).outside)
    row = make_rate(
        f"hello5 from outside, {count:,}",
        count,
        [each.cost for each in found],
        memory=max(each.memory for each in found),
        budget=BUDGETS.get(count),
    )
    row.wall = average(walls)
    return row


def measure_inside(run: Run, *, sync: float = 0.0) -> Row:
    count = run.size(SMALL)
    with open_engine(f"{run.make_folder()}/state", sync=sync) as engine:
        found = [
            measure_run(engine, [MessageItem(f"hello-{round_}-{number}", name="hello5") for number in range(count)])
            for round_ in run.rounds(3)
        ]
    added = f", {sync * 1e3:g} ms added to each sync" if sync else ""
    return make_rate(f"hello5 in process, {count:,}{added}", count, found)
