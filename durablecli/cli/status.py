"""`durable status`: how instances stand, and what they wait for."""

from __future__ import annotations

import click

from durablecli.cli.options import client, common, exits, ids_argument
from durablecli.cli.render import Screen
from durablecli.errors import NotFound


@click.command("status", epilog=exits("0 found", "2 usage", "3 no such instance", "65 damaged hub", "77 no permission"))
@ids_argument
@click.option("--show-input", is_flag=True, help="Show the input too.")
@common
def command(ids: tuple[str, ...], show_input: bool, state_dir: str | None, form: str | None) -> int:
    """Say how instances stand, and what they wait for."""
    from durablecli.cli.explain import show
    from durablecli.cli.several import each

    hub, screen = client(state_dir), Screen(form)
    found = []

    def one(instance: str) -> None:
        status = hub.get_status(instance, show_input=show_input)
        if not status:
            raise NotFound(f"no instance '{instance}' in {hub.root}")
        found.append(status)
        if screen.for_people:
            if len(found) > 1:
                screen.line()
            show(screen, status, show_input=show_input)

    code = each(ids, one)
    if not screen.for_people:
        payloads = [status.payload() for status in found]
        if len(ids) == 1 and payloads:
            screen.one(payloads[0])
        else:
            screen.many(payloads)
    return code
