"""`durable rewind`: retries the failed work of failed instances, keeping completed results."""

from __future__ import annotations

import click

from durablecli.cli.bulk import for_each, submit_and_report
from durablecli.cli.options import common_options, format_exit_codes, open_client
from durablecli.cli.output import Output
from durablecli.cli.selection import Selection, choose_ids, selection_options
from durablecli.client import Client, MessageItem

EPILOG = format_exit_codes(
    "0 on disk", "2 usage error", "3 no such instance", "4 conflict", "5 not failed", "74 storage error"
)


@click.command("rewind", epilog=EPILOG)
@selection_options
@click.option("--reason", default="", metavar="TEXT", help="Reason, recorded in the history.")
@common_options
def command(
    selection: Selection,
    reason: str,
    state_dir: str | None,
    output_format: str | None,
) -> int:
    """Retry the failed work of failed instances, keeping completed results.

    --dry-run shows which work would be retried.
    """
    client, output = open_client(state_dir), Output(output_format)
    unasked = selection._replace(dry_run=False, yes=selection.yes or selection.dry_run)
    chosen = choose_ids(client, "rewind", unasked, output, allowed=("Failed",))
    if selection.dry_run:
        return _preview_rewinds(client, output, chosen)
    return submit_and_report(client, output, "rewind", [MessageItem(one, reason=reason) for one in chosen], "rewound")


def _preview_rewinds(client: Client, output: Output, chosen: list[str]) -> int:
    found: dict[str, list[str]] = {}

    def preview_one(instance: str) -> None:
        found[instance] = retried = client.rewind_preview(instance)
        for line in retried if output.is_human_readable else ():
            output.print_line(f"{instance}  would retry {line}")
        if output.is_human_readable and not retried:
            output.print_line(f"{instance}  would continue after its failure; no work is retried")

    code = for_each(chosen, preview_one)
    if not output.is_human_readable:
        output.print_values({"instanceId": instance, "sentAgain": retried} for instance, retried in found.items())
    return code
