"""`durable init`: writes the files of a new project."""

from __future__ import annotations

import os
import shlex
from importlib.util import find_spec

import click

from durablecli.cli.options import format_exit_codes
from durablecli.cli.output import Output
from durablecli.errors import UsageError

_RUN = """durable run hello --input '{"names": ["Ada", "Grace"]}'"""


@click.command(
    "init",
    epilog=format_exit_codes(
        "0 done", "1 a file can't be written", "2 usage error", "4 all files exist already", "77 no permission"
    ),
)
@click.argument("folder", metavar="[DIR]", default=os.curdir, type=click.Path(file_okay=False))
@click.option("--systemd", is_flag=True, help="Also write durable.service, a unit file for the daemon.")
def command(folder: str, systemd: bool) -> int:
    """Start a project in a folder: a workflow, its test, durable.yaml and a .gitignore.

    Files that exist are kept as they are.
    """
    from durablecli.scaffold.new_project import UNIT_FILE, create_project

    if not folder:
        raise UsageError("the folder is an empty text; leave it out for the current folder")
    output = Output(None)
    project = create_project(folder, with_unit=systemd)
    for path in project.created:
        output.print_line(f"created  {os.path.normpath(os.path.join(folder, path))}")
    for path in project.kept:
        output.print_line(f"kept     {os.path.normpath(os.path.join(folder, path))}, which exists already")
    output.print_line()
    for text in _list_next_steps(folder):
        output.print_line(f"  {text}")
    if UNIT_FILE in project.created:
        output.print_line(
            f"  systemctl --user enable --now {shlex.quote(os.path.abspath(os.path.join(folder, UNIT_FILE)))}"
        )
    return 0


def _list_next_steps(folder: str) -> list[str]:
    """Return the commands that test and run the new project; pytest is no dependency, and may have to be installed."""
    enter = [] if os.path.samefile(folder, os.curdir) else [f"cd {shlex.quote(folder)}"]
    test = "pytest" if find_spec("pytest") is not None else "pip install pytest && pytest"
    return [*enter, test, "durable dev", _RUN]
