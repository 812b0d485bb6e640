"""`durable run`: runs an orchestration to its end, in this process unless a daemon runs, and shows its progress."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout, suppress
from signal import Signals
from typing import TYPE_CHECKING

import click

from durablecli.cli.app_loading import load_app_with_warnings
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
from durablecli.cli.output import Output, echo
from durablecli.errors import NotFound
from durablecli.os_signals import Interrupted, SignalHandler

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.config import Config


@click.command(
    "run",
    epilog=format_exit_codes(
        "0 Completed", "2 usage error", "3 no such function, or purged", "4 id exists", "6 Failed", "7 Terminated",
        "65 damaged or newer hub", "74 storage error", "77 no permission", "78 no function loads", "130 Ctrl-C",
        "143 SIGTERM",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionNameParam("orchestrator"))
@click.option("--input", "text", metavar="JSON|@FILE|-", help=f"Input: {INPUT_HELP}.")
@click.option("--id", "instance", type=InstanceIdParam(), metavar="ID", help="Instance id. Default: a random one.")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="If the id exists: fail, run that instance (skip), or terminate and replace it. Default: fail.",
)
@click.option("--version", metavar="TEXT", help="Version (context.version). Default: default_version in durable.yaml.")
@click.option("--all", "everything", is_flag=True, help="Do the work of all other instances too.")
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
    """Run an orchestration to its end and print its output; no daemon needed.

    This command does the work of the instance, of what it starts, and of the entities that they use. All other
    instances wait for a daemon, unless --all is given. At the end, activities that are still running get time to
    finish (`drain` in durable.yaml, 10 s by default).

    Ctrl-C and SIGTERM stop the command and leave the instance Running; the next run or daemon continues it. Press
    Ctrl-C again to exit immediately.
    """
    value = None if text is None else read_value(text)
    with SignalHandler(echo, raises=True) as signals:
        try:
            config = load_settings(state_dir, app)
            loaded = _load_app(config, name)
        except Interrupted as stopped:
            echo(f"stopped by {Signals(stopped.args[0]).name}; nothing was started")
            raise
        client = open_client(config.state_dir)
        version = version or config.default_version
        with signals.raise_on_signal(False):
            started = client.start_new(name, instance, value, version, if_exists=if_exists)
        return _run_to_end(config, loaded, started, Output(output_format), signals, everything)


def _load_app(config: Config, name: str) -> LoadedApp:
    from durablecli.apps.load_warnings import no_function_error
    from durablecli.client import unknown_orchestrator_error

    loaded = load_app_with_warnings(config)
    if not len(loaded.registry):
        raise no_function_error(config)
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
        stopped = Signals(signals.received).name
        echo(f"stopped by {stopped}; the next durable run-daemon continues {instance}")
        return signals.exit_code
    from durablecli.cli.outcome import print_outcome

    return print_outcome(output, status)


def _run_engine(
    config: Config, loaded: LoadedApp, instance: str, output: Output, signals: SignalHandler, everything: bool
) -> None:
    from durablecli.cli.progress import Progress
    from durablecli.daemon.instance_run import run_until_ended

    client = open_client(config.state_dir)
    # In a pipe, stdout is for the output alone; what functions print goes to stderr.
    redirected = nullcontext() if output.is_terminal else redirect_stdout(sys.stderr)
    with (
        redirected,
        output.show_live(Progress(client.follower(instance), explain_waits=client.explain_waits).render_lines),
    ):
        run_until_ended(config, config.state_dir, loaded, instance, signals, all_instances=everything, echo=echo)
