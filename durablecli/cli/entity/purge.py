"""`durable entity purge`: deletes entities that are empty, with or without a daemon."""

from __future__ import annotations

import click

from durablecli.cli.bulk import submit_and_report
from durablecli.cli.clients import HubChoice
from durablecli.cli.offline import open_offline_client
from durablecli.cli.options import common_options, format_exit_codes
from durablecli.cli.output import Output, echo
from durablecli.cli.param_types import EntityIdParam
from durablecli.cli.selection import ask, confirm, preview
from durablecli.client import HubClient, MessageItem, Query
from durablecli.errors import DurableError, UsageError
from durablecli.plurals import format_count

EPILOG = format_exit_codes(
    "0 done",
    "2 usage error",
    "3 no such entity",
    "5 in use",
    "69 engine unreachable",
    "74 storage error",
    "77 no permission",
)


@click.command("purge", epilog=EPILOG)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=EntityIdParam())
@click.option("--all-empty", is_flag=True, help="Purge all entities that are empty and not in use.")
@click.option("--force", is_flag=True, help="Also purge quarantined entities, whose log is damaged.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation.")
@common_options
def command(
    ids: tuple[str, ...],
    all_empty: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Delete entities and their logs. They must have no state, no lock and no pending operations.

    With --engine only --all-empty is possible.
    """
    if all_empty == bool(ids):
        raise UsageError("give either ids or --all-empty: 'durable entity purge ID'")
    client, output = open_offline_client(hub), Output(output_format)
    if all_empty and client.is_foreign:
        return _purge_all_empty(client, output, dry_run=dry_run, yes=yes)
    chosen = _find_purgeable(client) if all_empty else list(dict.fromkeys(ids))
    if dry_run:
        return _preview(client, output, chosen, force)
    if all_empty and not chosen:
        echo("no entity is empty: nothing to purge")
    elif all_empty and not yes:
        confirm("purge", chosen, "entity", "entities")
    return submit_and_report(client, output, "purge", [MessageItem(one, force=force) for one in chosen], "purged")


def _purge_all_empty(client: HubClient, output: Output, *, dry_run: bool, yes: bool) -> int:
    """Have another engine purge the empty entities, which it need not list."""
    if dry_run:
        raise UsageError("the Durable Task protocol can't tell which entities are empty")
    if not yes:
        ask("purge all empty entities", "add --yes to confirm")
    deleted = client.purge_entities().instances_deleted
    if output.is_human_readable:
        output.print_line(f"{format_count(deleted, 'entity', 'entities')} purged")
    else:
        output.print_value({"entitiesDeleted": deleted})
    return 0


def _find_purgeable(client: HubClient) -> list[str]:
    """Return the entities that have no state and aren't in use."""
    chosen = []
    for entity in client.iter_entity_ids(Query(status=("Empty",))):
        try:
            client.check_entity_allowed("purge", MessageItem(entity))
            chosen.append(entity)
        except DurableError:
            continue
    return chosen


def _preview(client: HubClient, output: Output, chosen: list[str], force: bool) -> int:
    def check(entity: str) -> dict[str, str]:
        client.check_entity_allowed("purge", MessageItem(entity, force=force))
        return {"entityId": entity}

    return preview(output, "purge", chosen, check)
