"""`durable start`: starts an orchestration; the start is on disk when the command returns."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from durablecli.cli.input_values import INPUT_HELP, read_batch, read_value
from durablecli.cli.lookup import anyway_option, check_orchestrator, warn_unchecked
from durablecli.cli.options import (
    DurationParam,
    FunctionNameParam,
    InstanceIdParam,
    TimeParam,
    app_option,
    common_options,
    format_exit_codes,
    load_settings,
    open_client,
    resolve_due_time,
)
from durablecli.cli.output import Output, echo
from durablecli.errors import UsageError
from durablecli.plurals import format_count


@click.command(
    "start",
    epilog=format_exit_codes(
        "0 started", "2 usage error", "3 no such function", "4 id exists", "6, 7, 8 with --wait",
        "74 storage error", "77 no permission", "78 invalid durable.yaml",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionNameParam("orchestrator"))
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {INPUT_HELP}.")
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
@click.option(
    "--wait", "and_wait", is_flag=True, help="Wait until it has ended, print the output, exit as durable wait."
)
@click.option("--timeout", type=DurationParam(), metavar="DURATION", help="Longest time to wait (with --wait).")
@anyway_option
@app_option
@common_options
def command(
    name: str,
    text: str | None,
    batch: str | None,
    instance: str | None,
    if_exists: str,
    at: datetime | None,
    delay: timedelta | None,
    version: str | None,
    and_wait: bool,
    timeout: timedelta | None,
    anyway: bool,
    app: tuple[str, ...],
    state_dir: str | None,
    output_format: str | None,
) -> int:
    """Start an orchestration; no daemon needed. The start is on disk when the command returns.

    The name is checked against the functions of the running engine, or else of the modules. An unknown name is refused.
    """
    start_at = resolve_due_time(at, delay)
    if batch is not None and any((instance, text, at, delay, and_wait)):
        raise UsageError("--batch can't be combined with --id, --input, --at, --delay or --wait")
    if not name:
        raise UsageError("the orchestrator name is empty")
    if timeout is not None and not and_wait:
        raise UsageError("--timeout needs --wait")
    config = load_settings(state_dir, app)
    client = open_client(config.state_dir, check_names=not anyway)
    version = version or config.default_version
    output = Output(output_format)
    inputs = None if batch is None else read_batch(batch)
    value = None if text is None else read_value(text)
    checked = anyway or check_orchestrator(client, config, name)
    if inputs is not None:
        _print_started_batch(output, name, client.start_many(name, inputs, version))
        return 0
    started = client.start_new(name, instance, value, version, if_exists=if_exists, start_at=start_at)
    if not checked:
        warn_unchecked(config, name)
    if not and_wait:
        _print_started(output, name, started)
        if output.is_terminal and output.is_human_readable and not client.engine().alive:
            echo("no daemon is running; start one with: durable run-daemon")
        return 0
    from durablecli.cli.outcome import wait_and_print

    return wait_and_print(client, output, started, timeout)


def _print_started(output: Output, name: str, started: str) -> None:
    if not output.is_human_readable:
        output.print_value({"instanceId": started, "name": name})
    elif output.is_terminal:
        output.print_line(f"started {name}: {started}")
    else:
        output.print_line(started)


def _print_started_batch(output: Output, name: str, started: Sequence[str]) -> None:
    if not output.is_human_readable:
        output.print_values({"instanceId": one, "name": name} for one in started)
    elif output.is_terminal:
        output.print_line(f"started {format_count(len(started), 'instance')} of {name}: {started[0]} to {started[-1]}")
    else:
        for one in started:
            output.print_line(one)
