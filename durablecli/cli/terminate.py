"""`durable terminate`: ends instances, with or without a daemon."""

from __future__ import annotations

from typing import Any

import click

from durablecli.cli.bulk import choose, control, selection
from durablecli.cli.offline import mending_client
from durablecli.cli.options import common, exits
from durablecli.cli.output import Screen
from durablecli.client import MessageItem

CODES = exits("0 done", "2 usage", "3 no such instance", "5 it has ended", "74 storage error", "77 no permission")


@click.command("terminate", epilog=CODES)
@selection
@click.option("--reason", default="", metavar="TEXT", help="Why; it becomes the output.")
@click.option("--no-recursive", is_flag=True, help="Leave sub-orchestrations running.")
@common
def command(
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    reason: str,
    no_recursive: bool,
    state_dir: str | None,
    form: str | None,
    **filters: Any,
) -> int:
    """End instances at once, and their sub-orchestrations."""
    hub = mending_client(state_dir)
    live = ("Pending", "Running", "Suspended")
    chosen = choose(hub, "terminate", ids, filters, dry_run=dry_run, yes=yes, form=form, allowed=live)
    items = [MessageItem(instance, reason=reason, recursive=not no_recursive) for instance in chosen]
    return control(hub, Screen(form), "terminate", items, "terminated")
