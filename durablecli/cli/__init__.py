"""The command line: one verb per file, and a file is imported when its verb is asked for."""

from __future__ import annotations

from importlib import import_module

import click
from click.shell_completion import CompletionItem

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
    "functions": "Show what is loaded, from where.",
    "doctor": "Check the files of the hub, and repair them.",
    "completion": "Print the completion script of a shell.",
}


class Verbs(click.Group):
    """A group that knows its verbs by name and loads the one that is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]  # in this package `list` is a verb's module as soon as that is imported

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"durablecli.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        verbs = [CompletionItem(verb, help=text) for verb, text in VERBS.items() if verb.startswith(incomplete)]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([*VERBS.items()])


def _version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"durable {version('durablecli')}")
        ctx.exit()


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 findings or a defect of ours, 2 usage, 3 not found, 4 conflict,"
    " 5 ended or wrong state, 6 outcome Failed, 7 Terminated, 8 time-out, 65 damaged or newer hub,"
    " 74 storage error, 75 hub locked, 77 no permission, 78 configuration, 130 Ctrl-C.",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def durable(ctx: click.Context) -> None:
    """Durable Functions without the cloud: orchestrations in Python, state in plain files."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
