"""`durable schedule`: the verbs for schedules."""

from __future__ import annotations

import click

from durablecli.cli.lazy_group import LazyGroup
from durablecli.cli.options import format_exit_codes

VERBS = {
    "list": "List schedules with their next due times.",
    "show": "Show a schedule and its latest runs.",
    "next": "Print the next due times of a schedule.",
    "pause": "Start no more runs of schedules.",
    "resume": "Start runs of paused schedules again.",
    "trigger": "Start a run of a schedule now.",
}


@click.group(
    "schedule",
    cls=LazyGroup,
    verbs=VERBS,
    package=__name__,
    invoke_without_command=True,
    epilog=format_exit_codes("0 done", "2 usage error", "others by command"),
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List, show, pause, resume and trigger schedules: orchestrations that a daemon starts at their due times."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
