"""`durable restart`: starts instances again with the same name and version, and the same or another input."""

from __future__ import annotations

from typing import Any

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.options import common_options, format_exit_codes, ids_argument
from durablecli.cli.output import Output
from durablecli.client import SAME_INPUT, HubClient
from durablecli.errors import UsageError

EPILOG = format_exit_codes(
    "0 started",
    "2 usage error",
    "3 no such instance",
    "4 conflict",
    "5 not ended",
    "69 engine unreachable",
    "74 storage error",
)


@click.command("restart", epilog=EPILOG)
@ids_argument
@click.option("--same-id", is_flag=True, help="Keep the id; the instance must have ended. Default: a new id.")
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Another input: {INPUT_HELP}.")
@click.option("--edit", is_flag=True, help="Edit the input in $VISUAL or $EDITOR first; for one instance.")
@common_options
def command(
    ids: tuple[str, ...], same_id: bool, text: str | None, edit: bool, hub: HubChoice, output_format: str | None
) -> int:
    """Start instances again, and print the new ids."""
    from durablecli.cli.bulk import for_each

    if edit and (text is not None or len(ids) > 1):
        raise UsageError("--edit is for one instance, and not together with --input")
    client, output = open_client(hub), Output(output_format)
    value = SAME_INPUT if text is None else read_value(text)
    if edit:
        value = _edit_input(client, ids[0])
    started: list[dict[str, str]] = []

    def restart_one(instance: str) -> None:
        new = client.restart(instance, not same_id, client_input=value)
        started.append({"instanceId": new, "restartOf": instance})
        if output.is_human_readable:
            output.print_line(f"restarted {instance}: {new}" if output.is_terminal else new)

    code = for_each(ids, restart_one)
    if not output.is_human_readable:
        output.print_values(started)
    return code


def _edit_input(client: HubClient, instance: str) -> Any:
    """Let the user edit the input of an instance, as JSON. Raises UsageError if that isn't saved, or isn't JSON."""
    import json

    status = client.get_status(instance)
    before = json.dumps(status.input_, indent=2, ensure_ascii=False) + "\n"
    edited = click.edit(before, extension=".json")
    if edited is None:
        raise UsageError("the input wasn't saved: nothing was started")
    return read_value(edited)
