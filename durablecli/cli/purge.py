"""`durable purge`: deletes instances and their histories, with or without a daemon."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from durablecli.cli.bulk import choose_ids, selection_options, submit_and_report
from durablecli.cli.offline import open_offline_client
from durablecli.cli.options import DurationParam, common_options, format_exit_codes
from durablecli.cli.output import Output
from durablecli.client import MessageItem
from durablecli.errors import UsageError
from durablecli.model.status import ENDED_STATUSES

EPILOG = format_exit_codes(
    "0 done", "2 usage", "3 no such instance", "4 conflict", "5 it hasn't ended", "74 storage error", "77 no permission"
)


@click.command("purge", epilog=EPILOG)
@selection_options
@click.option("--older-than", type=DurationParam(), metavar="DURATION", help="Filter: created longer ago than that.")
@click.option("--force", is_flag=True, help="Also instances that haven't ended.")
@common_options
def command(
    ids: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    older_than: timedelta | None,
    force: bool,
    state_dir: str | None,
    output_format: str | None,
    **filters: Any,
) -> int:
    """Delete ended instances and their histories, their ended sub-orchestrations too.

    A filter reaches ended instances only, unless --force is given.
    """
    client = open_offline_client(state_dir)
    allowed = () if force else tuple(sorted(ENDED_STATUSES))
    if not force and (live := set(filters["status"] or ()) - ENDED_STATUSES):
        raise UsageError(f"{', '.join(sorted(live))}: only ended instances are purged; --force purges others too")
    chosen = choose_ids(
        client,
        "purge",
        ids,
        filters,
        dry_run=dry_run,
        yes=yes,
        output_format=output_format,
        allowed=allowed,
        older_than=older_than,
        force=force,
    )
    # Of those that a filter chose some are children, and go with their parents.
    items = [MessageItem(one, force=force) for one in chosen]
    return submit_and_report(client, Output(output_format), "purge", items, "purged", may_be_gone=not ids)
