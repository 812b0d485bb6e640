"""`durable list`: instances, filtered and page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial

import click

from durablecli.cli.options import FunctionName, Statuses, Time, client, common, exits
from durablecli.cli.output import Screen
from durablecli.cli.paging import paging, point_on
from durablecli.cli.time_format import day, moment
from durablecli.cli.wait_reasons import named
from durablecli.client import Client, Query
from durablecli.model.status import InstanceSummary, PendingWait

HEAD = ("ID", "NAME", "STATUS", "CREATED", "UPDATED", "WAITS FOR")


@click.command("list", epilog=exits("0 done", "2 usage", "65 damaged hub", "77 no permission"))
@click.option("--name", type=FunctionName("orchestrator"), metavar="FUNCTION", help="The orchestrator's name.")
@click.option("--status", type=Statuses(), metavar="STATUS,...", help="Runtime statuses, with commas between.")
@click.option("--prefix", metavar="TEXT", help="Ids that begin so.")
@click.option("--created-after", type=Time(), metavar="TIME", help="Created at or after.")
@click.option("--created-before", type=Time(), metavar="TIME", help="Created at or before.")
@paging
@common
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
    form: str | None,
) -> None:
    """List instances, the newest first."""
    hub, screen = client(state_dir), Screen(form)
    query = Query(name, status or (), prefix or "", created_after, created_before, None, sort, reverse, limit, cursor)
    if only_count:
        screen.line(str(hub.count(query)))
        return
    page = hub.page(query)
    if screen.for_people:
        time = partial(day, now=datetime.now(UTC)) if screen.terminal else moment
        screen.table(HEAD, [_row(row, time) for row in page.rows], paint=2, spare=(4, 3))
    else:
        screen.many(payload for row in page.rows if (payload := _payload(hub, row)) is not None)
    point_on(page)


def _payload(hub: Client, row: InstanceSummary) -> dict[str, object] | None:
    status = hub.get_status(row.id, show_input=False)
    return status.payload() if status else None  # purged since the page was read


def _row(row: InstanceSummary, time: Callable[[datetime], str]) -> Sequence[str]:
    return row.id, row.name, row.status, time(row.created), time(row.updated), _waits(row)


def _waits(row: InstanceSummary) -> str:
    if row.set_aside is not None:
        return f"set aside: {row.set_aside.splitlines()[0] if row.set_aside else ''}"
    if row.blocked is not None:
        return f"blocked: {row.blocked.splitlines()[0] if row.blocked else ''}"
    first = next((one for one in row.waiting if one.kind != "suspended"), None)
    if first is None:
        return ""
    more = f" +{len(row.waiting) - 1}" if len(row.waiting) > 1 else ""
    return f"{_what(first)}{more}"


def _what(one: PendingWait) -> str:
    if one.kind in ("timer", "start"):
        return f"{one.kind} {moment(one.fire_at)}" if one.fire_at else "a daemon"
    if one.kind == "lock":
        return f"lock of {named(one.entities)}"
    return f"{one.kind} {one.name or ''}" if one.entity is None else f"{one.name} of {one.entity}"
