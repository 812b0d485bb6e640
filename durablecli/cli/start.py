"""`durable start`: starts an orchestration; the start is on disk when the command returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from durablecli.cli.clients import HubChoice, lacks_engine, open_configured_client
from durablecli.cli.input_values import read_batch
from durablecli.cli.lookup import check_orchestrator, find_input_rules, warn_unchecked
from durablecli.cli.options import app_option, common_options, format_exit_codes, resolve_due_time, tag_option
from durablecli.cli.output import Output, echo
from durablecli.cli.param_types import DurationParam, FunctionNameParam, InstanceIdParam, TimeParam
from durablecli.cli.typed_inputs import GivenInput, StartingCommand, check_batch, input_options, make_input
from durablecli.errors import UsageError
from durablecli.plurals import format_count

if TYPE_CHECKING:  # only named: a verb imports the client when it has parsed its arguments
    from durablecli.client import HubClient


@click.command(
    "start",
    cls=StartingCommand,
    epilog=format_exit_codes(
        "0 started", "2 usage error", "3 no such function", "4 id exists", "6, 7, 8 with --wait",
        "69 engine unreachable",
        "74 storage error", "77 no permission", "78 invalid durable.yaml",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionNameParam("orchestrator"))
@input_options
@click.option(
    "--batch",
    metavar="FILE.jsonl",
    help="Start one instance per line, with the line as its input; all or none.",
)
@click.option("--id", "instance", type=InstanceIdParam(), metavar="ID", help="Instance id. Default: a random one.")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="If the id exists: fail, skip, or terminate and replace it. Default: fail.",
)
@click.option(
    "--at", type=TimeParam(), metavar="TIME", help="Earliest time to start, such as 2026-12-01T09:00Z (UTC if no zone)."
)
@click.option(
    "--delay",
    type=DurationParam(),
    metavar="DURATION",
    help="Earliest start from now: 90 (seconds), 10m, 1h30m or 30d.",
)
@click.option("--version", metavar="TEXT", help="Version (context.version). Default: default_version in durable.yaml.")
@tag_option("A tag for the instance and its sub-orchestrations; repeatable.")
@click.option(
    "--wait", "and_wait", is_flag=True, help="Wait until it has ended, print the output, exit as durable wait."
)
@click.option("--timeout", type=DurationParam(), metavar="DURATION", help="Longest time to wait (with --wait).")
@click.option("--anyway", is_flag=True, help="Accept a name that isn't found, and an input that doesn't fit.")
@app_option
@common_options
def command(
    name: str,
    given: GivenInput,
    batch: str | None,
    instance: str | None,
    if_exists: str,
    at: datetime | None,
    delay: timedelta | None,
    version: str | None,
    tags: dict[str, str],
    and_wait: bool,
    timeout: timedelta | None,
    anyway: bool,
    app: tuple[str, ...],
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Start an orchestration; no daemon needed. The start is on disk when the command returns.

    The name is checked against the functions of the running engine, or else of the modules. An unknown name is refused,
    unless the engine serves remote code: then it waits for a worker that runs it. With --engine no name is checked.
    """
    start_at = resolve_due_time(at, delay)
    if batch is not None and any((instance, given.is_given, at, delay, and_wait)):
        raise UsageError("--batch can't be combined with --id, --input, --param, --at, --delay or --wait")
    if not name:
        raise UsageError("the orchestrator name is empty")
    if timeout is not None and not and_wait:
        raise UsageError("--timeout needs --wait")
    config = hub.load_settings(app)
    client = open_configured_client(config, check_names=not anyway)
    version = version or config.default_version
    output = Output(output_format)
    inputs = None if batch is None else read_batch(batch)
    checked = None if anyway else check_orchestrator(client, config, name)
    rules = find_input_rules(client, config, name, checked)
    if batch is not None and inputs is not None:
        check_batch(batch, inputs, None if anyway else rules)
        _print_started_batch(output, name, client.start_many(name, inputs.values(), version, tags=tags))
        return 0
    value = make_input(name, given, rules, checks=not anyway)
    started = client.start_new(name, instance, value, version, if_exists=if_exists, start_at=start_at, tags=tags)
    if checked is not None and not checked.is_known:
        warn_unchecked(config, name)
    if not and_wait:
        _print_started(output, name, started, client)
        return 0
    from durablecli.cli.outcome import wait_and_print

    return wait_and_print(client, output, started, timeout)


def _print_started(output: Output, name: str, started: str, client: HubClient) -> None:
    if not output.is_human_readable:
        output.print_value({"instanceId": started, "name": name})
    elif output.is_terminal:
        output.print_line(f"started {name}: {started}")
    else:
        output.print_line(started)
    if output.is_terminal and output.is_human_readable and lacks_engine(client):
        echo("no daemon is running; start one with: durable run-daemon")


def _print_started_batch(output: Output, name: str, started: Sequence[str]) -> None:
    if not output.is_human_readable:
        output.print_values({"instanceId": one, "name": name} for one in started)
    elif output.is_terminal:
        output.print_line(f"started {format_count(len(started), 'instance')} of {name}: {started[0]} to {started[-1]}")
    else:
        for one in started:
            output.print_line(one)
