"""Measures durablecli and its peers in turn, three rounds of the same work, and prints one table."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.__main__ import PAGE, measure_subject, replace_section, report
from tests.benchmarks.bench_hello5 import SMALL, measure_outside
from tests.benchmarks.environment import check_disk, describe_environment
from tests.benchmarks.harness import Run
from tests.benchmarks.peers.packages import PeerMissing
from tests.benchmarks.peers.systems import PEERS, Peer, Round
from tests.benchmarks.table import format_cells_as_markdown, format_cells_as_text, format_figure

ROUNDS = 3
HEADINGS = ("System", "hello5 at once", "Rate", "Rounds", "Behind us", "Alone", "Behind us")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write the table into docs/{PAGE.name}, too")
    parser.add_argument("--limit", type=int, help="allow no size above this one, to see that the benchmarks work")
    given = parser.parse_args(arguments)
    parent = os.environ.get("DURABLE_BENCH_DIR") or tempfile.gettempdir()
    check_disk(parent)
    run = Run(tempfile.mkdtemp(prefix="durable-bench-", dir=parent), given.limit)
    environment = describe_environment(run.folder, run.limit)
    systems = [Peer("durablecli", SMALL, measure_ourselves), *PEERS]
    found, missing = measure_rounds(run, systems)
    cells = [HEADINGS, *format_systems(run, systems, found)]
    notes = [f"{name}: {rounds[0].version}; {rounds[0].durability}" for name, rounds in found.items()]
    notes += [f"{name}: not measured: {reason}" for name, reason in missing.items()]
    for heading, text in environment[:-1]:  # the durability of each system is among the notes
        print(f"{heading:<11}{text}")
    print(f"\n{format_cells_as_text(cells)}\n", *notes, sep="\n")
    if given.write:
        lines = [f"- {heading}: {text}" for heading, text in environment[:-1]]
        content = [*lines, "", format_cells_as_markdown(cells), "", *(f"- {note}" for note in notes)]
        replace_section(PAGE, "peers", "\n".join(content))


def measure_rounds(run: Run, systems: Sequence[Peer]) -> tuple[dict[str, list[Round]], dict[str, str]]:
    """The rounds of each system, and the reasons why some have none. The systems take turns."""
    found: dict[str, list[Round]] = {}
    missing: dict[str, str] = {}
    for number in run.rounds(ROUNDS):
        for system in systems:
            if system.name in missing:
                continue
            report(f"round {number + 1}: {system.name} …")
            try:
                round_ = system.measure(run, run.size(system.at_once))
            except PeerMissing as error:
                missing[system.name] = str(error)
                report(f"  not measured: {error}")
            else:
                found.setdefault(system.name, []).append(round_)
                report(f"  {format_figure(round_.rate, '/s')}, alone {format_figure(round_.alone * 1e3, 'ms')}")
    return found, missing


def measure_ourselves(run: Run, count: int) -> Round:
    """Many from outside, with the daemon's start and end in the time; one alone through the embedded client."""
    row = measure_outside(run, count, rounds=1)
    alone, *_ = measure_subject(run, "alone")
    return Round(row.figure, alone.figure / 1e3, "this checkout", "one sync of the journal per batch of commits")


def format_systems(
    run: Run, systems: Sequence[Peer], found: Mapping[str, Sequence[Round]]
) -> Iterator[tuple[str, ...]]:
    """The cells of each system that was measured; the first one is the one that the others are compared with."""
    our_rate, our_alone = _medians(found[systems[0].name])
    for system in systems:
        if system.name not in found:
            continue
        rounds = found[system.name]
        rate, alone = _medians(rounds)
        rates = [round_.rate for round_ in rounds]
        yield (
            system.name,
            f"{run.size(system.at_once):,}",
            format_figure(rate, "/s"),
            f"{format_figure(min(rates), '')} to {format_figure(max(rates), '')}",
            f"{our_rate / rate:.1f} ×",
            format_figure(alone * 1e3, "ms"),
            f"{alone / our_alone:.1f} ×",
        )


def _medians(rounds: Sequence[Round]) -> tuple[float, float]:
    return statistics.median(each.rate for each in rounds), statistics.median(each.alone for each in rounds)


if __name__ == "__main__":
    main()
