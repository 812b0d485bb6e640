"""`durable start`: the start is on disk when the verb returns; no daemon is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from durablecli.cli.input_values import EXPLAINED, read_batch, read_value
from durablecli.cli.lookup import anyway_option, check_orchestrator, say_unchecked
from durablecli.cli.options import (
    Duration,
    FunctionName,
    InstanceId,
    Time,
    app_option,
    client,
    common,
    due,
    exits,
    settings,
)
from durablecli.cli.output import Screen, say
from durablecli.errors import UsageError


@click.command(
    "start",
    epilog=exits(
        "0 started", "2 usage", "3 no such function", "4 id taken", "6/7/8 with --wait", "74 storage error",
        "77 no permission", "78 durable.yaml",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionName("orchestrator"))
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {EXPLAINED}.")
@click.option(
    "--batch",
    metavar="FILE.jsonl",
    help="One instance per line, the line is its input; all or none. Not with --id, --at, --wait.",
)
@click.option("--id", "instance", type=InstanceId(), metavar="ID", help="Instance id (default: 32 hex digits).")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="An instance has this id: refuse (default), leave it, or end it and start anew.",
)
@click.option("--at", type=Time(), metavar="TIME", help="Not before this time: 2026-12-01T09:00Z (no zone: UTC).")
@click.option("--delay", type=Duration(), metavar="DURATION", help="Not before: 90, 10m, 1h30m, 30d from now.")
@click.option("--version", metavar="TEXT", help="Version for context.version (default: default_version).")
@click.option("--wait", "and_wait", is_flag=True, help="Wait for the end, print the output, exit by outcome.")
@click.option("--timeout", type=Duration(), metavar="DURATION", help="With --wait: how long at most.")
@anyway_option
@app_option
@common
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
    form: str | None,
) -> int:
    """Start an orchestration. Returns when the start is on disk; needs no daemon.

    A name that no engine has published is looked up in the modules, and refused if it isn't there either.
    """
    start_at = due(at, delay)
    if batch is not None and any((instance, text, at, delay, and_wait)):
        raise UsageError("--batch goes with --version only: each line is the input of an instance of its own")
    if not name:
        raise UsageError("the orchestrator's name is empty")
    if timeout is not None and not and_wait:
        raise UsageError("--timeout goes with --wait")
    config = settings(state_dir, app)
    hub = client(config.state_dir, check_names=not anyway)
    version = version or config.default_version
    screen = Screen(form)
    inputs = None if batch is None else read_batch(batch)
    value = None if text is None else read_value(text)
    checked = anyway or check_orchestrator(hub, config, name)
    if inputs is not None:
        _tell_batch(screen, name, hub.start_many(name, inputs, version))
        return 0
    started = hub.start_new(name, instance, value, version, if_exists=if_exists, start_at=start_at)
    if not checked:
        say_unchecked(config, name)
    if not and_wait:
        _tell(screen, name, started)
        if screen.terminal and screen.for_people and not hub.engine().alive:
            say("no daemon is running: durable run-daemon does the work")
        return 0
    from durablecli.cli.outcome import await_end

    return await_end(hub, screen, started, timeout)


def _tell(screen: Screen, name: str, started: str) -> None:
    if not screen.for_people:
        screen.one({"instanceId": started, "name": name})
    elif screen.terminal:
        screen.line(f"started {name}: {started}")
    else:
        screen.line(started)


def _tell_batch(screen: Screen, name: str, started: Sequence[str]) -> None:
    if not screen.for_people:
        screen.many({"instanceId": one, "name": name} for one in started)
    elif screen.terminal:
        screen.line(f"started {name}, {len(started)} instances: {started[0]} to {started[-1]}")
    else:
        for one in started:
            screen.line(one)
