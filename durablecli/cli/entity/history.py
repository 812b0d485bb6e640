"""`durable entity history`: what was sent to an entity, and what came of it; with --follow as it happens."""

from __future__ import annotations

import click

from durablecli.cli.history import print_history
from durablecli.cli.history_rows import decode_line
from durablecli.cli.options import common_options, entity_argument, format_exit_codes, open_client
from durablecli.cli.output import Output


@click.command(
    "history",
    epilog=format_exit_codes(
        "0 done", "2 usage", "3 no such entity", "65 damaged hub", "77 no permission", "130 Ctrl-C"
    ),
)
@entity_argument
@click.option("-f", "--follow", is_flag=True, help="Show records as they are written, until Ctrl-C.")
@common_options
def command(entity: str, follow: bool, state_dir: str | None, output_format: str | None) -> None:
    """Show the log of an entity, as far as it is kept: what is long done stands in its first record.

    `-o jsonl` prints the lines of its file as they are.
    """
    client, output = open_client(state_dir), Output(output_format)
    if output.format in ("json", "yaml"):
        if follow:
            raise click.UsageError("--follow goes with the table and with -o jsonl")
        output.print_value([decode_line(line.text) for line in client.get_entity_lines(entity)])
        return
    print_history(output, client.follow_entity(entity) if follow else client.get_entity_lines(entity), follow=follow)
