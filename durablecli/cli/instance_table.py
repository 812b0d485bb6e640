"""The rows of `durable list`: instances with their durations, and what they wait for; flat or as trees."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from durablecli.cli.failure_text import format_cause
from durablecli.cli.listing import format_obstruction
from durablecli.cli.output import Output, echo
from durablecli.cli.time_format import format_age, format_time
from durablecli.cli.wait_reasons import format_due
from durablecli.client import HubClient
from durablecli.client.wait_summary import summarize_waits
from durablecli.durations import format_length
from durablecli.model.status import ENDED_STATUSES, InstanceSummary

_MAX_COUNTED_ROWS = 1_000
"""The rows up to which children are counted: each count is a query of its own."""
_MAX_CHILDREN = 50
_MAX_TREE_ROWS = 5_000


class _TreeRow(NamedTuple):
    """A row of a tree: the lines drawn before the id, and the instance; None for the children that are left out."""

    lines: str
    row: InstanceSummary | None


class InstanceTable:
    """Prints instances as a table, in the zone of `now`."""

    def __init__(self, client: HubClient, output: Output, now: datetime, *, shows_errors: bool) -> None:
        """With `shows_errors` the last column is headed by ERROR, for a list of failed instances."""
        self._client = client
        self._output = output
        self._now = now
        self._last_column = "ERROR" if shows_errors or client.is_foreign else "WAITS FOR"

    def print_rows(self, rows: Sequence[InstanceSummary]) -> None:
        """Print a flat list; if any of the instances have started others, with the number of these."""
        counts = self._client.count_children([row.id for row in rows]) if len(rows) <= _MAX_COUNTED_ROWS else {}
        has_children = any(counts.values())
        header = ["ID", "NAME", "STATUS", "CREATED", "UPDATED", "DURATION", self._last_column]
        cells = [[row.id, *self._format(row)] for row in rows]
        if has_children:
            header.insert(3, "CHILDREN")
            for line, row in zip(cells, rows, strict=True):
                line.insert(3, f"{counts[row.id]:,}" if counts[row.id] else "")
        self._print(header, cells, (5, 6, 3, 4) if has_children else (4, 5, 3))

    def print_tree(self, roots: Sequence[InstanceSummary]) -> None:
        """Print instances, each with its sub-orchestrations below it."""
        children, left_out = self._read_descendants(roots)
        header = ["ID", "NAME", "STATUS", "CREATED", "UPDATED", "DURATION", self._last_column]
        cells: list[list[str]] = []
        for lines, row in _arrange(roots, children, left_out):
            cells.append([f"{lines}…", *[""] * 6] if row is None else [f"{lines}{row.id}", *self._format(row)])
        self._print(header, cells, (4, 3))
        if left_out:
            echo(f"more sub-orchestrations: durable list --parent {next(iter(left_out))}")

    def _print(self, header: list[str], cells: list[list[str]], optional: tuple[int, ...]) -> None:
        """Print a table; on a terminal the last column needs no room if it is empty."""
        if self._output.is_terminal and not any(line[-1] for line in cells):
            header, cells = header[:-1], [line[:-1] for line in cells]
        with self._output.paged():
            self._output.print_table(header, cells, status_column=2, optional_columns=optional)

    def _read_descendants(self, roots: Sequence[InstanceSummary]) -> tuple[dict[str, list[InstanceSummary]], set[str]]:
        """Return the children of each instance, level by level, and the instances of which some are left out."""
        found: dict[str, list[InstanceSummary]] = {}
        left_out: set[str] = set()
        level, total = [row.id for row in roots], 0
        while level and total < _MAX_TREE_ROWS:
            read = self._client.children(level, _MAX_CHILDREN + 1)
            left_out |= {parent for parent, rows in read.items() if len(rows) > _MAX_CHILDREN}
            read = {parent: rows[:_MAX_CHILDREN] for parent, rows in read.items() if parent not in found}
            found |= read
            level = [row.id for rows in read.values() for row in rows]
            total += len(level)
        return found, left_out

    def _format(self, row: InstanceSummary) -> Sequence[str]:
        format = format_age if self._output.is_terminal else format_time
        created, updated = format(row.created, self._now), format(row.updated, self._now)
        return row.name, row.status, created, updated, _format_length(row, self._now), _format_waits(row, self._now)


def _arrange(
    roots: Sequence[InstanceSummary], children: dict[str, list[InstanceSummary]], left_out: set[str]
) -> list[_TreeRow]:
    """Return the rows of trees from the top to the bottom. Not recursive: trees may be a thousand levels deep."""
    arranged: list[_TreeRow] = []
    stack: list[tuple[str, str, InstanceSummary | None]] = [("", "", row) for row in reversed(roots)]
    while stack:
        lines, indent, row = stack.pop()
        arranged.append(_TreeRow(lines, row))
        if row is None:
            continue
        below: list[InstanceSummary | None] = [*children.get(row.id, ())]
        if row.id in left_out:
            below.append(None)
        for at, child in reversed(list(enumerate(below))):
            is_last = at == len(below) - 1
            stack.append((indent + ("└─ " if is_last else "├─ "), indent + ("   " if is_last else "│  "), child))
    return arranged


def _format_length(row: InstanceSummary, now: datetime) -> str:
    """Format how long an instance took, or has taken so far; empty before it starts."""
    if row.status == "Pending":
        return ""
    return format_length((row.updated if row.status in ENDED_STATUSES else now) - row.created)


def _format_waits(row: InstanceSummary, now: datetime) -> str:
    if obstruction := format_obstruction(row):
        return obstruction
    if row.failure is not None:
        return format_cause(row.failure)
    return summarize_waits(row.waiting, lambda at: format_due(at, now))
