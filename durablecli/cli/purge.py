"""`durable purge`: deletes instances and their histories, with or without a daemon."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from durablecli.cli.bulk import submit_and_report
from durablecli.cli.clients import HubChoice
from durablecli.cli.offline import open_offline_client
from durablecli.cli.options import common_options, format_exit_codes
from durablecli.cli.output import Output
from durablecli.cli.param_types import DurationParam
from durablecli.cli.selection import Selection, choose_ids, selection_options
from durablecli.client import MessageItem, PurgeMeter
from durablecli.errors import UsageError
from durablecli.model.status import ENDED_STATUSES
from durablecli.plurals import format_count, format_size

EPILOG = format_exit_codes(
    "0 done",
    "2 usage error",
    "3 no such instance",
    "4 conflict",
    "5 not ended",
    "69 engine unreachable",
    "74 storage error",
    "77 no permission",
)


@click.command("purge", epilog=EPILOG)
@selection_options
@click.option(
    "--older-than", type=DurationParam(), metavar="DURATION", help="Filter: created longer ago than DURATION."
)
@click.option("--force", is_flag=True, help="Also delete instances that haven't ended.")
@common_options
def command(
    selection: Selection,
    older_than: timedelta | None,
    force: bool,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Delete ended instances, their histories and their ended sub-orchestrations.

    Without --force, a filter matches only ended instances.
    """
    client, output = open_offline_client(hub), Output(output_format)
    allowed = () if force else tuple(sorted(ENDED_STATUSES))
    if not force and (live := set(selection.filters["status"] or ()) - ENDED_STATUSES):
        raise UsageError(f"{', '.join(sorted(live))}: only ended instances can be purged; use --force to purge others")
    if older_than is not None:
        selection = selection.created_before(datetime.now(UTC) - older_than)
    chosen = choose_ids(client, "purge", selection, output, allowed=allowed, force=force)
    # Some of those that a filter matches are children, and are deleted with their parents.
    items = [MessageItem(one, force=force) for one in chosen]
    meter = None if client.is_foreign else PurgeMeter(client.location, client.children, chosen)
    code = submit_and_report(
        client,
        output,
        "purge",
        items,
        "purged",
        may_be_gone=not selection.ids,
        further_fields=lambda id: {} if meter is None else {"bytesFreed": meter.measure_freed(id).bytes},
    )
    if meter is not None and output.is_human_readable:
        freed = meter.measure_all_freed()
        if freed.count > 1 or (freed.count and not selection.ids):
            output.print_line(f"purged {format_count(freed.count, 'instance')}, freed {format_size(freed.bytes)}")
    return code
