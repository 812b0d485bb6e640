"""The command line: one verb per module, imported when the verb is used.

A verb is a line in `VERBS` and a module with a `command`; the verbs of entities are in `cli/entity`.
"""

from __future__ import annotations

import click

from durablecli.cli.lazy_group import LazyGroup
from durablecli.cli.options import format_exit_codes

VERBS = {
    "init": "Start a project: a workflow, its test, and the settings.",
    "start": "Start an orchestration; no daemon needed.",
    "run": "Run an orchestration to its end and print its output.",
    "run-daemon": "Run the engine in the foreground.",
    "dev": "Run the engine with the dashboard, and reload changed code.",
    "status": "Show an instance's status and what it is waiting for.",
    "history": "Show the history of an instance.",
    "logs": "Show what an instance has printed and logged.",
    "list": "List instances.",
    "wait": "Wait until instances have ended.",
    "raise-event": "Send an external event to an instance.",
    "terminate": "Terminate instances.",
    "suspend": "Pause instances.",
    "resume": "Resume suspended instances.",
    "rewind": "Retry the failed work of failed instances.",
    "restart": "Start instances again, with the same or another input.",
    "fork": "Continue a copy of an instance from an earlier record.",
    "purge": "Delete instances and their histories.",
    "entity": "Signal, show, list, delete and purge entities.",
    "schedule": "List, pause, resume and trigger schedules.",
    "hooks": "List hooks, and send a sample event to one.",
    "functions": "List the loaded functions and where they are defined.",
    "doctor": "Check the files of the hub and repair them.",
    "completion": "Print a shell completion script.",
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
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=format_exit_codes(
        "0 done", "1 findings or internal error", "2 usage error", "3 not found", "4 conflict", "5 wrong status",
        "6 outcome Failed", "7 outcome Terminated", "8 timeout", "65 damaged or newer hub", "69 engine out of reach",
        "74 storage error", "75 hub locked", "77 no permission", "78 configuration error", "130 Ctrl-C",
    ),
)  # fmt: skip
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def durable(ctx: click.Context) -> None:
    """Durable Functions without the cloud: orchestrations in Python, state in plain files."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
