"""`durable schedule next`: prints due times, which the expression alone gives."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from durablecli.cli.options import app_option, output_option, state_dir_option
from durablecli.cli.output import Output
from durablecli.cli.schedule_hub import EPILOG, name_argument, open_schedules
from durablecli.cli.time_format import format_age
from durablecli.errors import NotFound


@click.command("next", epilog=EPILOG)
@name_argument
@click.argument("count", metavar="[COUNT]", type=click.IntRange(1, 1000), default=5)
@app_option
@state_dir_option
@output_option
def command(name: str, count: int, app: tuple[str, ...], state_dir: str | None, output_format: str | None) -> None:
    """Print the next due times of a schedule, 5 by default, in its time zone; also those of a paused one."""
    (catalog, _), output = open_schedules(state_dir, app), Output(output_format)
    view, now = catalog.get(name), datetime.now(UTC)
    times = view.list_due_times(now, count)
    if not times:
        raise NotFound(f"schedule '{view.name}' has never been loaded, so its due times aren't known")
    if not output.is_human_readable:
        output.print_value([time.isoformat() for time in times])
        return
    for time in times:
        output.print_line(f"{time:%a} {time.isoformat()}  {format_age(time, now)}")
