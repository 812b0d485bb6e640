"""`durable entity purge`: deletes entities that are empty, with or without a daemon."""

from __future__ import annotations

import click

from durablecli.cli.bulk import confirm, control, preview
from durablecli.cli.offline import mending_client
from durablecli.cli.options import EntityName, common, exits
from durablecli.cli.output import Screen, say
from durablecli.client import Client, MessageItem, Query
from durablecli.errors import DurableError, UsageError

CODES = exits("0 done", "2 usage", "3 no such entity", "5 it is in use", "74 storage error", "77 no permission")


@click.command("purge", epilog=CODES)
@click.argument("ids", metavar="[ID]...", nargs=-1, type=EntityName())
@click.option("--all-empty", is_flag=True, help="All that may be purged.")
@click.option("--force", is_flag=True, help="Also those that are set aside because their log is damaged.")
@click.option("--dry-run", is_flag=True, help="Only show what would be touched.")
@click.option("-y", "--yes", is_flag=True, help="Don't ask.")
@common
def command(
    ids: tuple[str, ...],
    all_empty: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
    state_dir: str | None,
    form: str | None,
) -> int:
    """Delete entities and their logs: only those without a state, not locked, and with nothing waiting for them."""
    if all_empty == bool(ids):
        raise UsageError("give ids or --all-empty, one of them: 'durable entity purge ID'")
    hub, screen = mending_client(state_dir), Screen(form)
    chosen = _all_empty(hub) if all_empty else list(dict.fromkeys(ids))
    if dry_run:
        return _preview(hub, screen, chosen, force)
    if all_empty and not chosen:
        say("no entity is empty: nothing to purge")
    elif all_empty and not yes:
        confirm("purge", chosen, "entity", "entities")
    return control(hub, screen, "purge", [MessageItem(one, force=force) for one in chosen], "purged")


def _all_empty(hub: Client) -> list[str]:
    """Those without a state that aren't in use."""
    chosen = []
    for entity in hub.select_entities(Query(status=("Empty",))):
        try:
            hub.permit_entity("purge", MessageItem(entity))
            chosen.append(entity)
        except DurableError:
            continue
    return chosen


def _preview(hub: Client, screen: Screen, chosen: list[str], force: bool) -> int:
    def look(entity: str) -> dict[str, str]:
        hub.permit_entity("purge", MessageItem(entity, force=force))
        return {"entityId": entity}

    return preview(screen, "purge", chosen, look)
