"""`durable history`: what happened, record by record; with --follow as it happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click

from durablecli.cli.options import client, common, exits, id_argument
from durablecli.cli.output import Screen
from durablecli.client import Line
from durablecli.model.codec import encode_record_without_crc
from durablecli.model.redaction import Redactor

WIDTHS = (5, 23, 34)


@click.command(
    "history",
    epilog=exits("0 done", "2 usage", "3 no such instance", "65 damaged hub", "77 no permission", "130 Ctrl-C"),
)
@id_argument
@click.option("-f", "--follow", is_flag=True, help="Show records as they are written, until the instance has ended.")
@common
def command(instance: str, follow: bool, state_dir: str | None, form: str | None) -> None:
    """Show the history of an instance. `-o jsonl` prints the lines of its file as they are."""
    hub, screen = client(state_dir), Screen(form)
    if screen.form in ("json", "yaml"):
        if follow:
            raise click.UsageError("--follow goes with the table and with -o jsonl")
        screen.one(hub.project_history(instance))
        return
    tell(screen, hub.follow(instance) if follow else hub.get_lines(instance), follow=follow)


def tell(screen: Screen, lines: Iterable[Line], *, follow: bool) -> None:
    """Records as rows, or as the lines they were read from; with `follow` each as it comes."""
    from durablecli.cli.history_rows import HEAD, describe

    lines = map(_redactor(), lines)
    if screen.form == "jsonl":
        for line in lines:
            screen.raw(line.text)
            if follow:
                screen.flush()
    elif follow:
        for line in lines:
            _streamed(screen, describe(line.record))
    else:
        screen.table(HEAD, [describe(line.record, short=screen.terminal) for line in lines])


def _redactor() -> Callable[[Line], Line]:
    """Redacts credentials of HTTP calls; a line in which there are some is shown without its checksum."""
    redactor = Redactor()

    def redacted(line: Line) -> Line:
        shown = redactor.redact(line.record)
        return line if shown is line.record else Line(encode_record_without_crc(shown), shown)

    return redacted


def _streamed(screen: Screen, row: tuple[str, ...]) -> None:
    """A row of a table whose later rows aren't known yet."""
    cells = [cell.ljust(width) for cell, width in zip(row, WIDTHS, strict=False)]
    screen.line("  ".join([*cells, *row[len(WIDTHS) :]]).rstrip())
    screen.flush()
