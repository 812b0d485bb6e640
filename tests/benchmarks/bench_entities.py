"""entities: how long the log grows that takes in a million signals, and opening a hub of 100,000 entities."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from msgspec import Raw, json

from durablecli.engine.engine import Engine
from durablecli.store.history.file import history_path
from durablecli.store.inbox.messages import MessageItem
from tests.benchmarks.harness import measure_bare_loop, measure_run, open_engine, print_environment

FEW, MANY, BURST = 10_000, 1_000_000, 10_000
ENTITIES, AT_ONCE = 100_000, 5_000

OPEN_SCRIPT = """
import resource, sys
from time import perf_counter
from durablecli.engine.engine import Engine
from durablecli.store.hub import close_hub, open_hub
from durablecli.store.query import Query
from tests.benchmarks.harness import registry
before = perf_counter()
hub = open_hub(sys.argv[1])
engine = Engine(hub, registry())
engine.open()
took = perf_counter() - before
count = hub.index.count(Query(entities=True))
print(f"{took:.2f} s, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB, {count:,} entities")
engine.close()
close_hub(hub)
"""


def run_fan_out(running: Engine, number: int, signals: int, entities: int = 1, name: int = 0) -> None:
    given = Raw(json.encode({"signals": signals, "entities": entities, "round": name}))
    measure_run(running, [MessageItem(f"fan-{number}", name="fan_out_signals", input=given)])


def measure_log_growth(folder: str) -> None:
    """Send signals in bursts; the log's size after the first ones, after all, and its largest on the way."""
    with open_engine(folder) as running:
        file = history_path(running.hub.root, "@tally@0-0")
        sizes: list[int] = []
        for number in range(MANY // BURST):
            run_fan_out(running, number, BURST)
            sizes.append(Path(file).stat().st_size)
        entity = running.instances.get_entity("@tally@0-0")
        assert entity is not None
        assert entity.runtime_state.state == Raw(b"%d" % MANY), "signals are missing"
    few, many = sizes[FEW // BURST - 1], sizes[-1]
    print(f"log        {few:,} bytes after {FEW:,} signals, {many:,} after {MANY:,}: ratio {many / few:.2f}")
    print(f"           {max(sizes):,} at most after any burst of {BURST:,}")


def fill_hub(folder: str) -> str:
    """A hub that holds very many entities; its folder."""
    with open_engine(folder) as running:
        for number in range(ENTITIES // AT_ONCE):
            run_fan_out(running, number, AT_ONCE, AT_ONCE, number)
        return running.hub.root


def main() -> None:
    folder = print_environment()
    before = measure_bare_loop()
    measure_log_growth(folder)
    root = fill_hub(folder)
    for _ in range(3):
        opened = subprocess.run(
            [sys.executable, "-c", OPEN_SCRIPT, root], capture_output=True, text=True, check=True, cwd=os.getcwd()
        )
        print(f"open       {opened.stdout.strip()}")
    print(f"bare loop  {before:.3f} s before, {measure_bare_loop():.3f} s after")


if __name__ == "__main__":
    main()
