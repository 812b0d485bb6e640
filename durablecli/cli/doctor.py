"""`durable doctor`: checks the files of a hub, and repairs what can be repaired."""

from __future__ import annotations

import click

from durablecli.cli.clients import open_local_client
from durablecli.cli.options import format_exit_codes, local_options
from durablecli.cli.output import Output
from durablecli.plurals import format_count


@click.command(
    "doctor",
    epilog=format_exit_codes(
        "0 no problems", "1 problems found", "2 usage error", "65 newer hub", "75 hub locked", "77 no permission"
    ),
)
@click.option(
    "--repair",
    "with_repair",
    is_flag=True,
    help="Repair problems (the engine must be stopped). Removed data is kept in damaged/.",
)
@local_options
def command(with_repair: bool, state_dir: str | None, output_format: str | None) -> int:
    """Check every file of the hub. Nothing is changed without --repair."""
    client, output = open_local_client(state_dir), Output(output_format)
    report = client.repair() if with_repair else client.check()
    if not output.is_human_readable:
        output.print_value({"findings": report.findings, "notes": report.notes, "mended": report.repaired})
        return 1 if report.findings else 0
    for note in report.notes:
        output.print_line(f"note     {note}")
    for repair in report.repaired:
        output.print_line(f"repaired {repair}", "green")
    for finding in report.findings:
        output.print_line(f"finding  {finding}", "red")
    nothing = "no problems left" if report.repaired else "no problems found"
    output.print_line(format_count(len(report.findings), "finding") if report.findings else nothing)
    return 1 if report.findings else 0
