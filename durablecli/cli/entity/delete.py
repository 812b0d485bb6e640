"""`durable entity delete`: takes the state of entities away, with or without a daemon; their own code isn't asked."""

from __future__ import annotations

from functools import partial

import click

from durablecli.cli.bulk import control
from durablecli.cli.offline import mending_client
from durablecli.cli.options import common, entities_argument, exits
from durablecli.cli.output import Screen
from durablecli.client import Client, MessageItem

CODES = exits("0 done", "2 usage", "3 no such entity", "5 it is empty", "74 storage error", "77 no permission")


@click.command("delete", epilog=CODES)
@entities_argument
@click.option(
    "--force",
    is_flag=True,
    help="Drop what waits too, and an operation that runs; callers get a failure. Terminate a lock's holder first.",
)
@common
def command(ids: tuple[str, ...], force: bool, state_dir: str | None, form: str | None) -> int:
    """Take the state of entities away, once what was sent to them before is done."""
    hub = mending_client(state_dir)
    items = [MessageItem(one, force=force) for one in dict.fromkeys(ids)]
    return control(hub, Screen(form), "delete", items, "deleted", late=partial(_waits, hub))


def _waits(hub: Client, entity: str) -> str:
    status = hub.entity(entity)
    if not any(one.kind == "delete" for one in status.queued):
        return ""
    if status.locked_by is not None:
        return f"it waits for the lock of {status.locked_by.instance}; terminate that first"
    return "it waits for what was sent before; --force drops that"
