"""`durable entity`: the verbs for entities."""

from __future__ import annotations

import click

from durablecli.cli.lazy_group import LazyGroup
from durablecli.cli.options import format_exit_codes

VERBS = {
    "signal": "Send an operation to an entity; no daemon needed.",
    "get": "Show an entity's state, lock and queue.",
    "list": "List entities.",
    "delete": "Delete the state of entities.",
    "history": "Show the log of an entity.",
    "purge": "Delete entities that are empty.",
}


@click.group(
    "entity",
    cls=LazyGroup,
    verbs=VERBS,
    package=__name__,
    invoke_without_command=True,
    epilog=format_exit_codes("0 done", "2 usage error", "others by command"),
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """Signal, show, list, delete and purge entities. The id of an entity is @name@key, such as @counter@a."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
