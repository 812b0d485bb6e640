"""`durable entity signal`: sends an operation; it is on disk when the verb returns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from durablecli.cli.inputs import EXPLAINED, read_value
from durablecli.cli.options import Duration, Operation, Time, client, common, due, entity_argument, exits
from durablecli.cli.render import Screen, say
from durablecli.model.entities import EntityId

if TYPE_CHECKING:
    from durablecli.client import Client


@click.command(
    "signal",
    epilog=exits("0 on disk", "2 usage", "3 no such function or operation", "74 storage error", "77 no permission"),
)
@entity_argument
@click.argument("operation", type=Operation())
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"What the operation gets: {EXPLAINED}.")
@click.option("--at", type=Time(), metavar="TIME", help="Not before this time: 2026-12-01T09:00Z (no zone: UTC).")
@click.option("--delay", type=Duration(), metavar="DURATION", help="Not before: 90, 10m, 1h30m, 30d from now.")
@common
def command(
    entity: str,
    operation: str,
    text: str | None,
    at: datetime | None,
    delay: timedelta | None,
    state_dir: str | None,
    form: str | None,
) -> None:
    """Send an operation to an entity; it begins with its first one. Needs no daemon."""
    scheduled = due(at, delay)
    value = None if text is None else read_value(text)
    hub, screen = client(state_dir), Screen(form)
    _doubt(hub, EntityId.parse(entity).name)
    hub.signal_entity(entity, operation, value, at=scheduled)
    if not screen.for_people:
        screen.one({"entityId": entity, "operation": operation})
    elif screen.terminal:
        screen.line(f"{entity}  {operation} sent")
        if not hub.engine().alive:
            say("no daemon is running: durable run-daemon does the work")


def _doubt(hub: Client, name: str) -> None:
    """No engine runs to refuse an unknown name: say once that the last one didn't know it."""
    published = hub.published()
    if not hub.engine().alive and published is not None and not published.has_entity(name):
        say(f"durable: {published.unknown_entity(name)} (of the last engine); sent all the same")
