"""`durable schedule trigger`: starts a run now."""

from __future__ import annotations

import click

from durablecli.cli.options import app_option, output_option, state_dir_option
from durablecli.cli.output import Output, echo
from durablecli.cli.schedule_hub import CHANGE_EPILOG, name_argument, open_schedules


@click.command("trigger", epilog=CHANGE_EPILOG)
@name_argument
@app_option
@state_dir_option
@output_option
def command(name: str, app: tuple[str, ...], state_dir: str | None, output_format: str | None) -> None:
    """Start a run now, with the input of the schedule, and print its id. No daemon is needed.

    It starts whatever else is running, also of a paused schedule. While it runs, overlap counts it as a run.
    """
    (catalog, client), output = open_schedules(state_dir, app), Output(output_format)
    id = catalog.trigger(name)
    if output.is_human_readable:
        output.print_line(id)
    else:
        output.print_value({"instanceId": id})
    if output.is_terminal and not client.engine().alive:
        echo("no daemon is running; start one with: durable run-daemon")
