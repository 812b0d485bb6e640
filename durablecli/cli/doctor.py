"""`durable doctor`: checks the files of a hub against the invariants, and repairs what can be repaired."""

from __future__ import annotations

import click

from durablecli.cli.options import common_options, format_exit_codes, open_client
from durablecli.cli.output import Output


@click.command(
    "doctor",
    epilog=format_exit_codes(
        "0 nothing found", "1 findings", "2 usage", "65 newer hub", "75 hub locked", "77 no permission"
    ),
)
@click.option("--repair", is_flag=True, help="Mend what was found; no engine may run. What is cut off is kept beside.")
@common_options
def command(repair: bool, state_dir: str | None, output_format: str | None) -> int:
    """Check every file of the hub. Writes nothing without --repair."""
    client, output = open_client(state_dir), Output(output_format)
    report = client.repair() if repair else client.check()
    if not output.is_human_readable:
        output.print_value({"findings": report.findings, "notes": report.notes, "mended": report.repaired})
        return 1 if report.findings else 0
    for note in report.notes:
        output.print_line(f"note     {note}")
    for mended in report.repaired:
        output.print_line(f"mended   {mended}", "green")
    for finding in report.findings:
        output.print_line(f"finding  {finding}", "red")
    found = len(report.findings)
    output.print_line(f"{found} finding{'' if found == 1 else 's'}" if found else "nothing found", None)
    return 1 if report.findings else 0
