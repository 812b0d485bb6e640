"""hello5, a chain of five activities: many at once from outside, as people run them, and in this process."""

from __future__ import annotations

from collections.abc import Iterator

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import (
    APP,
    Run,
    average,
    measure_bare_loop,
    measure_run,
    open_engine,
    run_durable,
    write_batch,
)
from tests.benchmarks.table import Budget, Row, make_rate

RATE_BUDGET = Budget(4_000, 7_000, higher=True)
SHARE_BUDGET = Budget(0.3, higher=True)
GROWTH_BUDGET = Budget(1.2, 1.0)
MEMORY_BUDGET = Budget(300)
SMALL = 5_000
SIZES = (SMALL, 20_000, 100_000)
SLOW_SYNC_SECONDS = 0.005


def measure(run: Run) -> Iterator[Row]:
    found = [measure_outside(run, count, rounds=3 if count == SMALL else 1) for count in run.sizes(*SIZES)]
    found[0].budget = RATE_BUDGET
    yield from found
    yield from compare_sizes(found[0], found[-1])
    yield measure_inside(run)
    yield measure_inside(run, sync=SLOW_SYNC_SECONDS)


def compare_sizes(small: Row, large: Row) -> Iterator[Row]:
    """What must not grow with the number of instances, and the share of the bare loop's rate."""
    assert small.bare_loop is not None
    assert small.cpu is not None
    assert large.cpu is not None
    assert large.memory is not None
    yield Row(f"{small.what}: beside the bare loop", small.bare_loop.seconds * small.figure, "×", budget=SHARE_BUDGET)
    yield Row(f"{large.what}: CPU each beside the fewest", large.cpu / small.cpu, "×", budget=GROWTH_BUDGET)
    yield Row(f"{large.what}: peak RSS", large.memory, "MB", budget=MEMORY_BUDGET)


def measure_outside(run: Run, count: int, rounds: int) -> Row:
    """One daemon until it is idle, after `start --batch`; the bare loop at the same size before and after."""
    found = []
    loops = [measure_bare_loop(run, count).outside]
    for _ in run.rounds(rounds):
        folder = run.make_folder()
        state = f"{folder}/state"
        run_durable("start", "hello5", "--app", APP, "--state-dir", state, "--batch", write_batch(folder, count))
        found.append(run_durable("run-daemon", "--app", APP, "--state-dir", state, "--until-idle"))
        loops.append(measure_bare_loop(run, count).outside)
    row = make_rate(
        f"hello5 from outside, {count:,}",
        count,
        [each.cost for each in found],
        memory=max(each.memory for each in found),
    )
    row.bare_loop = average(loops)
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
