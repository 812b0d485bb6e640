"""`durable restart`: starts instances once more, with the name, input and version they had."""

from __future__ import annotations

import click

from durablecli.cli.options import client, common, exits, ids_argument
from durablecli.cli.output import Screen

CODES = exits("0 started", "2 usage", "3 no such instance", "4 conflict", "5 it hasn't ended", "74 storage error")


@click.command("restart", epilog=CODES)
@ids_argument
@click.option("--same-id", is_flag=True, help="Under its own id, if it has ended. Default: a new id.")
@common
def command(ids: tuple[str, ...], same_id: bool, state_dir: str | None, form: str | None) -> int:
    """Start instances once more with the same input; prints the ids they run under."""
    from durablecli.cli.bulk import each

    hub, screen = client(state_dir), Screen(form)
    started: list[dict[str, str]] = []

    def one(instance: str) -> None:
        new = hub.restart(instance, not same_id)
        started.append({"instanceId": new, "restartOf": instance})
        if screen.for_people:
            screen.line(f"restarted {instance}: {new}" if screen.terminal else new)

    code = each(ids, one)
    if not screen.for_people:
        screen.many(started)
    return code
