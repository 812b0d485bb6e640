"""`durable purge`: deletes instances and their histories, with or without a daemon."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from durablecli.cli.bulk import choose, control, selection
from durablecli.cli.offline import mending_client
from durablecli.cli.options import Duration, common, exits
from durablecli.cli.output import Screen
from durablecli.client import MessageItem
from durablecli.errors import UsageError
from durablecli.model.status import ENDED_STATUSES

CODES = exits(
    "0 done", "2 usage", "3 no such instance", "4 conflict", "5 it hasn't ended", "74 storage error", "77 no permission"
)


@click.command("purge", epilog=CODES)
@selection
@click.option("--older-than", type=Duration(), metavar="DURATION", help="Filter: created longer ago than that.")
@click.option("--force", is_flag=True, help="Also instances that haven't ended.")
@common
def command(
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    older_than: timedelta | None,
    force: bool,
    state_dir: str | None,
    form: str | None,
    **filters: Any,
) -> int:
    """Delete ended instances and their histories, their ended sub-orchestrations too.

    A filter reaches ended instances only, unless --force is given.
    """
    hub = mending_client(state_dir)
    allowed = () if force else tuple(sorted(ENDED_STATUSES))
    if not force and (live := set(filters["status"] or ()) - ENDED_STATUSES):
        raise UsageError(f"{', '.join(sorted(live))}: only ended instances are purged; --force purges others too")
    chosen = choose(
        hub,
        "purge",
        ids,
        filters,
        dry_run=dry_run,
        yes=yes,
        form=form,
        allowed=allowed,
        older_than=older_than,
        force=force,
    )
    # Of those that a filter chose some are children, and go with their parents.
    items = [MessageItem(one, force=force) for one in chosen]
    return control(hub, Screen(form), "purge", items, "purged", may_be_gone=not ids)
