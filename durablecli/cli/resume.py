"""`durable resume`: lets suspended instances go on."""

from __future__ import annotations

from typing import Any

import click

from durablecli.cli.bulk import choose, control, selection
from durablecli.cli.offline import mending_client
from durablecli.cli.options import common, exits
from durablecli.cli.output import Screen
from durablecli.client import MessageItem

CODES = exits("0 done", "2 usage", "3 no such instance", "5 it has ended", "74 storage error", "77 no permission")


@click.command("resume", epilog=CODES)
@selection
@click.option("--reason", default="", metavar="TEXT", help="Why; the history shows it.")
@common
def command(
    ids: tuple[str, ...], dry_run: bool, yes: bool, reason: str, state_dir: str | None, form: str | None, **filters: Any
) -> int:
    """Let suspended instances go on, with what arrived meanwhile."""
    hub = mending_client(state_dir)
    chosen = choose(hub, "resume", ids, filters, dry_run=dry_run, yes=yes, form=form, allowed=("Suspended",))
    return control(hub, Screen(form), "resume", [MessageItem(one, reason=reason) for one in chosen], "resumed")
