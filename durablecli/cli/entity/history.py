"""`durable entity history`: what was sent to an entity, and what came of it; with --follow as it happens."""

from __future__ import annotations

import click

from durablecli.cli.history import tell
from durablecli.cli.history_rows import plain
from durablecli.cli.options import client, common, entity_argument, exits
from durablecli.cli.output import Screen


@click.command(
    "history",
    epilog=exits("0 done", "2 usage", "3 no such entity", "65 damaged hub", "77 no permission", "130 Ctrl-C"),
)
@entity_argument
@click.option("-f", "--follow", is_flag=True, help="Show records as they are written, until Ctrl-C.")
@common
def command(entity: str, follow: bool, state_dir: str | None, form: str | None) -> None:
    """Show the log of an entity, as far as it is kept: what is long done stands in its first record.

    `-o jsonl` prints the lines of its file as they are.
    """
    hub, screen = client(state_dir), Screen(form)
    if screen.form in ("json", "yaml"):
        if follow:
            raise click.UsageError("--follow goes with the table and with -o jsonl")
        screen.one([plain(line.text) for line in hub.get_entity_lines(entity)])
        return
    tell(screen, hub.follow_entity(entity) if follow else hub.get_entity_lines(entity), follow=follow)
