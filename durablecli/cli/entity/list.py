"""`durable entity list`: lists entities, filtered and in pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.listing import format_obstruction, hint_next_page, paging_options, print_payloads
from durablecli.cli.options import common_options, format_exit_codes, history_options
from durablecli.cli.output import Output
from durablecli.cli.param_types import FunctionNameParam
from durablecli.cli.time_format import current_time, format_age, format_time
from durablecli.client import Query
from durablecli.durations import format_duration
from durablecli.errors import UsageError
from durablecli.model.status import InstanceSummary

HEADER = ("ENTITY", "STATUS", "CREATED", "UPDATED", "QUEUED", "WAITS FOR")


@click.command(
    "list",
    epilog=format_exit_codes("0 done", "2 usage error", "65 damaged hub", "69 engine unreachable", "77 no permission"),
)
@click.option("--name", type=FunctionNameParam("entity"), metavar="FUNCTION", help="Only entities of this function.")
@click.option("--prefix", metavar="TEXT", help="Only ids that start with TEXT, such as @counter@user-.")
@click.option("--exists", "status", flag_value="Exists", help="Only entities with a state.")
@click.option("--empty", "status", flag_value="Empty", help="Only entities without a state.")
@click.option("--locked", is_flag=True, help="Only entities that an orchestration has locked.")
@click.option("--blocked", is_flag=True, help="Only entities that can't run because their code isn't loaded.")
@click.option("--all", "shows_all", is_flag=True, help="Also durablecli's own entities, such as those of schedules.")
@paging_options
@history_options
@common_options
def command(
    name: str | None,
    prefix: str | None,
    status: str | None,
    locked: bool,
    blocked: bool,
    shows_all: bool,
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
    """List entities, newest first. Filters combine.

    WAITS FOR shows who holds the lock, how long operations have been running, or why the entity is blocked; for more,
    see durable entity get ID. An entity is listed once an engine has accepted a message for it.
    """
    client, output = open_client(hub), Output(output_format)
    wanted = (status,) if status else ()
    query = Query(
        name, wanted, _normalize_prefix(prefix), sort=sort, reverse=reverse, limit=limit, cursor=cursor, locked=locked,
        blocked=blocked, hides_internal=not shows_all,
    )  # fmt: skip
    if only_count:
        output.print_line(str(client.count_entities(query)))
        return
    page = client.list_entities(query)
    if output.is_human_readable:
        now, running = current_time(utc=utc), client.running_batches()
        time = partial(format_age if output.is_terminal else format_time, now=now)
        runs = {id: f"running for {format_duration(now - one.since)}" for id, one in running.items()}
        rows = [_format_row(row, time, runs.get(row.id)) for row in page.rows]
        knows_created = not client.is_foreign
        cells = [row if knows_created else _without_created(row) for row in (HEADER, *rows)]
        with output.paged():
            output.print_table(cells[0], cells[1:], status_column=1, optional_columns=(2, 3) if knows_created else (2,))
    else:
        print_payloads(output, page, client.entity, full=full)
    hint_next_page(page)


def _normalize_prefix(given: str | None) -> str:
    """Return the prefix with the name in lower case, as in the ids on disk."""
    if not given:
        return ""
    if not given.startswith("@"):
        raise UsageError(f"--prefix: entity ids start with @, such as @counter@a; or use --name {given}")
    name, sign, key = given[1:].partition("@")
    return f"@{name.lower()}{sign}{key}"


def _format_row(row: InstanceSummary, time: Callable[[datetime], str], runs: str | None) -> Sequence[str]:
    queued = f"{row.queued:,}" if row.queued else ""
    return row.id, row.status, time(row.created), time(row.updated), queued, _format_waits(row, runs)


def _without_created(cells: Sequence[str]) -> Sequence[str]:
    """Leave out the time of creation, which another engine doesn't tell."""
    return (*cells[:2], *cells[3:])


def _format_waits(row: InstanceSummary, runs: str | None) -> str:
    if obstruction := format_obstruction(row):
        return obstruction
    reasons = [f"lock of {row.locked_by}"] if row.locked_by else []
    return ", ".join([*reasons, runs] if runs and row.queued else reasons)
