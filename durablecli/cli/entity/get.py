"""`durable entity get`: shows entities, as `durable status` does."""

from __future__ import annotations

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.options import common_options, entities_argument, format_exit_codes, history_options
from durablecli.cli.output import Output
from durablecli.cli.status import print_statuses


@click.command(
    "get",
    epilog=format_exit_codes(
        "0 found", "2 usage error", "3 no such entity", "65 damaged hub", "69 engine unreachable", "77 no permission"
    ),
)
@entities_argument
@history_options
@common_options
def command(ids: tuple[str, ...], full: bool, utc: bool, hub: HubChoice, output_format: str | None) -> int:
    """Show the state of entities, who holds their lock, what is queued, and what failed."""
    return print_statuses(open_client(hub), Output(output_format), ids, full=full, utc=utc)
