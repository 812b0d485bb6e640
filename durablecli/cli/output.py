"""Writes to stdout in the format that was asked for. The only module that uses rich, which it imports only to draw on a
terminal.

Formats: `table` is for people; `json` is one value or one array; `jsonl` one value per line; `yaml` the same as `json`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import msgspec

from durablecli.errors import DurableError
from durablecli.escape import escape, escape_lines

if TYPE_CHECKING:
    from rich.console import Console

Row = Sequence[str]
STATUS_COLORS = {
    "Completed": "green",
    "Failed": "red",
    "Terminated": "magenta",
    "Suspended": "yellow",
    "Pending": "yellow",
    "Running": "cyan",
    "Exists": "green",
    "Empty": "yellow",
}


_FIRST_SUMMARY_AFTER = 10.0
_MAX_SUMMARY_INTERVAL = 60.0
_COLUMN_GAP = 2
_MIN_WIDTH = 11
_MIN_ELASTIC_WIDTH = 9  # with it an id, a short name, a status and a date fit into 80 characters


class Output:
    """Standard output: whether it is a terminal, and the format that was asked for."""

    def __init__(self, format: str | None = None) -> None:
        self.format = format or "table"
        self._page: list[str] | None = None
        self.is_terminal = sys.stdout.isatty()
        self.has_colors = self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    @property
    def is_human_readable(self) -> bool:
        """Whether the output is a table or text, not JSON or YAML."""
        return self.format == "table"

    @property
    def can_draw_bars(self) -> bool:
        """Whether the encoding of the terminal has block characters."""
        try:
            "█░".encode(sys.stdout.encoding or "ascii")
        except (LookupError, UnicodeEncodeError):
            return False
        return True

    @property
    def width(self) -> int:
        """The number of columns of the terminal."""
        return self.make_console().width

    @contextmanager
    def paged(self) -> Iterator[None]:
        """Show what is printed in the block through a pager, if it is longer than the terminal.

        That is `$PAGER`, else less or more; an empty `$PAGER` or `cat` means none.
        """
        if not self.is_terminal or os.environ.get("PAGER", "less") in ("", "cat") or os.environ.get("TERM") == "dumb":
            yield
            return
        self._page = []
        try:
            yield
        finally:
            text, self._page = "".join(self._page), None
            self._show_page(text)

    def _show_page(self, text: str) -> None:
        if text.count("\n") < self.make_console().height:
            self._write(text)
            return
        import click

        os.environ.setdefault("LESS", "FRX")  # quit if it fits, keep colors, leave the text on the screen
        click.echo_via_pager(text.removesuffix("\n"), color=self.has_colors)

    def print_line(self, text: str = "", color: str | None = None) -> None:
        """Print one line of text, with control characters escaped."""
        self._write(self.style(text, color) + "\n")

    def style(self, text: str, color: str | None) -> str:
        """Return the text, escaped, in the given color if the terminal has colors."""
        import click

        return click.style(escape(text), fg=color) if color and self.has_colors else escape(text)

    def print_styled(self, text: str) -> None:
        """Print a line whose parts were formatted by `style`."""
        self._write(text + "\n")

    def print_raw(self, line: bytes) -> None:
        """Print a line of a file unchanged; on a terminal, with control characters escaped."""
        self._write(self._escape_for_terminal(line.decode("utf-8", "backslashreplace")) + "\n")

    def print_value(self, value: Any) -> None:
        """Print one value in the format that was asked for; as JSON if that is a table."""
        encoded = msgspec.json.encode(value)
        match self.format:
            case "yaml":
                self._write(self._to_yaml(encoded))
            case "jsonl":
                self._write(self._escape_for_terminal(encoded.decode()) + "\n")
            case _:
                self._write(self._escape_for_terminal(msgspec.json.format(encoded, indent=2).decode()) + "\n")

    def print_values(self, values: Iterable[Any]) -> None:
        """Print several values as an array; with jsonl, as one line each, written as they come."""
        if self.format != "jsonl":
            self.print_value(list(values))
            return
        for value in values:
            self.print_value(value)

    def print_result(self, value: Any) -> None:
        """Print the output of an orchestration: on one line in a pipe, indented on a terminal."""
        encoded = msgspec.json.encode(value)
        text = msgspec.json.format(encoded, indent=2) if self.is_terminal else encoded
        self._write(self._escape_for_terminal(text.decode()) + "\n")

    def print_table(
        self,
        header: Row,
        rows: Sequence[Row],
        *,
        status_column: int | None = None,
        optional_columns: tuple[int, ...] = (),
        elastic: int | None = None,
    ) -> None:
        """Print rows under a header; `status_column` is colored by status.

        On a narrow terminal the first of the `optional_columns` is dropped, the others only if a word would be broken
        otherwise, and the `elastic` column (by default the last) shrinks first. The first, the last and the elastic
        column are folded, not cut, because they hold what people copy.
        """
        if not self.is_terminal:
            self._print_plain_table(header, rows)
            return
        from rich.table import Table
        from rich.text import Text

        console = self.make_console()
        table = Table(box=None, pad_edge=False, header_style="bold" if self.has_colors else "")
        elastic = len(header) - 1 if elastic is None else elastic
        columns = [_Column(cells, at == elastic) for at, cells in enumerate(zip(header, *rows, strict=True))]
        shown = _choose_columns(columns, optional_columns, console.width)
        fitted = _fit_widths([columns[at] for at in shown], console.width)
        for at, width in zip(shown, fitted, strict=True):
            whole = at in (shown[0], shown[-1], elastic)
            table.add_column(header[at], width=width, no_wrap=not whole, overflow="fold" if whole else "ellipsis")
        for row in rows:
            cells = [Text(escape(cell)) for cell in row]
            if status_column is not None:
                cells[status_column].stylize(STATUS_COLORS.get(row[status_column], ""))
            table.add_row(*(cells[at] for at in shown))
        with console.capture() as captured:
            console.print(table)
        self._write(captured.get())

    @contextmanager
    def show_live(self, lines: Callable[[int], list[str]], summary: Callable[[], str]) -> Iterator[None]:
        """Keep the `lines`, for a width, drawn on a terminal during the block, and remove them afterwards.

        Without a terminal, print the `summary` on stderr now and then.
        """
        if not self.is_human_readable:
            yield
        elif not self.is_terminal or os.environ.get("TERM") == "dumb":
            with _print_repeatedly(summary):
                yield
        else:
            from rich.live import Live
            from rich.text import Text

            console = self.make_console()

            def render() -> Text:
                return Text("\n".join(map(escape, lines(console.width))), no_wrap=True, overflow="ellipsis")

            with Live(get_renderable=render, console=console, refresh_per_second=4, transient=True):
                yield

    def flush(self) -> None:
        """Flush, so that the reader of a pipe sees every line at once."""
        sys.stdout.flush()

    def make_console(self) -> Console:
        """Return a rich console for this terminal."""
        from rich.console import Console

        return Console(no_color=not self.has_colors, highlight=False, soft_wrap=False)

    def _print_plain_table(self, header: Row, rows: Sequence[Row]) -> None:
        lines = [[escape(cell) for cell in row] for row in (header, *rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self._write("  ".join(cells).rstrip() + "\n")

    def _to_yaml(self, encoded: bytes) -> str:
        import yaml

        text: str = yaml.safe_dump(msgspec.json.decode(encoded), allow_unicode=True, sort_keys=False)
        return self._escape_for_terminal(text)

    def _escape_for_terminal(self, text: str) -> str:
        return escape_lines(text) if self.is_terminal else text

    def _write(self, text: str) -> None:
        if self._page is not None:
            self._page.append(text)
            return
        sys.stdout.write(text)
        if self.is_terminal:
            sys.stdout.flush()


@contextmanager
def _print_repeatedly(summary: Callable[[], str]) -> Iterator[None]:
    """Print a line on stderr during the block: at first after ten seconds, later less often."""
    stop = threading.Event()

    def work() -> None:
        interval = _FIRST_SUMMARY_AFTER
        while not stop.wait(interval):
            interval = min(interval * 2, _MAX_SUMMARY_INTERVAL)
            with suppress(OSError, DurableError):  # it is only a remark
                echo(summary())

    thread = threading.Thread(target=work, name="durable-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class _Column:
    """The width of a column, and how narrow it may become: `unbroken_width` keeps its words whole."""

    def __init__(self, cells: Sequence[str], is_elastic: bool) -> None:
        self.width = max(map(len, cells))
        self.is_elastic = is_elastic
        self.min_width = min(self.width, _MIN_ELASTIC_WIDTH if is_elastic else _MIN_WIDTH)
        longest = max((len(word) for cell in cells for word in cell.split()), default=0)
        self.unbroken_width = max(self.min_width, longest) if is_elastic else self.min_width


def _choose_columns(columns: Sequence[_Column], optional: Sequence[int], room: int) -> list[int]:
    """Choose the columns to show: drop an optional one if the table is too wide, more only to keep words whole."""
    shown = list(range(len(columns)))
    for count, at in enumerate(optional):
        first, *others = [columns[each] for each in shown]
        gaps = _COLUMN_GAP * len(others)
        needed = sum(each.width if count == 0 else each.unbroken_width for each in others)
        if first.width + needed + gaps > room:
            shown.remove(at)
    return shown


def _fit_widths(columns: Sequence[_Column], room: int) -> list[int]:
    """Fit the widths: shrink the elastic column first, then the widest of the others, and the first one last."""
    fitted = [each.width for each in columns]
    over = sum(fitted) + _COLUMN_GAP * (len(fitted) - 1) - room
    elastic = next(at for at, each in enumerate(columns) if each.is_elastic)
    others = sorted(set(range(1, len(fitted))) - {elastic}, key=lambda at: -fitted[at])
    saved = sum(fitted[at] - columns[at].min_width for at in others)
    unbroken = columns[elastic].unbroken_width
    if fitted[elastic] - unbroken + saved < over:  # its longest word has to be broken anyway
        unbroken = columns[elastic].min_width
    steps = [(elastic, unbroken), *((at, columns[at].min_width) for at in (*others, elastic, 0))]
    for at, minimum in steps:
        given = min(max(over, 0), max(fitted[at] - minimum, 0))
        fitted[at] -= given
        over -= given
    return fitted


def echo(text: str) -> None:
    """Print a remark on stderr, so that stdout holds only what was asked for."""
    sys.stderr.write(escape(text) + "\n")
    sys.stderr.flush()


def echo_error(text: str) -> None:
    """Print an error that doesn't end the verb, such as one of several ids."""
    echo(f"durable: {text}")
