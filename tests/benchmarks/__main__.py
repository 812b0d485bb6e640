"""Measures the subjects that are named, or all of them, and prints one table.

Each subject is measured in a process of its own, with the bare loop before and after it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tests.benchmarks.environment import check_disk, describe_environment
from tests.benchmarks.harness import BareLoopCost, Run, average, measure_bare_loop
from tests.benchmarks.subjects import SUBJECTS
from tests.benchmarks.table import Cost, Row, format_markdown, format_text

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/benchmarks.md"
BARE_LOOP_SIZE = 5_000


class SubjectFailed(Exception):
    """The process of a subject ended with an error, which it has printed."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=", ".join(SUBJECTS))
    parser.add_argument("--write", action="store_true", help=f"write the table into docs/{PAGE.name}, too")
    parser.add_argument("--limit", type=int, help="allow no size above this one, to see that the benchmarks work")
    given = parser.parse_args(arguments)
    if unknown := [each for each in given.subjects if each not in SUBJECTS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(SUBJECTS)}")
    parent = os.environ.get("DURABLE_BENCH_DIR") or tempfile.gettempdir()
    check_disk(parent)
    run = Run(tempfile.mkdtemp(prefix="durable-bench-", dir=parent), given.limit)
    environment = describe_environment(run.folder, run.limit)
    rows, failed = measure_subjects(run, given.subjects or list(SUBJECTS))
    for heading, text in environment:
        print(f"{heading:<11}{text}")
    print(f"\n{format_text(rows)}\n\nThe files are in {run.folder}; nothing was deleted, to leave the disk as it was.")
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")
    if given.write:
        lines = "\n".join(f"- {heading}: {text}" for heading, text in environment)
        replace_section(PAGE, "table", f"{lines}\n\n{format_markdown(rows)}")


def measure_subjects(run: Run, subjects: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The rows of the subjects, after those of the bare loop; and the subjects that failed."""
    loops = [measure_bare_loop(run, run.size(BARE_LOOP_SIZE))]
    rows: list[Row] = []
    failed: list[str] = []
    for subject in subjects:
        report(f"{subject} …")
        found: list[Row] = []
        try:
            found.extend(measure_subject(run, subject))
        except SubjectFailed as error:
            report(str(error))
            failed.append(subject)
        loops.append(measure_bare_loop(run, run.size(BARE_LOOP_SIZE)))
        beside = average([each.inside for each in loops[-2:]])
        for row in found:
            row.bare_loop = row.bare_loop or beside
        rows += found
    return [*make_bare_loop_rows(run.size(BARE_LOOP_SIZE), loops), *rows], failed


def measure_subject(run: Run, subject: str) -> Iterator[Row]:
    """Yield the rows as they are found; raise SubjectFailed if the process fails."""
    command = [sys.executable, "-m", "tests.benchmarks.subjects", subject, run.folder, str(run.limit or 0)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            row = msgspec.json.decode(line, type=Row)
            report(f"  {format_text([row]).splitlines()[-1]}")
            yield row
    if process.returncode:
        raise SubjectFailed(f"{subject} exited with {process.returncode}")


def make_bare_loop_rows(count: int, loops: Sequence[BareLoopCost]) -> list[Row]:
    """The bare loop from outside and in process: the median of all its runs, and their extremes."""

    def make_row(what: str, costs: Sequence[Cost]) -> Row:
        ranked = sorted(costs)
        median = ranked[len(ranked) // 2]
        low, high = 1 / ranked[-1].seconds, 1 / ranked[0].seconds
        return Row(f"the bare loop {what}, {count:,}", 1 / median.seconds, "/s", cpu=median.cpu, low=low, high=high)

    return [
        make_row("from outside", [each.outside for each in loops]),
        make_row("in process", [each.inside for each in loops]),
    ]


def replace_section(page: Path, name: str, content: str) -> None:
    """Replace what a page has between the two marks of a section."""
    before, begin, rest = page.read_text().partition(f"<!-- {name}: begin -->\n")
    _, end, after = rest.partition(f"<!-- {name}: end -->")
    assert begin, f"{page} lacks the section {name}"
    assert end, f"{page} lacks the end of the section {name}"
    page.write_text(f"{before}{begin}\n{content}\n\n{end}{after}")


def report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
