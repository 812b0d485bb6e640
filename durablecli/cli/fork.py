"""`durable fork`: continues a copy of an instance from an earlier record."""

from __future__ import annotations

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.options import common_options, format_exit_codes, id_argument
from durablecli.cli.output import Output
from durablecli.cli.param_types import InstanceIdParam

EPILOG = format_exit_codes(
    "0 started",
    "2 usage error",
    "3 no such instance",
    "4 id exists",
    "5 no such record, or locks are held there",
    "69 engine unreachable",
    "74 storage error",
)


@click.command("fork", epilog=EPILOG)
@id_argument
@click.option(
    "--from",
    "before",
    type=click.IntRange(min=2),
    metavar="N",
    required=True,
    help="The first record that the fork doesn't have; `durable history ID` shows the numbers.",
)
@click.option("--id", "new", type=InstanceIdParam(), metavar="ID", help="Id of the fork. Default: a random one.")
@click.option("--dry-run", is_flag=True, help="Show which work would run again, and do nothing.")
@common_options
def command(
    instance: str, before: int, new: str | None, dry_run: bool, hub: HubChoice, output_format: str | None
) -> None:
    """Start a new instance with the outcomes that another one had before record N, and print its id.

    The fork continues from there, with the code of now. What was open at record N runs again; what was answered before
    isn't repeated. The original isn't changed.
    """
    client, output = open_client(hub), Output(output_format)
    if dry_run:
        _preview(output, instance, client.fork_preview(instance, before))
        return
    forked = client.fork(instance, before, new)
    if not output.is_human_readable:
        output.print_value({"instanceId": forked, "forkOf": instance, "from": before})
    else:
        output.print_line(f"forked {instance}: {forked}" if output.is_terminal else forked)


def _preview(output: Output, instance: str, again: list[str]) -> None:
    if not output.is_human_readable:
        output.print_value({"forkOf": instance, "sentAgain": again})
        return
    for line in again:
        output.print_line(f"would run again: {line}")
    if not again:
        output.print_line("nothing would run again: the fork continues with the next turn")
