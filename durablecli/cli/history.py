"""`durable history`: shows the records of an instance; with --follow as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.history_rows import HistoryFormatter, traceback_lines
from durablecli.cli.options import common_options, format_exit_codes, history_options, id_argument, traceback_option
from durablecli.cli.output import Output, echo
from durablecli.cli.time_format import current_time, format_milliseconds, format_offset
from durablecli.client import HistoryLine
from durablecli.model.codec import encode_record_without_crc
from durablecli.model.events import Record
from durablecli.model.redaction import Redactor

_FULL_PATTERN = "%Y-%m-%d %H:%M:%S"
_SHORT_PATTERN = "%m-%d %H:%M:%S"
_TIME_PATTERN = "%H:%M:%S"
_STREAMED_WIDTHS = (5, 23, 34)
_NARROW_WIDTHS = (3, 12, 25)
_MIN_DETAILS_WIDTH = 12
_MAX_DETAILS_LINES = 2
_MAX_FAILURE_LINES = 4


@click.command(
    "history",
    epilog=format_exit_codes(
        "0 done",
        "2 usage error",
        "3 no such instance",
        "65 damaged hub",
        "69 engine unreachable",
        "77 no permission",
        "130 Ctrl-C",
    ),
)
@id_argument
@click.option(
    "-f", "--follow", is_flag=True, help="Show new records as they are written, until the instance has ended."
)
@traceback_option
@history_options
@common_options
def command(
    instance: str,
    follow: bool,
    with_traceback: bool,
    full: bool,
    utc: bool,
    hub: HubChoice,
    output_format: str | None,
) -> None:
    """Show the history of an instance. -o jsonl prints the lines of its file unchanged."""
    client, output = open_client(hub), Output(output_format)
    if output.format in ("json", "yaml"):
        if follow:
            raise click.UsageError("--follow needs the table or -o jsonl")
        output.print_value(client.project_history(instance))
        return
    if follow:
        status = client.get_status(instance, show_input=False)
        if not status.ended and status.lacks_engine:
            echo(f"no daemon is running, so {instance} makes no progress; start one with: durable run-daemon")
    lines = client.follow(instance) if follow else client.get_lines(instance)
    print_history(output, lines, follow=follow, traceback=with_traceback, full=full, utc=utc)


def print_history(
    output: Output, lines: Iterable[HistoryLine], *, follow: bool, full: bool, utc: bool, traceback: bool = False
) -> None:
    """Print records as rows or as the lines they were read from; with `follow`, each as it comes.

    With `traceback`, those of failures follow their rows.
    """
    lines = map(_make_redactor(), lines)
    if output.format == "jsonl":
        for line in lines:
            output.print_raw(line.text)
            if follow:
                output.flush()
        return
    table = _HistoryTable(output, current_time(utc=utc), full=full)
    records = (line.record for line in lines)
    if follow or traceback:
        for record in records:
            table.print_row(record)
            for text in traceback_lines(record.event) if traceback else ():
                output.print_line(f"       {text}".rstrip())
    else:
        table.print_all(list(records))
    if table.was_cut:
        echo("long payloads are cut; --full shows them whole")


class _HistoryTable:
    """Prints records as rows. On a terminal they are fitted to its width, and long details are cut."""

    def __init__(self, output: Output, now: datetime, *, full: bool) -> None:
        self.was_cut = False
        self._output = output
        self._now = now
        self._full = full
        self._formatter = HistoryFormatter(now, full=full)
        self._pattern = _FULL_PATTERN

    def print_all(self, records: Sequence[Record]) -> None:
        """Print a table of all records."""
        if self._output.is_terminal:
            today = self._now.date()
            is_today = all(record.at.astimezone(self._now.tzinfo).date() == today for record in records)
            self._pattern = _TIME_PATTERN if is_today else _SHORT_PATTERN
        rows = [self._format_row(record) for record in records]
        if self._output.is_terminal and not self._full and rows:
            widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
            rows = [self._cut_details(row, widths) for row in rows]
        with self._output.paged():
            self._output.print_table(("N", f"TIME ({self._zone})", "EVENT", "DETAILS"), rows)
        self.was_cut |= self._formatter.was_cut

    def print_row(self, record: Record) -> None:
        """Print one row of a table whose later rows aren't known yet."""
        widths = _STREAMED_WIDTHS
        if self._output.is_terminal:
            self._pattern, widths = _TIME_PATTERN, _NARROW_WIDTHS
        row = self._format_row(record)
        if self._output.is_terminal and not self._full:
            row = self._cut_details(row, widths)
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        self._output.print_line("  ".join([*cells, row[-1]]).rstrip())
        self._output.flush()
        self.was_cut |= self._formatter.was_cut

    @property
    def _zone(self) -> str:
        return "UTC" if self._now.tzinfo is UTC or not self._now.utcoffset() else format_offset(self._now)

    def _format_row(self, record: Record) -> tuple[str, ...]:
        n, event, details = self._formatter.format(record)
        if self._output.is_terminal:
            event = event.replace("SubOrchestrationInstance", "SubOrchestration")
        return n, format_milliseconds(record.at, self._now, self._pattern), event, details

    def _cut_details(self, row: tuple[str, ...], widths: Sequence[int]) -> tuple[str, ...]:
        *cells, details = row
        lines = _MAX_FAILURE_LINES if "Failed" in cells[-1] or details.startswith("Failed") else _MAX_DETAILS_LINES
        room = max(self._output.width - sum(widths) - 2 * len(widths), _MIN_DETAILS_WIDTH) * lines
        if len(details) <= room:
            return row
        self.was_cut = True
        return (*cells, f"{details[: room - 1]}…")


def _make_redactor() -> Callable[[HistoryLine], HistoryLine]:
    """Return a function that redacts the credentials of HTTP calls; such a line is shown without its checksum."""
    redactor = Redactor()

    def redact(line: HistoryLine) -> HistoryLine:
        shown = redactor.redact(line.record)
        return line if shown is line.record else HistoryLine(encode_record_without_crc(shown), shown)

    return redact
