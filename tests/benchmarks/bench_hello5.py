"""hello5: a chain of five activities. Throughput at 5,000 instances at once, latency of one alone, and a slow disk."""

from __future__ import annotations

import statistics

from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import bare_loop, engine, introduce, run

INSTANCES = 5_000
ALONE = 200
SLOW = 0.005


def throughput(place: str, *, sync: float = 0.0) -> None:
    """Three rounds in one hub; the best is the machine's word, the spread its noise."""
    rates = []
    with engine(place, sync=sync) as running:
        for round_ in range(3):
            took = run(running, [MessageItem(f"h{round_}-{i:05}", name="hello5") for i in range(INSTANCES)])
            rates.append(INSTANCES / took)
        stats, syncs = running.stats, running.journal_writer.sync_count
        added = f" with {sync * 1e3:g} ms added to each sync" if sync else ""
        print(f"hello5     {max(rates):,.0f} instances/s{added} (rounds: {', '.join(f'{r:,.0f}' for r in rates)})")
        print(
            f"           {stats['turns']:,} turns in {stats['commits']:,} commits and {syncs:,} syncs:"
            f" {stats['turns'] / syncs:.1f} turns a sync, {stats['decided_during_sync']:,} commits decided during one"
        )


def latency(place: str) -> None:
    """One instance at a time, from the hand-in to the end being on disk."""
    with engine(place) as running:
        took = sorted(run(running, [MessageItem(f"alone-{n}", name="hello5")]) for n in range(ALONE))
    print(f"alone      {statistics.median(took) * 1e3:.2f} ms median, {took[ALONE * 99 // 100] * 1e3:.2f} ms p99")


def main() -> None:
    place = introduce()
    before = bare_loop()
    throughput(place)
    latency(place)
    throughput(place, sync=SLOW)
    after = bare_loop()
    print(f"bare loop  {before:.3f} s before, {after:.3f} s after")


if __name__ == "__main__":
    main()
