"""`durable list`: lists instances, filtered and in pages."""

from __future__ import annotations

from datetime import datetime

import click
from msgspec.structs import replace

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.instance_table import InstanceTable
from durablecli.cli.listing import hint_next_page, paging_options, print_payloads
from durablecli.cli.options import common_options, format_exit_codes, history_options, tag_option
from durablecli.cli.output import Output, echo
from durablecli.cli.param_types import STATUSES_HELP, FunctionNameParam, InstanceIdParam, PastTimeParam, StatusesParam
from durablecli.cli.time_format import current_time
from durablecli.client import HubClient, Query
from durablecli.errors import UsageError
from durablecli.plurals import format_count


@click.command(
    "list",
    epilog=format_exit_codes("0 done", "2 usage error", "65 damaged hub", "69 engine unreachable", "77 no permission"),
)
@click.option(
    "--name", type=FunctionNameParam("orchestrator"), metavar="FUNCTION", help="Only instances of this orchestrator."
)
@click.option("--status", type=StatusesParam(), metavar="STATUS,...", help=f"Only these: {STATUSES_HELP}.")
@click.option("--prefix", metavar="TEXT", help="Only ids that start with TEXT.")
@click.option(
    "--parent", type=InstanceIdParam(), metavar="ID", help="Only the sub-orchestrations that this instance has started."
)
@click.option(
    "--all", "everything", is_flag=True, help="Also sub-orchestrations. Default: only what was started alone."
)
@click.option("--tree", is_flag=True, help="Show sub-orchestrations below the instance that has started them.")
@tag_option("Only those with this tag; repeatable, and all must match.")
@click.option(
    "--created-after",
    type=PastTimeParam(),
    metavar="TIME|AGE",
    help="Only those created at or after TIME, or within the last AGE, such as 1h.",
)
@click.option(
    "--created-before",
    type=PastTimeParam(),
    metavar="TIME|AGE",
    help="Only those created at or before TIME, or at least AGE ago.",
)
@paging_options
@history_options
@common_options
def command(
    name: str | None,
    status: tuple[str, ...] | None,
    prefix: str | None,
    parent: str | None,
    everything: bool,
    tree: bool,
    tags: dict[str, str],
    created_after: datetime | None,
    created_before: datetime | None,
    sort: str,
    reverse: bool,
    limit: int,
    cursor: str | None,
    only_count: bool,
    full: bool,
    utc: bool,
    hub: HubChoice,
    output_format: str | None,
) -> None:
    """List instances, newest first. Filters combine.

    Sub-orchestrations are listed only with --all, --tree or --parent.

    With --engine the order is the engine's, sub-orchestrations are listed too, and the filters are --status, --prefix,
    --created-after and --created-before.
    """
    client, output = open_client(hub), Output(output_format)
    if tree and (everything or only_count or not output.is_human_readable):
        raise UsageError("--tree needs the table, and neither --all nor --count")
    filters = (name, status or (), prefix or "", created_after, created_before, parent)
    roots_only = not everything and parent is None
    query = Query(*filters, sort, reverse, limit, cursor, tags=tags, roots_only=roots_only)
    if only_count:
        output.print_line(str(client.count(query)))
        return
    page = client.page(query)
    if output.is_human_readable:
        table = InstanceTable(client, output, current_time(utc=utc), shows_errors=query.status == ("Failed",))
        table.print_tree(page.rows) if tree else table.print_rows(page.rows)
    else:
        print_payloads(output, page, client.get_status, full=full)
    hint_next_page(page)
    if query.roots_only and not page.rows and cursor is None:
        _hint_children(client, query)


def _hint_children(client: HubClient, query: Query) -> None:
    """Say that sub-orchestrations match, if no other instance does."""
    if found := client.count(replace(query, roots_only=False)):
        counted = format_count(found, "sub-orchestration matches", "sub-orchestrations match")
        echo(f"only {counted}; --all lists them")
