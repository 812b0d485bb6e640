"""`durable history`: shows the records of an instance; with --follow as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from durablecli.cli.options import common_options, format_exit_codes, id_argument, open_client
from durablecli.cli.output import Output
from durablecli.client import HistoryLine
from durablecli.model.codec import encode_record_without_crc
from durablecli.model.redaction import Redactor

COLUMN_WIDTHS = (5, 23, 34)


@click.command(
    "history",
    epilog=format_exit_codes(
        "0 done", "2 usage error", "3 no such instance", "65 damaged hub", "77 no permission", "130 Ctrl-C"
    ),
)
@id_argument
@click.option(
    "-f", "--follow", is_flag=True, help="Show new records as they are written, until the instance has ended."
)
@common_options
def command(instance: str, follow: bool, state_dir: str | None, output_format: str | None) -> None:
    """Show the history of an instance. -o jsonl prints the lines of its file unchanged."""
    client, output = open_client(state_dir), Output(output_format)
    if output.format in ("json", "yaml"):
        if follow:
            raise click.UsageError("--follow needs the table or -o jsonl")
        output.print_value(client.project_history(instance))
        return
    print_history(output, client.follow(instance) if follow else client.get_lines(instance), follow=follow)


def print_history(output: Output, lines: Iterable[HistoryLine], *, follow: bool) -> None:
    """Print records as rows or as the lines they were read from; with `follow`, each as it comes."""
    from durablecli.cli.history_rows import HEADER, format_record

    lines = map(_make_redactor(), lines)
    if output.format == "jsonl":
        for line in lines:
            output.print_raw(line.text)
            if follow:
                output.flush()
    elif follow:
        for line in lines:
            _print_streamed_row(output, format_record(line.record))
    else:
        output.print_table(HEADER, [format_record(line.record, short=output.is_terminal) for line in lines])


def _make_redactor() -> Callable[[HistoryLine], HistoryLine]:
    """Return a function that redacts the credentials of HTTP calls; such a line is shown without its checksum."""
    redactor = Redactor()

    def redact(line: HistoryLine) -> HistoryLine:
        shown = redactor.redact(line.record)
        return line if shown is line.record else HistoryLine(encode_record_without_crc(shown), shown)

    return redact


def _print_streamed_row(output: Output, row: tuple[str, ...]) -> None:
    """Print one row of a table whose later rows aren't known yet."""
    cells = [cell.ljust(width) for cell, width in zip(row, COLUMN_WIDTHS, strict=False)]
    output.print_line("  ".join([*cells, *row[len(COLUMN_WIDTHS) :]]).rstrip())
    output.flush()
