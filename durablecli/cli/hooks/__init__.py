"""`durable hooks`: the verbs for hooks."""

from __future__ import annotations

import click

from durablecli.cli.lazy_group import LazyGroup
from durablecli.cli.options import format_exit_codes

VERBS = {
    "list": "List the configured hooks.",
    "test": "Send a sample event to a hook now.",
}


@click.group(
    "hooks",
    cls=LazyGroup,
    verbs=VERBS,
    package=__name__,
    invoke_without_command=True,
    epilog=format_exit_codes("0 done", "2 usage error", "others by command"),
)
@click.pass_context
def command(ctx: click.Context) -> None:
    """List and test hooks: addresses and commands that are called when something has happened to an instance."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
