"""`durable raise-event`: sends an external event; it is on disk when the verb returns."""

from __future__ import annotations

import click

from durablecli.cli.inputs import EXPLAINED, read_value
from durablecli.cli.options import client, common, exits, id_argument
from durablecli.cli.render import Screen
from durablecli.errors import UsageError


@click.command(
    "raise-event",
    epilog=exits(
        "0 on disk", "2 usage", "3 no such instance", "5 it has ended", "74 storage error", "77 no permission"
    ),
)
@id_argument
@click.argument("event")
@click.option("--data", metavar="JSON|@FILE|-", help=f"What the event carries: {EXPLAINED}.")
@common
def command(instance: str, event: str, data: str | None, state_dir: str | None, form: str | None) -> None:
    """Send an external event to an instance. Needs no daemon."""
    if not event:
        raise UsageError("the event's name is empty")
    value = None if data is None else read_value(data, "--data")
    client(state_dir).raise_event(instance, event, value)
    screen = Screen(form)
    if not screen.for_people:
        screen.one({"instanceId": instance, "event": event})
    elif screen.terminal:
        screen.line(f"{instance}  {event} raised")
