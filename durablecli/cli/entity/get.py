"""`durable entity get`: shows entities, as `durable status` does."""

from __future__ import annotations

import click

from durablecli.cli.options import common_options, entities_argument, format_exit_codes, open_client
from durablecli.cli.output import Output
from durablecli.cli.status import print_statuses


@click.command(
    "get",
    epilog=format_exit_codes("0 found", "2 usage error", "3 no such entity", "65 damaged hub", "77 no permission"),
)
@entities_argument
@common_options
def command(ids: tuple[str, ...], state_dir: str | None, output_format: str | None) -> int:
    """Show the state of entities, who holds their lock, what is queued, and what failed."""
    return print_statuses(open_client(state_dir), Output(output_format), ids)
