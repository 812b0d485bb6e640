"""`durable entity get`: how entities stand; the same as `durable status` says of them."""

from __future__ import annotations

import click

from durablecli.cli.options import client, common, entities_argument, exits
from durablecli.cli.output import Screen
from durablecli.cli.status import tell


@click.command("get", epilog=exits("0 found", "2 usage", "3 no such entity", "65 damaged hub", "77 no permission"))
@entities_argument
@common
def command(ids: tuple[str, ...], state_dir: str | None, form: str | None) -> int:
    """Say how entities stand: state, lock, what waits for them, what failed."""
    return tell(client(state_dir), Screen(form), ids)
