"""`durable start`: the start is on disk when the verb returns; no daemon is needed."""

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


@click.command(
    "start",
    epilog=format_exit_codes(
        "0 started", "2 usage", "3 no such function", "4 id taken", "6/7/8 with --wait", "74 storage error",
        "77 no permission", "78 durable.yaml",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionNameParam("orchestrator"))
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {INPUT_HELP}.")
@click.option(
    "--batch",
    metavar="FILE.jsonl",
    help="One instance per line, the line is its input; all or none. Not with --id, --at, --wait.",
)
@click.option("--id", "instance", type=InstanceIdParam(), metavar="ID", help="Instance id (default: 32 hex digits).")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="An instance has this id: refuse (default), leave it, or end it and start anew.",
)
@click.option("--at", type=TimeParam(), metavar="TIME", help="Not before this time: 2026-12-01T09:00Z (no zone: UTC).")
@click.option("--delay", type=DurationParam(), metavar="DURATION", help="Not before: 90, 10m, 1h30m, 30d from now.")
@click.option("--version", metavar="TEXT", help="Version for context.version (default: default_version).")
@click.option("--wait", "and_wait", is_flag=True, help="Wait for the end, print the output, exit by outcome.")
@click.option("--timeout", type=DurationParam(), metavar="DURATION", help="With --wait: how long at most.")
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
    """Start an orchestration. Returns when the start is on disk; needs no daemon.

    A name that no engine has published is looked up in the modules, and refused if it isn't there either.
    """
    start_at = resolve_due_time(at, delay)
    if batch is not None and any((instance, text, at, delay, and_wait)):
        raise UsageError("--batch goes with --version only: each line is the input of an instance of its own")
    if not name:
        raise UsageError("the orchestrator's name is empty")
    if timeout is not None and not and_wait:
        raise UsageError("--timeout goes with --wait")
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
            echo("no daemon is running: durable run-daemon does the work")
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
        output.print_line(f"started {name}, {len(started)} instances: {started[0]} to {started[-1]}")
    else:
        for one in started:
            output.print_line(one)
