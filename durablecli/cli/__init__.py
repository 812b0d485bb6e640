"""The command line: one verb per file, and a file is imported when its verb is asked for."""

from __future__ import annotations

import click

from durablecli.cli.lazy_group import LazyGroup

VERBS = {
    "start": "Start an orchestration; needs no daemon.",
    "run": "Start an orchestration, do its work here, print its output.",
    "run-daemon": "Run the engine in the foreground.",
    "status": "Say how an instance stands and what it waits for.",
    "history": "Show the history of an instance.",
    "list": "List instances.",
    "wait": "Wait until instances have ended.",
    "raise-event": "Send an external event to an instance.",
    "terminate": "End instances at once.",
    "suspend": "Hold instances where they are.",
    "resume": "Let suspended instances go on.",
    "rewind": "Send failed work of failed instances again.",
    "restart": "Start an instance again with the same input.",
    "purge": "Delete instances and their histories.",
    "entity": "Signal, show, list, delete and purge entities.",
    "functions": "Show what is loaded, from where.",
    "doctor": "Check the files of the hub, and repair them.",
    "completion": "Print the completion script of a shell.",
}


def _print_version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"durable {version('durablecli')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    verbs=VERBS,
    package=__name__,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 findings or a defect of ours, 2 usage, 3 not found, 4 conflict,"
    " 5 ended or wrong state, 6 outcome Failed, 7 Terminated, 8 time-out, 65 damaged or newer hub,"
    " 74 storage error, 75 hub locked, 77 no permission, 78 configuration, 130 Ctrl-C.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def durable(ctx: click.Context) -> None:
    """Durable Functions without the cloud: orchestrations in Python, state in plain files."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
