"""`durable start`: the start is on disk when the verb returns; no daemon and no user code is needed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from durablecli.cli.inputs import EXPLAINED, read_batch, read_value
from durablecli.cli.options import Duration, FunctionName, InstanceId, Time, client, common, due, exits, settings
from durablecli.cli.render import Screen, say
from durablecli.errors import UsageError

if TYPE_CHECKING:
    from durablecli.client import Client


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
    state_dir: str | None,
    form: str | None,
) -> int:
    """Start an orchestration. Returns when the start is on disk; needs no daemon."""
    start_at = due(at, delay)
    if batch is not None and any((instance, text, at, delay, and_wait)):
        raise UsageError("--batch goes with --version only: each line is the input of an instance of its own")
    if not name:
        raise UsageError("the orchestrator's name is empty")
    if timeout is not None and not and_wait:
        raise UsageError("--timeout goes with --wait")
    config = settings(state_dir)
    hub = client(config.state_dir)
    version = version or config.default_version
    screen = Screen(form)
    if batch is not None:
        inputs = read_batch(batch)
        _doubt(hub, name)
        _tell_batch(screen, name, hub.start_many(name, inputs, version))
        return 0
    value = None if text is None else read_value(text)
    _doubt(hub, name)
    started = hub.start_new(name, instance, value, version, if_exists=if_exists, start_at=start_at)
    if not and_wait:
        _tell(screen, name, started)
        if screen.terminal and screen.for_people and not hub.engine().alive:
            say("no daemon is running: durable run-daemon does the work")
        return 0
    from durablecli.cli.outcome import await_end

    return await_end(hub, screen, started, timeout)


def _doubt(hub: Client, name: str) -> None:
    """No engine runs to refuse an unknown name: say once that the last one didn't know it."""
    published = hub.published()
    if not hub.engine().alive and published is not None and not published.has_orchestrator(name):
        say(f"durable: {published.unknown(name)} (of the last engine); started all the same")


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
