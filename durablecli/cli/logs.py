"""`durable logs`: shows what an instance or entity has printed and logged; with --follow as it is written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from durablecli.cli.clients import open_local_client
from durablecli.cli.options import any_id_argument, format_exit_codes, local_options
from durablecli.cli.output import Output, echo
from durablecli.model.log_entry import parse_work

if TYPE_CHECKING:
    from durablecli.client import LogEntry


@click.command(
    "logs",
    epilog=format_exit_codes("0 done", "2 usage error", "3 no such instance", "77 no permission", "130 Ctrl-C"),
)
@any_id_argument
@click.option("-f", "--follow", is_flag=True, help="Show new lines as they are written, until the instance has ended.")
@click.option(
    "--activity",
    metavar="N|NAME",
    help="Only the activity with this number in the history, or activities of this name; of an entity, an operation.",
)
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N entries.")
@click.option("--utc", is_flag=True, help="Show times in UTC. Default: the local time zone.")
@local_options
def command(
    instance: str,
    follow: bool,
    activity: str | None,
    tail: int | None,
    utc: bool,
    state_dir: str | None,
    output_format: str | None,
) -> None:
    """Show what an instance has printed and logged; also of an entity, such as @counter@a."""
    client, output = open_local_client(state_dir), Output(output_format)
    selected = parse_work(activity) if activity is not None else None
    if follow and output.format in ("json", "yaml"):
        raise click.UsageError("--follow needs the table or -o jsonl")
    if follow:
        found = _print_entries(output, client.follow_logs(instance, activity=selected, tail=tail), utc=utc, flush=True)
    else:
        found = _print_entries(output, client.get_logs(instance, activity=selected, tail=tail), utc=utc, flush=False)
    if not found and tail != 0:
        about = "" if activity is None else f" in {activity if isinstance(selected, str) else f'activity {activity}'}"
        echo(f"{instance} has printed and logged nothing{about}")


def _print_entries(output: Output, entries: Iterable[LogEntry], *, utc: bool, flush: bool) -> bool:
    """Print entries as they come; return whether there were any."""
    if output.format in ("json", "yaml"):
        listed = list(entries)
        output.print_values(listed)
        return bool(listed)
    from durablecli.cli.log_text import LogText

    text, found = LogText(output, entries if isinstance(entries, list) else [], utc=utc), False
    for entry in entries:
        found = True
        if output.format == "jsonl":
            output.print_value(entry)
        else:
            text.print_entry(entry)
        if flush:
            output.flush()
    return found
