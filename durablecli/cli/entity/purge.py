"""`durable entity purge`: deletes entities that are empty, with or without a daemon."""

from __future__ import annotations

import click

from durablecli.cli.bulk import submit_and_report
from durablecli.cli.offline import open_offline_client
from durablecli.cli.options import EntityIdParam, common_options, format_exit_codes
from durablecli.cli.output import Output, echo
from durablecli.cli.selection import confirm, preview
from durablecli.client import Client, MessageItem, Query
from durablecli.errors import DurableError, UsageError

EPILOG = format_exit_codes(
    "0 done", "2 usage error", "3 no such entity", "5 in use", "74 storage error", "77 no permission"
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
    state_dir: str | None,
    output_format: str | None,
) -> int:
    """Delete entities and their logs. They must have no state, no lock and no pending operations."""
    if all_empty == bool(ids):
        raise UsageError("give either ids or --all-empty: 'durable entity purge ID'")
    client, output = open_offline_client(state_dir), Output(output_format)
    chosen = _find_purgeable(client) if all_empty else list(dict.fromkeys(ids))
    if dry_run:
        return _preview(client, output, chosen, force)
    if all_empty and not chosen:
        echo("no entity is empty: nothing to purge")
    elif all_empty and not yes:
        confirm("purge", chosen, "entity", "entities")
    return submit_and_report(client, output, "purge", [MessageItem(one, force=force) for one in chosen], "purged")


def _find_purgeable(client: Client) -> list[str]:
    """Return the entities that have no state and aren't in use."""
    chosen = []
    for entity in client.iter_entity_ids(Query(status=("Empty",))):
        try:
            client.check_entity_allowed("purge", MessageItem(entity))
            chosen.append(entity)
        except DurableError:
            continue
    return chosen


def _preview(client: Client, output: Output, chosen: list[str], force: bool) -> int:
    def check(entity: str) -> dict[str, str]:
        client.check_entity_allowed("purge", MessageItem(entity, force=force))
        return {"entityId": entity}

    return preview(output, "purge", chosen, check)
