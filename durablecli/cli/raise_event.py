"""`durable raise-event`: sends an external event, which is on disk when the command returns."""

from __future__ import annotations

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.lookup import anyway_option
from durablecli.cli.options import common_options, format_exit_codes, id_argument
from durablecli.cli.output import Output
from durablecli.cli.param_types import EventNameParam
from durablecli.client import HubClient
from durablecli.errors import NotFound
from durablecli.model.events import EventAwaited, EventRaised
from durablecli.model.suggestions import find_misspelled

_NAMED_EVENTS = (EventAwaited, EventRaised)


@click.command(
    "raise-event",
    epilog=format_exit_codes(
        "0 on disk", "2 usage error", "3 no such instance, or misspelled event name", "5 already ended",
        "69 engine unreachable",
        "74 storage error", "77 no permission",
    ),
)  # fmt: skip
@id_argument
@click.argument("event", type=EventNameParam())
@click.option("--data", metavar="JSON|@FILE|-", help=f"Data of the event: {INPUT_HELP}.")
@anyway_option
@common_options
def command(
    instance: str, event: str, data: str | None, anyway: bool, hub: HubChoice, output_format: str | None
) -> None:
    """Send an external event to an instance; no daemon needed.

    An event is kept until the instance waits for it. A name that looks like a misspelling of an event that the instance
    is waiting for is refused.
    """
    value = None if data is None else read_value(data, "--data")
    client = open_client(hub)
    if not anyway:
        _check_event_name(client, instance, event)
    client.raise_event(instance, event, value)
    output = Output(output_format)
    if not output.is_human_readable:
        output.print_value({"instanceId": instance, "event": event})
    elif output.is_terminal:
        output.print_line(f"{instance}  {event} raised")


def _check_event_name(client: HubClient, instance: str, event: str) -> None:
    """Raise NotFound for a name that the instance has never used and that resembles one that it waits for."""
    waited = [
        one.name or "" for one in client.get_status(instance, show_input=False).waiting_for if one.kind == "event"
    ]
    if event.casefold() in map(str.casefold, waited) or (meant := find_misspelled(event, waited)) is None:
        return
    known = {
        record.event.name.casefold()
        for record in client.get_history(instance)
        if isinstance(record.event, _NAMED_EVENTS)
    }
    if event.casefold() not in known:
        raise NotFound(
            f"{instance} is not waiting for event '{event}'; did you mean '{meant}'? (use --anyway to send it anyway)"
        )
