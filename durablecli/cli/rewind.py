"""`durable rewind`: sends again what made instances fail, and keeps all that went well."""

from __future__ import annotations

from typing import Any

import click

from durablecli.cli.bulk import choose, control, each, selection
from durablecli.cli.options import client, common, exits
from durablecli.cli.output import Screen
from durablecli.client import Client, MessageItem

CODES = exits("0 on disk", "2 usage", "3 no such instance", "4 conflict", "5 it hasn't failed", "74 storage error")


@click.command("rewind", epilog=CODES)
@selection
@click.option("--reason", default="", metavar="TEXT", help="Why; the history shows it.")
@common
def command(
    ids: tuple[str, ...], dry_run: bool, yes: bool, reason: str, state_dir: str | None, form: str | None, **filters: Any
) -> int:
    """Send the failed work of failed instances again; --dry-run shows what that would be."""
    hub, screen = client(state_dir), Screen(form)
    chosen = choose(hub, "rewind", ids, filters, dry_run=False, yes=yes or dry_run, allowed=("Failed",))
    if dry_run:
        return _preview(hub, screen, chosen)
    return control(hub, screen, "rewind", [MessageItem(one, reason=reason) for one in chosen], "rewound")


def _preview(hub: Client, screen: Screen, chosen: list[str]) -> int:
    found: dict[str, list[str]] = {}

    def look(instance: str) -> None:
        found[instance] = again = hub.rewind_preview(instance)
        for line in again if screen.for_people else ():
            screen.line(f"{instance}  would send again {line}")
        if screen.for_people and not again:
            screen.line(f"{instance}  would go on from its failure; nothing is sent again")

    code = each(chosen, look)
    if not screen.for_people:
        screen.many({"instanceId": instance, "sentAgain": again} for instance, again in found.items())
    return code
