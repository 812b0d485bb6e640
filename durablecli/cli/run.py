"""`durable run`: starts an orchestration, does the work in this process if no daemon does, and shows how it gets on."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout, suppress
from signal import Signals as Name
from typing import TYPE_CHECKING

import click

from durablecli.cli.input_values import EXPLAINED, read_value
from durablecli.cli.options import FunctionName, InstanceId, app_option, client, common, exits, settings
from durablecli.cli.output import Screen, complain, say
from durablecli.errors import NotFound
from durablecli.signals import Interrupted, Signals

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.config import Config


@click.command(
    "run",
    epilog=exits(
        "0 Completed", "2 usage", "3 no such function, or purged", "4 id taken", "6 Failed", "7 Terminated",
        "65 damaged or newer hub", "74 storage error", "77 no permission", "78 no function loads", "130 Ctrl-C",
        "143 SIGTERM",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionName("orchestrator"))
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {EXPLAINED}.")
@click.option("--id", "instance", type=InstanceId(), metavar="ID", help="Instance id (default: 32 hex digits).")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="An instance has this id: refuse (default), go on with it, or end it and start anew.",
)
@click.option("--version", metavar="TEXT", help="Version for context.version (default: default_version).")
@click.option("--all", "everything", is_flag=True, help="Do the work of all other instances too, meanwhile.")
@app_option
@common
def command(
    name: str,
    text: str | None,
    instance: str | None,
    if_exists: str,
    version: str | None,
    everything: bool,
    app: tuple[str, ...],
    state_dir: str | None,
    form: str | None,
) -> int:
    """Start an orchestration, work until it has ended, print its output. Needs no daemon.

    It works on this instance, on what that starts, and on the entities that these need; all other instances wait for a
    daemon, unless --all is given. Before it ends, activities that still run may finish: `drain` in durable.yaml says
    how long (10 s).

    Ctrl-C and SIGTERM leave the instance Running: it goes on with the next run or daemon. A second one ends at once.
    """
    value = None if text is None else read_value(text)
    with Signals(say, interrupts=True) as signals:
        try:
            config = settings(state_dir, app)
            loaded = _load(config, name)
        except Interrupted as stopped:
            say(f"stopped by {Name(stopped.args[0]).name}; nothing was started")
            raise
        hub = client(config.state_dir)
        version = version or config.default_version
        with signals.interrupting(False):
            started = hub.start_new(name, instance, value, version, if_exists=if_exists)
        return _work(config, loaded, started, Screen(form), signals, everything)


def _load(config: Config, name: str) -> LoadedApp:
    from durablecli.apps.load import load_configured
    from durablecli.cli.functions import troubles
    from durablecli.client import unknown_orchestrator
    from durablecli.errors import ConfigError

    with redirect_stdout(sys.stderr):
        loaded = load_configured(config)
    for line in troubles(loaded):
        complain(line)
    if not len(loaded.registry):
        raise ConfigError(f"no function is loaded from {', '.join(config.app) or 'anywhere: make a folder workflows/'}")
    if loaded.registry.find_orchestrator(name) is None:
        raise unknown_orchestrator(name, (one.name for one in loaded.registry if one.kind == "orchestrator"))
    return loaded


def _work(config: Config, loaded: LoadedApp, instance: str, screen: Screen, signals: Signals, everything: bool) -> int:
    hub = client(config.state_dir)
    with suppress(Interrupted):
        _drive(config, loaded, instance, screen, signals, everything)
    status = hub.get_status(instance)
    if not status:
        raise NotFound(f"{instance} was purged before it ended")
    if not status.ended and signals.received is not None:
        stopped = Name(signals.received).name
        say(f"stopped by {stopped}: {instance} goes on with the next durable run-daemon; durable wait {instance}")
        return signals.exit_code
    from durablecli.cli.outcome import show_outcome

    return show_outcome(screen, status)


def _drive(
    config: Config, loaded: LoadedApp, instance: str, screen: Screen, signals: Signals, everything: bool
) -> None:
    from durablecli.cli.progress import Progress
    from durablecli.daemon import work_until

    hub = client(config.state_dir)
    # In a pipe stdout is for the output alone: what functions print is for whoever watches.
    aside = nullcontext() if screen.terminal else redirect_stdout(sys.stderr)
    with aside, screen.live(Progress(hub.tail(instance), tell=hub.told).lines):
        work_until(config, config.state_dir, loaded, instance, signals, everything=everything, say=say)
