"""`durable restart`: starts instances again with the same name, input and version."""

from __future__ import annotations

import click

from durablecli.cli.options import common_options, format_exit_codes, ids_argument, open_client
from durablecli.cli.output import Output

EPILOG = format_exit_codes(
    "0 started", "2 usage error", "3 no such instance", "4 conflict", "5 not ended", "74 storage error"
)


@click.command("restart", epilog=EPILOG)
@ids_argument
@click.option("--same-id", is_flag=True, help="Keep the id; the instance must have ended. Default: a new id.")
@common_options
def command(ids: tuple[str, ...], same_id: bool, state_dir: str | None, output_format: str | None) -> int:
    """Start instances again with the same input, and print the new ids."""
    from durablecli.cli.bulk import for_each

    client, output = open_client(state_dir), Output(output_format)
    started: list[dict[str, str]] = []

    def restart_one(instance: str) -> None:
        new = client.restart(instance, not same_id)
        started.append({"instanceId": new, "restartOf": instance})
        if output.is_human_readable:
            output.print_line(f"restarted {instance}: {new}" if output.is_terminal else new)

    code = for_each(ids, restart_one)
    if not output.is_human_readable:
        output.print_values(started)
    return code
