"""`durable entity delete`: deletes the state of entities without running their code, with or without a daemon."""

from __future__ import annotations

from functools import partial

import click

from durablecli.cli.bulk import submit_and_report
from durablecli.cli.offline import open_local_offline_client
from durablecli.cli.options import entities_argument, format_exit_codes, local_options
from durablecli.cli.output import Output
from durablecli.client import Client, MessageItem

EPILOG = format_exit_codes(
    "0 done", "2 usage error", "3 no such entity", "5 already empty", "74 storage error", "77 no permission"
)


@click.command("delete", epilog=EPILOG)
@entities_argument
@click.option(
    "--force",
    is_flag=True,
    help="Also drop queued and running operations, which fail for their callers. A lock is not released.",
)
@local_options
def command(ids: tuple[str, ...], force: bool, state_dir: str | None, output_format: str | None) -> int:
    """Delete the state of entities, once the operations sent before are done."""
    client = open_local_offline_client(state_dir)
    items = [MessageItem(one, force=force) for one in dict.fromkeys(ids)]
    return submit_and_report(
        client, Output(output_format), "delete", items, "deleted", why_queued=partial(_why_queued, client)
    )


def _why_queued(client: Client, entity: str) -> str:
    status = client.entity(entity)
    if not any(one.kind == "delete" for one in status.queued):
        return ""
    if status.locked_by is not None:
        return f"waiting for the lock that {status.locked_by.instance} holds; terminate that instance first"
    return "waiting for operations sent before; --force drops them"
