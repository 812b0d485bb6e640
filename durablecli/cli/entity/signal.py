"""`durable entity signal`: sends an operation, which is on disk when the command returns."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from durablecli.cli.clients import HubChoice, lacks_engine, open_configured_client
from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.lookup import anyway_option, check_operation, warn_unchecked
from durablecli.cli.options import app_option, common_options, entity_argument, format_exit_codes, resolve_due_time
from durablecli.cli.output import Output, echo
from durablecli.cli.param_types import DurationParam, OperationNameParam, TimeParam
from durablecli.model.entity_id import EntityId


@click.command(
    "signal",
    epilog=format_exit_codes(
        "0 on disk",
        "2 usage error",
        "3 no such function or operation",
        "69 engine unreachable",
        "74 storage error",
        "77 no permission",
    ),
)
@entity_argument
@click.argument("operation", type=OperationNameParam())
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input of the operation: {INPUT_HELP}.")
@click.option(
    "--at",
    type=TimeParam(),
    metavar="TIME",
    help="Earliest time to run it, such as 2026-12-01T09:00Z (UTC if no zone).",
)
@click.option(
    "--delay", type=DurationParam(), metavar="DURATION", help="Earliest run from now: 90 (seconds), 10m, 1h30m or 30d."
)
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
    hub: HubChoice,
    output_format: str | None,
) -> None:
    """Send an operation to an entity; no daemon needed. A new entity starts with its first operation.

    The names are checked against the functions of the running engine, or else of the modules. Unknown names are
    refused.
    """
    scheduled = resolve_due_time(at, delay)
    value = None if text is None else read_value(text)
    config = hub.load_settings(app)
    client, output = open_configured_client(config, check_names=not anyway), Output(output_format)
    checked = anyway or check_operation(client, config, EntityId.parse(entity).name, operation)
    client.signal_entity(entity, operation, value, at=scheduled)
    if not checked:
        warn_unchecked(config, entity)
    if not output.is_human_readable:
        output.print_value({"entityId": entity, "operation": operation})
    elif output.is_terminal:
        output.print_line(f"{entity}  {operation} sent")
        if lacks_engine(client):
            echo("no daemon is running; start one with: durable run-daemon")
