"""`durable entity delete`: takes the state of entities away, with or without a daemon; their own code isn't asked."""

from __future__ import annotations

from functools import partial

import click

from durablecli.cli.mending import mending_client
from durablecli.cli.options import common, entities_argument, exits
from durablecli.cli.render import Screen
from durablecli.cli.several import control
from durablecli.client import Client, Item

CODES = exits("0 done", "2 usage", "3 no such entity", "5 it is empty", "74 storage error", "77 no permission")


@click.command("delete", epilog=CODES)
@entities_argument
@common
def command(ids: tuple[str, ...], state_dir: str | None, form: str | None) -> int:
    """Take the state of entities away, once what was sent to them before is done."""
    hub = mending_client(state_dir)
    items = [Item(one) for one in dict.fromkeys(ids)]
    return control(hub, Screen(form), "delete", items, "deleted", late=partial(_waits, hub))


def _waits(hub: Client, entity: str) -> bool:
    return any(one.kind == "delete" for one in hub.entity(entity).queued)
