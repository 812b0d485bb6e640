"""`durable schedule resume`: runs start again."""

from __future__ import annotations

import click

from durablecli.cli.options import app_option, output_option, state_dir_option
from durablecli.cli.output import Output
from durablecli.cli.schedule_hub import CHANGE_EPILOG, change_all, names_argument, open_schedules


@click.command("resume", epilog=CHANGE_EPILOG)
@names_argument
@app_option
@state_dir_option
@output_option
def command(names: tuple[str, ...], app: tuple[str, ...], state_dir: str | None, output_format: str | None) -> int:
    """Start runs again, from the next due time on."""
    catalog, client = open_schedules(state_dir, app)
    return change_all(Output(output_format), client, names, catalog.resume, "resumed")
