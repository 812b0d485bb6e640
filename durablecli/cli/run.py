"""`durable run`: runs an orchestration to its end, in this process unless a daemon runs, and shows its progress."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext, redirect_stdout, suppress
from signal import Signals
from typing import TYPE_CHECKING

import click

from durablecli.cli.app_loading import load_app_with_warnings, print_code_notice
from durablecli.cli.clients import load_settings, open_local_client, refuse_engine
from durablecli.cli.options import app_option, format_exit_codes, local_options, tag_option, traceback_option
from durablecli.cli.output import Output, echo
from durablecli.cli.param_types import FunctionNameParam, InstanceIdParam
from durablecli.cli.typed_inputs import GivenInput, RunningCommand, input_options, make_input
from durablecli.errors import DurableError, NotFound
from durablecli.os_signals import Interrupted, SignalHandler

if TYPE_CHECKING:
    from durablecli.apps.modules import LoadedApp
    from durablecli.client import DurableOrchestrationStatus
    from durablecli.config import Config


@click.command(
    "run",
    cls=RunningCommand,
    epilog=format_exit_codes(
        "0 Completed", "2 usage error", "3 no such function, or purged", "4 id exists", "6 Failed", "7 Terminated",
        "65 damaged or newer hub", "74 storage error", "77 no permission", "78 no function loads", "130 Ctrl-C",
        "143 SIGTERM",
    ),
)  # fmt: skip
@click.argument("name", type=FunctionNameParam("orchestrator"))
@input_options
@click.option("--id", "instance", type=InstanceIdParam(), metavar="ID", help="Instance id. Default: a random one.")
@click.option(
    "--if-exists",
    type=click.Choice(["fail", "skip", "replace"]),
    default="fail",
    help="If the id exists: fail, run that instance (skip), or terminate and replace it. Default: fail.",
)
@click.option("--version", metavar="TEXT", help="Version (context.version). Default: default_version in durable.yaml.")
@tag_option("A tag for the instance and its sub-orchestrations; repeatable.")
@click.option("--all", "everything", is_flag=True, help="Do the work of all other instances too.")
@traceback_option
@app_option
@local_options
def command(
    name: str,
    given: GivenInput,
    instance: str | None,
    if_exists: str,
    version: str | None,
    tags: dict[str, str],
    everything: bool,
    with_traceback: bool,
    app: tuple[str, ...],
    state_dir: str | None,
    output_format: str | None,
) -> int:
    """Run an orchestration to its end and print its output; no daemon needed, except for code of workers.

    This command does the work of the instance, of what it starts, and of the entities that they use. All other
    instances wait for a daemon, unless --all is given. At the end, activities that are still running get time to
    finish (`drain` in durable.yaml, 10 s by default).

    Ctrl-C and SIGTERM stop the command and leave the instance Running; the next run or daemon continues it. Press
    Ctrl-C again to exit immediately.
    """
    with SignalHandler(echo, raises=True) as signals:
        try:
            config = load_settings(state_dir, app)
            if state_dir is None:
                refuse_engine(config)
            loaded = _load_app(config, name)
            function = loaded.registry.find_orchestrator(name)
            value = make_input(name, given, None if function is None else function.input_rules)
        except Interrupted as stopped:
            echo(f"stopped by {Signals(stopped.args[0]).name}; nothing was started")
            raise
        client = open_local_client(config.state_dir)
        version = version or config.default_version
        with signals.raise_on_signal(False):
            started = client.start_new(name, instance, value, version, if_exists=if_exists, tags=tags)
        print_code_notice(config.state_dir)
        return _run_to_end(config, loaded, started, Output(output_format), signals, everything, with_traceback)


def _load_app(config: Config, name: str) -> LoadedApp:
    from durablecli.apps.load_warnings import no_function_error
    from durablecli.client import unknown_orchestrator_error

    loaded = load_app_with_warnings(config)
    if loaded.registry.find_orchestrator(name) is None and _is_for_running_engine(config, name):
        return loaded
    if not len(loaded.registry):
        raise no_function_error(config)
    if loaded.registry.find_orchestrator(name) is None:
        raise unknown_orchestrator_error(name, (one.name for one in loaded.registry if one.kind == "orchestrator"))
    return loaded


def _is_for_running_engine(config: Config, name: str) -> bool:
    """Whether the engine that runs drives an orchestration that can't be loaded here.

    It may have loaded the code before a mistake was saved, or serve workers: then any name may be one of theirs.
    """
    with suppress(DurableError, OSError):
        client = open_local_client(config.state_dir)
        published = client.published() if client.engine().alive else None
        return client.workers() is not None or (published is not None and published.has_orchestrator(name))
    return False


def _run_to_end(
    config: Config,
    loaded: LoadedApp,
    instance: str,
    output: Output,
    signals: SignalHandler,
    everything: bool,
    with_traceback: bool,
) -> int:
    client = open_local_client(config.state_dir)
    with suppress(Interrupted):
        _run_engine(config, loaded, instance, output, signals, everything)
    status = client.get_status(instance)
    if not status:
        raise NotFound(f"{instance} was purged before it ended")
    if not status.ended and signals.received is not None:
        stopped = Signals(signals.received).name
        echo(f"stopped by {stopped}; {_describe_next_engine(status)} {instance}")
        return signals.exit_code
    from durablecli.cli.outcome import print_outcome

    return print_outcome(output, status, traceback=with_traceback)


def _describe_next_engine(status: DurableOrchestrationStatus) -> str:
    """Say which engine continues an instance that this process has left."""
    if not status.engine.alive or status.engine.pid == os.getpid():
        return "the next durable run-daemon continues"
    if status.status_name == "Pending":  # the engine may be one that runs another instance alone
        return "the running engine, or the next durable run-daemon, continues"
    return "the running engine continues"


def _run_engine(
    config: Config, loaded: LoadedApp, instance: str, output: Output, signals: SignalHandler, everything: bool
) -> None:
    from durablecli.cli.progress import Progress
    from durablecli.daemon.instance_run import run_until_ended

    client = open_local_client(config.state_dir)
    # In a pipe, stdout is for the output alone; what functions print goes to stderr.
    redirected = nullcontext() if output.is_terminal else redirect_stdout(sys.stderr)
    progress = Progress(client.live_history(instance), plain=not output.can_draw_bars)
    with redirected, output.show_live(progress.render_lines, progress.render_summary):
        run_until_ended(config, config.state_dir, loaded, instance, signals, all_instances=everything, echo=echo)
