"""`durable restart`: starts instances again with the same name and version, and the same or another input."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import click

from durablecli.cli.clients import HubChoice, open_client, open_configured_client
from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.lookup import find_input_rules
from durablecli.cli.options import app_option, common_options, format_exit_codes, ids_argument
from durablecli.cli.output import Output
from durablecli.client import SAME_INPUT, HubClient
from durablecli.errors import UsageError

if TYPE_CHECKING:
    from durablecli.config import Config

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
@click.option("--anyway", is_flag=True, help="Accept another input that doesn't fit the orchestrator.")
@app_option
@common_options
def command(
    ids: tuple[str, ...],
    same_id: bool,
    text: str | None,
    edit: bool,
    anyway: bool,
    app: tuple[str, ...],
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Start instances again, and print the new ids.

    Another input is checked as that of durable start.
    """
    from durablecli.cli.bulk import for_each

    if edit and (text is not None or len(ids) > 1):
        raise UsageError("--edit is for one instance, and not together with --input")
    output = Output(output_format)
    config = None if text is None and not edit else hub.load_settings(app)
    client = open_client(hub) if config is None else open_configured_client(config, check_names=not anyway)
    value = SAME_INPUT if text is None else read_value(text)
    if edit:
        value = _edit_input(client, ids[0])
    check = None if config is None or anyway else _make_input_check(client, config, value)
    started: list[dict[str, str]] = []

    def restart_one(instance: str) -> None:
        if check is not None:
            check(instance)
        new = client.restart(instance, not same_id, client_input=value)
        started.append({"instanceId": new, "restartOf": instance})
        if output.is_human_readable:
            output.print_line(f"restarted {instance}: {new}" if output.is_terminal else new)

    code = for_each(ids, restart_one)
    if not output.is_human_readable:
        output.print_values(started)
    return code


def _make_input_check(client: HubClient, config: Config, value: Any) -> Callable[[str], None]:
    """Return a function that raises InvalidInput if the orchestrator of an instance can't take another input."""
    from durablecli.model.payloads import encode

    rules_of = cache(lambda name: find_input_rules(client, config, name, None))  # it may load the modules

    def check(instance: str) -> None:
        name = client.get_status(instance).name
        if name is not None and (rules := rules_of(name)) is not None:
            rules.check(encode(value))

    return check


def _edit_input(client: HubClient, instance: str) -> Any:
    """Let the user edit the input of an instance, as JSON. Raises UsageError if that isn't saved, or isn't JSON."""
    import json

    status = client.get_status(instance)
    before = json.dumps(status.input_, indent=2, ensure_ascii=False) + "\n"
    edited = click.edit(before, extension=".json")
    if edited is None:
        raise UsageError("the input wasn't saved: nothing was started")
    return read_value(edited)
