"""`durable raise-event`: sends an external event; it is on disk when the verb returns."""

from __future__ import annotations

import click

from durablecli.cli.input_values import EXPLAINED, read_value
from durablecli.cli.lookup import anyway_option
from durablecli.cli.options import client, common, exits, id_argument
from durablecli.cli.output import Screen
from durablecli.client import Client
from durablecli.errors import NotFound, UsageError
from durablecli.model.events import EventAwaited, EventRaised
from durablecli.model.suggestions import find_misspelled

_NAMED = (EventAwaited, EventRaised)


@click.command(
    "raise-event",
    epilog=exits(
        "0 on disk", "2 usage", "3 no such instance, or the name is a misspelled one", "5 it has ended",
        "74 storage error", "77 no permission",
    ),
)  # fmt: skip
@id_argument
@click.argument("event")
@click.option("--data", metavar="JSON|@FILE|-", help=f"What the event carries: {EXPLAINED}.")
@anyway_option
@common
def command(instance: str, event: str, data: str | None, anyway: bool, state_dir: str | None, form: str | None) -> None:
    """Send an external event to an instance. Needs no daemon.

    An event that the instance doesn't wait for is kept until it does. Refused is only a name that looks like a
    misspelling of one that it waits for now.
    """
    if not event:
        raise UsageError("the event's name is empty")
    value = None if data is None else read_value(data, "--data")
    hub = client(state_dir)
    if not anyway:
        _check(hub, instance, event)
    hub.raise_event(instance, event, value)
    screen = Screen(form)
    if not screen.for_people:
        screen.one({"instanceId": instance, "event": event})
    elif screen.terminal:
        screen.line(f"{instance}  {event} raised")


def _check(hub: Client, instance: str, event: str) -> None:
    """Raise NotFound for a name that differs by a slip from one that the instance waits for, and that is new to it."""
    waited = [one.name or "" for one in hub.get_status(instance, show_input=False).waiting_for if one.kind == "event"]
    if event.casefold() in map(str.casefold, waited) or (meant := find_misspelled(event, waited)) is None:
        return
    known = {record.event.name.casefold() for record in hub.get_history(instance) if isinstance(record.event, _NAMED)}
    if event.casefold() not in known:
        raise NotFound(
            f"{instance} doesn't wait for an event '{event}'; did you mean '{meant}'? --anyway sends it all the same"
        )
