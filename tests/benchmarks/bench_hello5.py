"""hello5: a chain of five activities. Throughput at 5,000 instances at once, latency of one alone, and a slow disk."""

from __future__ import annotations

import statistics

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import measure_bare_loop, measure_run, open_engine, print_environment

INSTANCES = 5_000
SINGLE_RUNS = 200
SLOW_SYNC_SECONDS = 0.005


def measure_throughput(folder: str, *, sync: float = 0.0) -> None:
    """Three rounds in one hub; the best is the machine's word, the spread its noise."""
    rates = []
    with open_engine(folder, sync=sync) as running:
        for round_ in range(3):
            took = measure_run(running, [MessageItem(f"h{round_}-{i:05}", name="hello5") for i in range(INSTANCES)])
            rates.append(INSTANCES / took)
        stats, syncs = running.stats, running.journal_writer.sync_count
        added = f" with {sync * 1e3:g} ms added to each sync" if sync else ""
        print(f"hello5     {max(rates):,.0f} instances/s{added} (rounds: {', '.join(f'{r:,.0f}' for r in rates)})")
        print(
            f"           {stats['turns']:,} turns in {stats['commits']:,} commits and {syncs:,} syncs:"
            f" {stats['turns'] / syncs:.1f} turns a sync, {stats['decided_during_sync']:,} commits decided during one"
        )


def measure_latency(folder: str) -> None:
    """One instance at a time, from the hand-in to the end being on disk."""
    with open_engine(folder) as running:
        took = sorted(measure_run(running, [MessageItem(f"alone-{n}", name="hello5")]) for n in range(SINGLE_RUNS))
    print(f"alone      {statistics.median(took) * 1e3:.2f} ms median, {took[SINGLE_RUNS * 99 // 100] * 1e3:.2f} ms p99")


def main() -> None:
    folder = print_environment()
    before = measure_bare_loop()
    measure_throughput(folder)
    measure_latency(folder)
    measure_throughput(folder, sync=SLOW_SYNC_SECONDS)
    after = measure_bare_loop()
    print(f"bare loop  {before:.3f} s before, {after:.3f} s after")


if __name__ == "__main__":
    main()
