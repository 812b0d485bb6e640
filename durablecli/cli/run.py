"""`durable run`: starts an orchestration, does the work in this process if no daemon does, and shows how it gets on."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout, suppress
from signal import Signals as Name
from typing import TYPE_CHECKING

import click

from durablecli.cli.input_values import INPUT_HELP, read_value
from durablecli.cli.options import (
    FunctionNameParam,
    InstanceIdParam,
    app_option,
    common_options,
    format_exit_codes,
    load_settings,
    open_client,
)
from durablecli.cli.output import Output, echo, echo_error
from durablecli.errors import NotFound
from durablecli.signals import Interrupted, SignalHandler

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.config import Config


@click.command(
    "run",
    epilog=format_exit_codes(
        "0 Completed", "2 usage", "3 no such function, or purged", "4 id taken", "6 Failed", "7 Terminated",
        "65 damaged or newer hub", "74 storage error", "77 no permission", "78 no function loads", "130 Ctrl-C",
        "143 SIGTERM",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionNameParam("orchestrator"))
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {INPUT_HELP}.")
@click.option("--id", "instance", type=InstanceIdParam(), metavar="ID", help="Instance id (default: 32 hex digits).")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="An instance has this id: refuse (default), go on with it, or end it and start anew.",
)
@click.option("--version", metavar="TEXT", help="Version for context.version (default: default_version).")
@click.option("--all", "everything", is_flag=True, help="Do the work of all other instances too, meanwhile.")
@app_option
@common_options
def command(
    name: str,
    text: str | None,
    instance: str | None,
    if_exists: str,
    version: str | None,
    everything: bool,
    app: tuple[str, ...],
    state_dir: str | None,
    output_format: str | None,
) -> int:
    """Start an orchestration, work until it has ended, print its output. Needs no daemon.

    It works on this instance, on what that starts, and on the entities that these need; all other instances wait for a
    daemon, unless --all is given. Before it ends, activities that still run may finish: `drain` in durable.yaml says
    how long (10 s).

    Ctrl-C and SIGTERM leave the instance Running: it goes on with the next run or daemon. A second one ends at once.
    """
    value = None if text is None else read_value(text)
    with SignalHandler(echo, raises=True) as signals:
        try:
            config = load_settings(state_dir, app)
            loaded = _load_app(config, name)
        except Interrupted as stopped:
            echo(f"stopped by {Name(stopped.args[0]).name}; nothing was started")
            raise
        client = open_client(config.state_dir)
        version = version or config.default_version
        with signals.raise_on_signal(False):
            started = client.start_new(name, instance, value, version, if_exists=if_exists)
        return _run_to_end(config, loaded, started, Output(output_format), signals, everything)


def _load_app(config: Config, name: str) -> LoadedApp:
    from durablecli.apps.load import load_configured
    from durablecli.cli.functions import load_warnings
    from durablecli.client import unknown_orchestrator_error
    from durablecli.errors import ConfigError

    with redirect_stdout(sys.stderr):
        loaded = load_configured(config)
    for line in load_warnings(loaded):
        echo_error(line)
    if not len(loaded.registry):
        raise ConfigError(f"no function is loaded from {', '.join(config.app) or 'anywhere: make a folder workflows/'}")
    if loaded.registry.find_orchestrator(name) is None:
        raise unknown_orchestrator_error(name, (one.name for one in loaded.registry if one.kind == "orchestrator"))
    return loaded


def _run_to_end(
    config: Config, loaded: LoadedApp, instance: str, output: Output, signals: SignalHandler, everything: bool
) -> int:
    client = open_client(config.state_dir)
    with suppress(Interrupted):
        _run_engine(config, loaded, instance, output, signals, everything)
    status = client.get_status(instance)
    if not status:
        raise NotFound(f"{instance} was purged before it ended")
    if not status.ended and signals.received is not None:
        stopped = Name(signals.received).name
        echo(f"stopped by {stopped}: {instance} goes on with the next durable run-daemon; durable wait {instance}")
        return signals.exit_code
    from durablecli.cli.outcome import print_outcome

    return print_outcome(output, status)


def _run_engine(
    config: Config, loaded: LoadedApp, instance: str, output: Output, signals: SignalHandler, everything: bool
) -> None:
    from durablecli.cli.progress import Progress
    from durablecli.daemon.instance_run import run_until_ended

    client = open_client(config.state_dir)
    # In a pipe stdout is for the output alone: what functions print is for whoever watches.
    redirected = nullcontext() if output.is_terminal else redirect_stdout(sys.stderr)
    with (
        redirected,
        output.show_live(Progress(client.follower(instance), explain_waits=client.explain_waits).render_lines),
    ):
        run_until_ended(config, config.state_dir, loaded, instance, signals, all_instances=everything, echo=echo)
