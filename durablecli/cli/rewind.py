"""`durable rewind`: sends again what made instances fail, and keeps all that went well."""

from __future__ import annotations

from typing import Any

import click

from durablecli.cli.bulk import choose_ids, for_each, selection_options, submit_and_report
from durablecli.cli.options import common_options, format_exit_codes, open_client
from durablecli.cli.output import Output
from durablecli.client import Client, MessageItem

EPILOG = format_exit_codes(
    "0 on disk", "2 usage", "3 no such instance", "4 conflict", "5 it hasn't failed", "74 storage error"
)


@click.command("rewind", epilog=EPILOG)
@selection_options
@click.option("--reason", default="", metavar="TEXT", help="Why; the history shows it.")
@common_options
def command(
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    reason: str,
    state_dir: str | None,
    output_format: str | None,
    **filters: Any,
) -> int:
    """Send the failed work of failed instances again; --dry-run shows what that would be."""
    client, output = open_client(state_dir), Output(output_format)
    chosen = choose_ids(client, "rewind", ids, filters, dry_run=False, yes=yes or dry_run, allowed=("Failed",))
    if dry_run:
        return _preview_rewinds(client, output, chosen)
    return submit_and_report(client, output, "rewind", [MessageItem(one, reason=reason) for one in chosen], "rewound")


def _preview_rewinds(client: Client, output: Output, chosen: list[str]) -> int:
    found: dict[str, list[str]] = {}

    def preview_one(instance: str) -> None:
        found[instance] = again = client.rewind_preview(instance)
        for line in again if output.is_human_readable else ():
            output.print_line(f"{instance}  would send again {line}")
        if output.is_human_readable and not again:
            output.print_line(f"{instance}  would go on from its failure; nothing is sent again")

    code = for_each(chosen, preview_one)
    if not output.is_human_readable:
        output.print_values({"instanceId": instance, "sentAgain": again} for instance, again in found.items())
    return code
