"""`durable hooks list`: lists the hooks of the settings."""

from __future__ import annotations

import click

from durablecli.cli.clients import load_settings
from durablecli.cli.options import format_exit_codes, output_option
from durablecli.cli.output import Output, echo
from durablecli.durations import format_length

HEADER = ("NO", "HOOK", "TARGET", "FOR", "TIMEOUT", "ATTEMPTS")


@click.command("list", epilog=format_exit_codes("0 done", "2 usage error", "78 configuration error"))
@output_option
def command(output_format: str | None) -> None:
    """List the hooks that durable.yaml configures. No daemon is needed.

    HOOK is the event and a number. FOR has the patterns of orchestrators, and says if sub-orchestrations count.
    """
    from durablecli.builtin.hook_samples import ConfiguredHook, list_hooks

    def format_row(number: int, hook: ConfiguredHook) -> tuple[str, ...]:
        config = hook.config
        names = ", ".join(hook.patterns) + (" and children" if config.children else "")
        return str(number), hook.name, hook.label, names, format_length(config.timeout), str(config.attempts)

    hooks, output = list_hooks(load_settings().on), Output(output_format)
    if not output.is_human_readable:
        output.print_values(each.payload() for each in hooks)
    elif not hooks:
        echo('no hooks; declare one in durable.yaml: "on: {failed: [{run: ./notify.sh}]}"')
    else:
        rows = [format_row(number, each) for number, each in enumerate(hooks, 1)]
        output.print_table(HEADER, rows, optional_columns=(4, 5), elastic=2)
