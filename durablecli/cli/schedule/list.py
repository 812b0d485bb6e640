"""`durable schedule list`: lists the schedules of the app and of the hub."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from durablecli.cli.options import app_option, output_option, state_dir_option
from durablecli.cli.output import Output, echo
from durablecli.cli.schedule_hub import EPILOG, open_schedules
from durablecli.cli.time_format import format_age

if TYPE_CHECKING:
    from durablecli.builtin.schedule_catalog import ScheduleCatalog, ScheduleView

HEADER = ("NAME", "STATUS", "SCHEDULE", "ZONE", "NEXT", "LAST RUN")


@click.command("list", epilog=EPILOG)
@app_option
@state_dir_option
@output_option
def command(app: tuple[str, ...], state_dir: str | None, output_format: str | None) -> None:
    """List schedules: those that the app declares, and those that the hub knows besides.

    New is one that no daemon has loaded yet, Not loaded one that the app doesn't declare any more. NEXT is in the zone
    of the schedule.
    """
    (catalog, client), output = open_schedules(state_dir, app), Output(output_format)
    views, now = catalog.list_all(), datetime.now(UTC)
    if not output.is_human_readable:
        output.print_values(view.payload(now) for view in views)
        return
    if not views:
        echo('no schedules; declare one with @df.orchestrator(schedule="0 3 * * *")')
        return
    rows = [_format_row(catalog, view, now) for view in views]
    output.print_table(HEADER, rows, status_column=1, optional_columns=(3, 5), elastic=2)
    if not client.engine().alive and any(view.status in ("Active", "New") for view in views):
        echo("no daemon is running; runs start while one does: durable run-daemon")


def _format_row(catalog: ScheduleCatalog, view: ScheduleView, now: datetime) -> tuple[str, ...]:
    spec, due = view.spec, view.next_due(now)
    following = "" if due is None or spec is None else f"{due.astimezone(spec.zone):%a %Y-%m-%d %H:%M}"
    runs = catalog.runs(view.name, 1)
    last = f"{runs[0].status}, {format_age(runs[0].created, now)}" if runs else ""
    schedule, zone = ("", "") if spec is None else (spec.schedule, spec.timezone)
    return view.name, view.status, schedule, zone, following, last
