"""`durable terminate`: terminates instances, with or without a daemon."""

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


@click.command("terminate", epilog=EPILOG)
@selection_options
@click.option("--reason", default="", metavar="TEXT", help="Reason; it becomes the output.")
@click.option("--no-recursive", is_flag=True, help="Don't terminate sub-orchestrations.")
@common_options
def command(
    selection: Selection,
    reason: str,
    no_recursive: bool,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Terminate instances and their sub-orchestrations."""
    client, output = open_offline_client(hub), Output(output_format)
    chosen = choose_ids(client, "terminate", selection, output, allowed=("Pending", "Running", "Suspended"))
    items = [MessageItem(instance, reason=reason, recursive=not no_recursive) for instance in chosen]
    return submit_and_report(client, output, "terminate", items, "terminated")
