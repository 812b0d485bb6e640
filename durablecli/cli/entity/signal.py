"""`durable entity signal`: sends an operation; it is on disk when the verb returns."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from durablecli.cli.input_values import EXPLAINED, read_value
from durablecli.cli.lookup import anyway_option, check_operation, say_unchecked
from durablecli.cli.options import (
    Duration,
    Operation,
    Time,
    app_option,
    client,
    common,
    due,
    entity_argument,
    exits,
    settings,
)
from durablecli.cli.output import Screen, say
from durablecli.model.entity_id import EntityId


@click.command(
    "signal",
    epilog=exits("0 on disk", "2 usage", "3 no such function or operation", "74 storage error", "77 no permission"),
)
@entity_argument
@click.argument("operation", type=Operation())
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"What the operation gets: {EXPLAINED}.")
@click.option("--at", type=Time(), metavar="TIME", help="Not before this time: 2026-12-01T09:00Z (no zone: UTC).")
@click.option("--delay", type=Duration(), metavar="DURATION", help="Not before: 90, 10m, 1h30m, 30d from now.")
@anyway_option
@app_option
@common
def command(
    entity: str,
    operation: str,
    text: str | None,
    at: datetime | None,
    delay: timedelta | None,
    anyway: bool,
    app: tuple[str, ...],
    state_dir: str | None,
    form: str | None,
) -> None:
    """Send an operation to an entity; it begins with its first one. Needs no daemon.

    A name that no engine has published is looked up in the modules, and refused if it isn't there either.
    """
    scheduled = due(at, delay)
    value = None if text is None else read_value(text)
    config = settings(state_dir, app)
    hub, screen = client(config.state_dir, check_names=not anyway), Screen(form)
    checked = anyway or check_operation(hub, config, EntityId.parse(entity).name, operation)
    hub.signal_entity(entity, operation, value, at=scheduled)
    if not checked:
        say_unchecked(config, entity)
    if not screen.for_people:
        screen.one({"entityId": entity, "operation": operation})
    elif screen.terminal:
        screen.line(f"{entity}  {operation} sent")
        if not hub.engine().alive:
            say("no daemon is running: durable run-daemon does the work")
