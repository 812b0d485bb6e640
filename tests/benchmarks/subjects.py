"""The subjects of the benchmarks by name.

As a program it measures one, in a process of its own, and prints its rows.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import msgspec

from tests.benchmarks import (
    bench_alone,
    bench_bank,
    bench_chain,
    bench_dashboard,
    bench_entities,
    bench_events,
    bench_fan_out,
    bench_hello5,
    bench_http,
    bench_remote,
    bench_replay,
    bench_sleepers,
    bench_timers,
)
from tests.benchmarks.harness import Run
from tests.benchmarks.table import Row

SUBJECTS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "hello5": bench_hello5.measure,
    "sleepers": bench_sleepers.measure,
    "alone": bench_alone.measure,
    "chain": bench_chain.measure,
    "fan-out": bench_fan_out.measure,
    "events": bench_events.measure,
    "timers": bench_timers.measure,
    "entities": bench_entities.measure,
    "bank": bench_bank.measure,
    "http": bench_http.measure,
    "grpc": bench_remote.measure,
    "dashboard": bench_dashboard.measure,
    "replay": bench_replay.measure,
}


def main() -> None:
    subject, folder, limit = sys.argv[1:]
    for row in SUBJECTS[subject](Run(folder, int(limit) or None)):
        print(msgspec.json.encode(row).decode(), flush=True)


if __name__ == "__main__":
    main()
