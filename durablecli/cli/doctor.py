"""`durable doctor`: checks the files of a hub against the invariants, and repairs what can be repaired."""

from __future__ import annotations

import click

from durablecli.cli.options import client, common, exits
from durablecli.cli.output import Screen


@click.command(
    "doctor",
    epilog=exits("0 nothing found", "1 findings", "2 usage", "65 newer hub", "75 hub locked", "77 no permission"),
)
@click.option("--repair", is_flag=True, help="Mend what was found; no engine may run. What is cut off is kept beside.")
@common
def command(repair: bool, state_dir: str | None, form: str | None) -> int:
    """Check every file of the hub. Writes nothing without --repair."""
    hub, screen = client(state_dir), Screen(form)
    report = hub.repair() if repair else hub.check()
    if not screen.for_people:
        screen.one({"findings": report.findings, "notes": report.notes, "mended": report.repaired})
        return 1 if report.findings else 0
    for note in report.notes:
        screen.line(f"note     {note}")
    for mended in report.repaired:
        screen.line(f"mended   {mended}", "green")
    for finding in report.findings:
        screen.line(f"finding  {finding}", "red")
    found = len(report.findings)
    screen.line(f"{found} finding{'' if found == 1 else 's'}" if found else "nothing found", None)
    return 1 if report.findings else 0
