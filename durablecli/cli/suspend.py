"""`durable suspend`: pauses instances; what arrives for them is kept."""

from __future__ import annotations

import click

from durablecli.cli.bulk import submit_and_report
from durablecli.cli.clients import HubChoice
from durablecli.cli.offline import open_offline_client
from durablecli.cli.options import common_options, format_exit_codes
from durablecli.cli.output import Output
from durablecli.cli.selection import Selection, choose_ids, selection_options
from durablecli.client import MessageItem

EPILOG = format_exit_codes(
    "0 done",
    "2 usage error",
    "3 no such instance",
    "5 already ended",
    "69 engine unreachable",
    "74 storage error",
    "77 no permission",
)


@click.command("suspend", epilog=EPILOG)
@selection_options
@click.option("--reason", default="", metavar="TEXT", help="Reason, shown by durable status.")
@common_options
def command(
    selection: Selection,
    reason: str,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Pause instances; events and results that arrive are kept until they are resumed."""
    client, output = open_offline_client(hub), Output(output_format)
    chosen = choose_ids(client, "suspend", selection, output, allowed=("Pending", "Running"))
    return submit_and_report(
        client, output, "suspend", [MessageItem(one, reason=reason) for one in chosen], "suspended"
    )
