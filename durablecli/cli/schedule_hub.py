"""What the verbs of schedules have in common: the schedules of the app and the hub, and their options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import click

from durablecli.cli.app_loading import load_app_with_warnings
from durablecli.cli.clients import load_settings, open_configured_client, refuse_engine
from durablecli.cli.options import format_exit_codes
from durablecli.cli.output import Output, echo, echo_error
from durablecli.errors import DurableError

if TYPE_CHECKING:  # imports the app's loader
    from durablecli.builtin.schedule_catalog import ScheduleCatalog
    from durablecli.client import Client

EPILOG = format_exit_codes(
    "0 done", "2 usage error", "3 no such schedule", "65 damaged hub", "77 no permission", "78 configuration error"
)
CHANGE_EPILOG = format_exit_codes(
    "0 on disk", "2 usage error", "3 no such schedule", "5 wrong status", "74 storage error", "77 no permission",
    "78 configuration error",
)  # fmt: skip
names_argument = click.argument("names", metavar="NAME...", nargs=-1, required=True)
name_argument = click.argument("name", metavar="NAME")


class HubWithSchedules(NamedTuple):
    """The schedules, and the client of their hub."""

    catalog: ScheduleCatalog
    client: Client


def open_schedules(state_dir: str | None, app: tuple[str, ...]) -> HubWithSchedules:
    """Load the app, and open its hub. Raises UsageError if the settings name another engine."""
    from durablecli.apps.declared_schedules import collect_schedules
    from durablecli.builtin.schedule_catalog import ScheduleCatalog
    from durablecli.client import Client

    config = load_settings(state_dir, app)
    refuse_engine(config)
    loaded = load_app_with_warnings(config)
    client = open_configured_client(config)
    assert isinstance(client, Client)
    return HubWithSchedules(ScheduleCatalog(client, collect_schedules(loaded.registry, config)), client)


def change_all(output: Output, client: Client, names: Sequence[str], change: Callable[[str], None], done: str) -> int:
    """Apply a change to each schedule, print the outcomes, and return the exit code: that of the first error."""
    exit_code = 0
    for name in dict.fromkeys(names):
        try:
            change(name)
        except DurableError as error:
            echo_error(str(error))
            exit_code = exit_code or error.exit_code
            continue
        if output.is_human_readable:
            output.print_line(f"{name}  {done}")
        else:
            output.print_value({"name": name, "result": done})
    if output.is_terminal and not client.engine().alive:
        echo("no daemon is running; the next one takes it over")
    return exit_code
