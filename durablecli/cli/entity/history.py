"""`durable entity history`: shows the requests to an entity and their results; with --follow as they are written."""

from __future__ import annotations

import click

from durablecli.cli.clients import open_local_client
from durablecli.cli.history import print_history
from durablecli.cli.history_rows import decode_line
from durablecli.cli.options import entity_argument, format_exit_codes, history_options, local_options
from durablecli.cli.output import Output


@click.command(
    "history",
    epilog=format_exit_codes(
        "0 done", "2 usage error", "3 no such entity", "65 damaged hub", "77 no permission", "130 Ctrl-C"
    ),
)
@entity_argument
@click.option("-f", "--follow", is_flag=True, help="Show new records as they are written, until Ctrl-C.")
@history_options
@local_options
def command(entity: str, follow: bool, full: bool, utc: bool, state_dir: str | None, output_format: str | None) -> None:
    """Show the log of an entity. Older records are folded into the first one, an EntitySnapshot.

    -o jsonl prints the lines of its file unchanged.
    """
    client, output = open_local_client(state_dir), Output(output_format)
    if output.format in ("json", "yaml"):
        if follow:
            raise click.UsageError("--follow needs the table or -o jsonl")
        output.print_value([decode_line(line.text) for line in client.get_entity_lines(entity)])
        return
    lines = client.follow_entity(entity) if follow else client.get_entity_lines(entity)
    print_history(output, lines, follow=follow, full=full, utc=utc)
