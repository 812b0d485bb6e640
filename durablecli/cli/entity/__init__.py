"""`durable entity`: the verbs that are about entities."""

from __future__ import annotations

import click

from durablecli.cli.lazy_group import LazyGroup
from durablecli.cli.options import format_exit_codes

VERBS = {
    "signal": "Send an operation to an entity; needs no daemon.",
    "get": "Say how an entity stands: its state, its lock, what waits.",
    "list": "List entities.",
    "delete": "Take the state of entities away.",
    "history": "Show the log of an entity.",
    "purge": "Delete entities that are empty.",
}


@click.group(
    "entity",
    cls=LazyGroup,
    verbs=VERBS,
    package=__name__,
    invoke_without_command=True,
    epilog=format_exit_codes("0 done", "2 usage", "and those of each verb"),
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Signal, show, list, delete and purge entities. An entity is named @name@key, as @counter@a."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
