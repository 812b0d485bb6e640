"""The table of a run: its rows, as text for a terminal and as Markdown for the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec


class Cost(NamedTuple):
    """What a piece of work took: seconds, and seconds of CPU of all its threads."""

    seconds: float
    cpu: float


class Budget(NamedTuple):
    """What a figure must reach at least, and what is aimed at: `higher` values are better, or lower ones."""

    at_least: float
    meant: float | None = None
    higher: bool = False


class Row(msgspec.Struct):
    """One figure in its unit.

    `seconds` and `cpu` are for one piece of the work, and compared with `bare_loop`, what the bare loop takes for one
    instance. `low` and `high` are the extremes of several rounds, `memory` is the peak RSS in MB.
    """

    what: str
    figure: float
    unit: str
    seconds: float | None = None
    cpu: float | None = None
    low: float | None = None
    high: float | None = None
    memory: float | None = None
    bare_loop: Cost | None = None
    budget: Budget | None = None

    @property
    def reached(self) -> str:
        """Which part of the budget holds."""
        if self.budget is None:
            return ""
        sign = -1 if self.budget.higher else 1
        if self.budget.meant is not None and sign * self.figure <= sign * self.budget.meant:
            return "meant"
        return "at least" if sign * self.figure <= sign * self.budget.at_least else "no"


def make_rate(
    what: str, pieces: int, rounds: Sequence[Cost], *, memory: float | None = None, budget: Budget | None = None
) -> Row:
    """The median rate of some rounds, each of so many pieces of work."""
    ranked = sorted(rounds)
    median = ranked[len(ranked) // 2]
    several = len(ranked) > 1
    return Row(
        what,
        pieces / median.seconds,
        "/s",
        seconds=median.seconds / pieces,
        cpu=median.cpu / pieces,
        low=pieces / ranked[-1].seconds if several else None,
        high=pieces / ranked[0].seconds if several else None,
        memory=memory,
        budget=budget,
    )


def make_time(
    what: str, rounds: Sequence[float], unit: str, *, memory: float | None = None, budget: Budget | None = None
) -> Row:
    """The median of some durations, given in seconds."""
    ranked = [each * SCALES[unit] for each in sorted(rounds)]
    median = ranked[len(ranked) // 2]
    row = Row(what, median, unit, seconds=median / SCALES[unit], memory=memory, budget=budget)
    if len(ranked) > 1:
        row.low, row.high = ranked[0], ranked[-1]
    return row


def make_percentile(what: str, took: Sequence[float], percent: int, unit: str, *, budget: Budget | None = None) -> Row:
    """A percentile of many durations, given in seconds."""
    found = sorted(took)[(len(took) - 1) * percent // 100]
    return Row(what, found * SCALES[unit], unit, seconds=found, budget=budget)


SCALES = {"s": 1.0, "ms": 1e3, "µs": 1e6}
HEADINGS = ("What", "Figure", "Rounds", "CPU each", "Peak RSS", "Of the bare loop", "In CPU", "Budget", "Reached")


def format_rows(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [
        (
            row.what,
            format_figure(row.figure, row.unit),
            "" if row.low is None or row.high is None else f"{_number(row.low)} to {_number(row.high)}",
            "" if row.cpu is None else format_figure(row.cpu * 1e3, "ms"),
            "" if row.memory is None else format_figure(row.memory, "MB"),
            "" if row.bare_loop is None or row.seconds is None else _ratio(row.bare_loop.seconds / row.seconds),
            "" if row.bare_loop is None or not row.cpu else _ratio(row.bare_loop.cpu / row.cpu),
            "" if row.budget is None else _format_budget(row.budget, row.unit),
            row.reached,
        )
        for row in rows
    ]


def format_text(rows: Sequence[Row]) -> str:
    return format_cells_as_text([HEADINGS, *format_rows(rows)])


def format_markdown(rows: Sequence[Row]) -> str:
    return format_cells_as_markdown([HEADINGS, *format_rows(rows)])


def format_cells_as_text(cells: Sequence[tuple[str, ...]]) -> str:
    """A table whose first line holds the headings, and whose first column names the lines."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for first, *others in cells:
        aligned = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *aligned]).rstrip())
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def format_cells_as_markdown(cells: Sequence[tuple[str, ...]]) -> str:
    rule = ("---", *["---:"] * (len(cells[0]) - 1))
    return "\n".join(f"| {' | '.join(line)} |" for line in [cells[0], rule, *cells[1:]])


def format_figure(value: float, unit: str) -> str:
    return f"{_number(value)}{'' if unit in ('/s', '%', '') else ' '}{unit}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _ratio(value: float) -> str:
    return f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"


def _format_budget(budget: Budget, unit: str) -> str:
    meant = "" if budget.meant is None else f", meant {_number(budget.meant)}"
    return f"{format_figure(budget.at_least, unit)}{meant}"
