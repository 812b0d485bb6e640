"""`durable list`: lists instances, filtered and in pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import click

from durablecli.cli.listing import format_obstruction, hint_next_page, iter_payloads, paging_options
from durablecli.cli.options import (
    FunctionNameParam,
    StatusesParam,
    TimeParam,
    common_options,
    format_exit_codes,
    open_client,
)
from durablecli.cli.output import Output
from durablecli.cli.time_format import format_time, format_time_or_date
from durablecli.cli.wait_reasons import format_entities
from durablecli.client import Query
from durablecli.model.status import InstanceSummary, PendingWait

HEADER = ("ID", "NAME", "STATUS", "CREATED", "UPDATED", "WAITS FOR")


@click.command("list", epilog=format_exit_codes("0 done", "2 usage error", "65 damaged hub", "77 no permission"))
@click.option(
    "--name", type=FunctionNameParam("orchestrator"), metavar="FUNCTION", help="Only instances of this orchestrator."
)
@click.option(
    "--status", type=StatusesParam(), metavar="STATUS,...", help="Only these runtime statuses, comma-separated."
)
@click.option("--prefix", metavar="TEXT", help="Only ids that start with TEXT.")
@click.option("--created-after", type=TimeParam(), metavar="TIME", help="Only those created at or after TIME.")
@click.option("--created-before", type=TimeParam(), metavar="TIME", help="Only those created at or before TIME.")
@paging_options
@common_options
def command(
    name: str | None,
    status: tuple[str, ...] | None,
    prefix: str | None,
    created_after: datetime | None,
    created_before: datetime | None,
    sort: str,
    reverse: bool,
    limit: int,
    cursor: str | None,
    only_count: bool,
    state_dir: str | None,
    output_format: str | None,
) -> None:
    """List instances, newest first. Filters combine."""
    client, output = open_client(state_dir), Output(output_format)
    query = Query(name, status or (), prefix or "", created_after, created_before, None, sort, reverse, limit, cursor)
    if only_count:
        output.print_line(str(client.count(query)))
        return
    page = client.page(query)
    if output.is_human_readable:
        time = partial(format_time_or_date, now=datetime.now(UTC)) if output.is_terminal else format_time
        output.print_table(
            HEADER, [_format_row(row, time) for row in page.rows], status_column=2, optional_columns=(4, 3)
        )
    else:
        output.print_values(iter_payloads(page, partial(client.get_status, show_input=False)))
    hint_next_page(page)


def _format_row(row: InstanceSummary, time: Callable[[datetime], str]) -> Sequence[str]:
    return row.id, row.name, row.status, time(row.created), time(row.updated), _format_waits(row)


def _format_waits(row: InstanceSummary) -> str:
    if obstruction := format_obstruction(row):
        return obstruction
    first = next((one for one in row.waiting if one.kind != "suspended"), None)
    if first is None:
        return ""
    more = f" +{len(row.waiting) - 1}" if len(row.waiting) > 1 else ""
    return f"{_format_wait(first)}{more}"


def _format_wait(one: PendingWait) -> str:
    if one.kind in ("timer", "start"):
        return f"{one.kind} {format_time(one.fire_at)}" if one.fire_at else "a daemon"
    if one.kind == "lock":
        return f"lock of {format_entities(one.entities)}"
    return f"{one.kind} {one.name or ''}" if one.entity is None else f"{one.name} of {one.entity}"
