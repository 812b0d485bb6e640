"""`durable rewind`: retries the failed work of failed instances, keeping completed results."""

from __future__ import annotations

from contextlib import suppress

import click

from durablecli.cli.bulk import for_each, submit_and_report
from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.options import common_options, format_exit_codes
from durablecli.cli.output import Output
from durablecli.cli.selection import Selection, choose_ids, selection_options
from durablecli.client import HubClient, MessageItem
from durablecli.errors import UsageError, WrongState
from durablecli.plurals import format_count

EPILOG = format_exit_codes(
    "0 on disk",
    "2 usage error",
    "3 no such instance",
    "4 conflict",
    "5 not failed",
    "69 engine unreachable",
    "74 storage error",
)


@click.command("rewind", epilog=EPILOG)
@selection_options
@click.option(
    "--failed-activities",
    is_flag=True,
    help="Retry all calls that have failed, also those whose failures the orchestrator has caught.",
)
@click.option(
    "--to",
    type=click.IntRange(min=2),
    metavar="N",
    help="Undo all from record N on, also what succeeded; `durable history ID` shows the numbers.",
)
@click.option("--reason", default="", metavar="TEXT", help="Reason, recorded in the history.")
@common_options
def command(
    selection: Selection,
    failed_activities: bool,
    to: int | None,
    reason: str,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Retry the failed work of failed instances, keeping completed results.

    --dry-run shows which work would be retried.
    """
    if to and (failed_activities or len(selection.ids) != 1):
        raise UsageError("--to is for one instance, given by its id, and not together with --failed-activities")
    client, output = open_client(hub), Output(output_format)
    if client.is_foreign and selection.dry_run:
        raise UsageError("the Durable Task protocol can't tell what a rewind would retry")
    if client.is_foreign and (to or failed_activities):
        raise UsageError("the Durable Task protocol has no --to and no --failed-activities")
    unasked = selection._replace(dry_run=False, yes=selection.yes or selection.dry_run)
    chosen = choose_ids(client, "rewind", unasked, output, allowed=("Failed",))
    if selection.dry_run:
        return _preview_rewinds(client, output, chosen, to or 0, failed_activities)
    items = [MessageItem(one, reason=reason, to=to or 0, failed_calls=failed_activities) for one in chosen]
    return submit_and_report(client, output, "rewind", items, "rewound")


def _preview_rewinds(client: HubClient, output: Output, chosen: list[str], to: int, failed_activities: bool) -> int:
    found: dict[str, list[str]] = {}

    def preview_one(instance: str) -> None:
        found[instance] = retried = client.rewind_preview(instance, to=to, failed_activities=failed_activities)
        for line in retried if output.is_human_readable else ():
            output.print_line(f"{instance}  would retry {line}")
        if output.is_human_readable and not retried:
            caught = 0 if to or failed_activities else _count_failed_calls(client, instance)
            hint = f"; --failed-activities retries {format_count(caught, 'failed call')}" if caught else ""
            output.print_line(f"{instance}  would continue after its failure; no work is retried{hint}")

    code = for_each(chosen, preview_one)
    if not output.is_human_readable:
        output.print_values({"instanceId": instance, "sentAgain": retried} for instance, retried in found.items())
    return code


def _count_failed_calls(client: HubClient, instance: str) -> int:
    """Count the calls that have failed, also those whose failures were caught; 0 if they can't be retried."""
    with suppress(WrongState):
        return len(client.rewind_preview(instance, failed_activities=True))
    return 0
