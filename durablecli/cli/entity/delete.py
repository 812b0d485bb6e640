"""`durable entity delete`: takes the state of entities away, with or without a daemon; their own code isn't asked."""

from __future__ import annotations

from functools import partial

import click

from durablecli.cli.bulk import submit_and_report
from durablecli.cli.offline import open_offline_client
from durablecli.cli.options import common_options, entities_argument, format_exit_codes
from durablecli.cli.output import Output
from durablecli.client import Client, MessageItem

EPILOG = format_exit_codes(
    "0 done", "2 usage", "3 no such entity", "5 it is empty", "74 storage error", "77 no permission"
)


@click.command("delete", epilog=EPILOG)
@entities_argument
@click.option(
    "--force",
    is_flag=True,
    help="Drop what waits too, and an operation that runs; callers get a failure. Terminate a lock's holder first.",
)
@common_options
def command(ids: tuple[str, ...], force: bool, state_dir: str | None, output_format: str | None) -> int:
    """Take the state of entities away, once what was sent to them before is done."""
    client = open_offline_client(state_dir)
    items = [MessageItem(one, force=force) for one in dict.fromkeys(ids)]
    return submit_and_report(
        client, Output(output_format), "delete", items, "deleted", why_queued=partial(_why_queued, client)
    )


def _why_queued(client: Client, entity: str) -> str:
    status = client.entity(entity)
    if not any(one.kind == "delete" for one in status.queued):
        return ""
    if status.locked_by is not None:
        return f"it waits for the lock of {status.locked_by.instance}; terminate that first"
    return "it waits for what was sent before; --force drops that"
