"""What goes to stdout, and in which form. The only module that knows rich, and it asks for it only to draw a table
on a terminal.

Forms: `table` is for people; `json` is one value or one array; `jsonl` one value a line; `yaml` the same as json.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from durablecli.cli.escape import escape, escape_lines

if TYPE_CHECKING:
    from rich.console import Console

Row = Sequence[str]
COLORS = {
    "Completed": "green",
    "Failed": "red",
    "Terminated": "magenta",
    "Suspended": "yellow",
    "Pending": "yellow",
    "Running": "cyan",
    "Exists": "green",
    "Empty": "yellow",
}


_GAP = 2  # between columns
_LEAST = 11  # what a column keeps of its width
_LITTLE = 9  # and the elastic one: then an id, a short name, a status and a date fit into 80 characters


class Screen:
    """Standard output: whether it is a terminal, and the form that was asked for."""

    def __init__(self, form: str | None = None) -> None:
        self.form = form or "table"
        self.terminal = sys.stdout.isatty()
        self.colors = self.terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def for_people(self) -> bool:
        """Whether a table or text is wanted, no JSON and no YAML."""
        return self.form == "table"

    def line(self, text: str = "", color: str | None = None) -> None:
        """One line of text; control characters are shown, not sent."""
        self._write(self.paint(text, color) + "\n")

    def paint(self, text: str, color: str | None) -> str:
        """The text, escaped, in a color where this terminal has them."""
        import click

        return click.style(escape(text), fg=color) if color and self.colors else escape(text)

    def painted(self, text: str) -> None:
        """A line whose parts went through `paint`."""
        self._write(text + "\n")

    def raw(self, line: bytes) -> None:
        """A line of a file as it is; on a terminal its control characters are shown."""
        self._write(self._safe(line.decode("utf-8", "backslashreplace")) + "\n")

    def one(self, value: Any) -> None:
        """One value in the form that was asked for; for people it is JSON."""
        encoded = msgspec.json.encode(value)
        match self.form:
            case "yaml":
                self._write(self._yaml(encoded))
            case "jsonl":
                self._write(self._safe(encoded.decode()) + "\n")
            case _:
                self._write(self._safe(msgspec.json.format(encoded, indent=2).decode()) + "\n")

    def many(self, values: Iterable[Any]) -> None:
        """Several values: an array, or with jsonl one line each, written as they come."""
        if self.form != "jsonl":
            self.one(list(values))
            return
        for value in values:
            self.one(value)

    def value(self, value: Any) -> None:
        """A value alone, as the output of a run: on one line in a pipe, spread out on a terminal."""
        encoded = msgspec.json.encode(value)
        text = msgspec.json.format(encoded, indent=2) if self.terminal else encoded
        self._write(self._safe(text.decode()) + "\n")

    def table(
        self,
        head: Row,
        rows: Sequence[Row],
        *,
        paint: int | None = None,
        spare: tuple[int, ...] = (),
        elastic: int | None = None,
    ) -> None:
        """Rows under a head. `paint` is the column of runtime statuses.

        Where a terminal is narrow the first of the `spare` columns goes, the others where a word would be broken else,
        and the `elastic` one (the last one, unless told) gives way first. It is folded, not shortened, like the first
        and the last column: they hold what people copy.
        """
        if not self.terminal:
            self._plain(head, rows)
            return
        from rich.table import Table
        from rich.text import Text

        console = self.console()
        table = Table(box=None, pad_edge=False, header_style="bold" if self.colors else "")
        elastic = len(head) - 1 if elastic is None else elastic
        columns = [_Column(cells, at == elastic) for at, cells in enumerate(zip(head, *rows, strict=True))]
        shown = _shown(columns, spare, console.width)
        fitted = _fit([columns[at] for at in shown], console.width)
        for at, width in zip(shown, fitted, strict=True):
            whole = at in (shown[0], shown[-1], elastic)
            table.add_column(head[at], width=width, no_wrap=not whole, overflow="fold" if whole else "ellipsis")
        for row in rows:
            cells = [Text(escape(cell)) for cell in row]
            if paint is not None:
                cells[paint].stylize(COLORS.get(row[paint], ""))
            table.add_row(*(cells[at] for at in shown))
        console.print(table)

    @contextmanager
    def live(self, lines: Callable[[], list[str]]) -> Iterator[None]:
        """Keep `lines` drawn on a terminal while something else works; they are gone afterwards."""
        if not (self.terminal and self.for_people) or os.environ.get("TERM") == "dumb":
            yield
            return
        from rich.live import Live
        from rich.text import Text

        def drawn() -> Text:
            return Text("\n".join(map(escape, lines())), no_wrap=True, overflow="ellipsis")

        with Live(get_renderable=drawn, console=self.console(), refresh_per_second=4, transient=True):
            yield

    def flush(self) -> None:
        """Let a reader at the other end of a pipe see what there is."""
        sys.stdout.flush()

    def console(self) -> Console:
        """rich's idea of this terminal."""
        from rich.console import Console

        return Console(no_color=not self.colors, highlight=False, soft_wrap=False)

    def _plain(self, head: Row, rows: Sequence[Row]) -> None:
        lines = [[escape(cell) for cell in row] for row in (head, *rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self._write("  ".join(cells).rstrip() + "\n")

    def _yaml(self, encoded: bytes) -> str:
        import yaml

        text: str = yaml.safe_dump(msgspec.json.decode(encoded), allow_unicode=True, sort_keys=False)
        return self._safe(text)

    def _safe(self, text: str) -> str:
        return escape_lines(text) if self.terminal else text

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        if self.terminal:
            sys.stdout.flush()


class _Column:
    """How wide a column is, and how narrow it may become: `unbroken` while the words in it stay whole."""

    def __init__(self, cells: Sequence[str], is_elastic: bool) -> None:
        self.width = max(map(len, cells))
        self.is_elastic = is_elastic
        self.least = min(self.width, _LITTLE if is_elastic else _LEAST)
        longest = max((len(word) for cell in cells for word in cell.split()), default=0)
        self.unbroken = max(self.least, longest) if is_elastic else self.least


def _shown(columns: Sequence[_Column], spare: Sequence[int], room: int) -> list[int]:
    """The columns that stay: a spare one goes if the table is too wide, another if a word would be broken else."""
    shown = list(range(len(columns)))
    for count, at in enumerate(spare):
        first, *others = [columns[each] for each in shown]
        gaps = _GAP * len(others)
        needed = sum(each.width if count == 0 else each.unbroken for each in others)
        if first.width + needed + gaps > room:
            shown.remove(at)
    return shown


def _fit(columns: Sequence[_Column], room: int) -> list[int]:
    """Widths that fit: the elastic column gives way first, then the widest of the others, the first one last of all."""
    fitted = [each.width for each in columns]
    over = sum(fitted) + _GAP * (len(fitted) - 1) - room
    elastic = next(at for at, each in enumerate(columns) if each.is_elastic)
    others = sorted(set(range(1, len(fitted))) - {elastic}, key=lambda at: -fitted[at])
    saved = sum(fitted[at] - columns[at].least for at in others)
    unbroken = columns[elastic].unbroken
    if fitted[elastic] - unbroken + saved < over:  # its longest word is broken all the same
        unbroken = columns[elastic].least
    steps = [(elastic, unbroken), *((at, columns[at].least) for at in (*others, elastic, 0))]
    for at, least in steps:
        given = min(max(over, 0), max(fitted[at] - least, 0))
        fitted[at] -= given
        over -= given
    return fitted


def say(text: str) -> None:
    """A remark to whoever watches: stderr, so that what stdout gives stays what was asked for."""
    sys.stderr.write(escape(text) + "\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """An error that doesn't end the verb, as with one of several ids."""
    say(f"durable: {text}")
