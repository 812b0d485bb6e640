"""`durable entity signal`: sends an operation; it is on disk when the verb returns."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.lookup import anyway_option, check_operation, warn_unchecked
from durablecli.cli.options import (
    DurationParam,
    OperationNameParam,
    TimeParam,
    app_option,
    common_options,
    entity_argument,
    format_exit_codes,
    load_settings,
    open_client,
    resolve_due_time,
)
from durablecli.cli.output import Output, echo
from durablecli.model.entity_id import EntityId


@click.command(
    "signal",
    epilog=format_exit_codes(
        "0 on disk", "2 usage", "3 no such function or operation", "74 storage error", "77 no permission"
    ),
)
@entity_argument
@click.argument("operation", type=OperationNameParam())
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"What the operation gets: {INPUT_HELP}.")
@click.option("--at", type=TimeParam(), metavar="TIME", help="Not before this time: 2026-12-01T09:00Z (no zone: UTC).")
@click.option("--delay", type=DurationParam(), metavar="DURATION", help="Not before: 90, 10m, 1h30m, 30d from now.")
@anyway_option
@app_option
@common_options
def command(
    entity: str,
    operation: str,
    text: str | None,
    at: datetime | None,
    delay: timedelta | None,
    anyway: bool,
    app: tuple[str, ...],
    state_dir: str | None,
    output_format: str | None,
) -> None:
    """Send an operation to an entity; it begins with its first one. Needs no daemon.

    A name that no engine has published is looked up in the modules, and refused if it isn't there either.
    """
    scheduled = resolve_due_time(at, delay)
    value = None if text is None else read_value(text)
    config = load_settings(state_dir, app)
    client, output = open_client(config.state_dir, check_names=not anyway), Output(output_format)
    checked = anyway or check_operation(client, config, EntityId.parse(entity).name, operation)
    client.signal_entity(entity, operation, value, at=scheduled)
    if not checked:
        warn_unchecked(config, entity)
    if not output.is_human_readable:
        output.print_value({"entityId": entity, "operation": operation})
    elif output.is_terminal:
        output.print_line(f"{entity}  {operation} sent")
        if not client.engine().alive:
            echo("no daemon is running: durable run-daemon does the work")
