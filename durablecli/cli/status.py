"""`durable status`: how instances and entities stand, and what they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from durablecli.cli.options import any_ids_argument, client, common, exits
from durablecli.cli.output import Screen
from durablecli.errors import InstanceSetAside, NotFound
from durablecli.model.entity_id import is_entity_id

if TYPE_CHECKING:
    from durablecli.client import Client, DurableOrchestrationStatus, EntityStatus


@click.command("status", epilog=exits("0 found", "2 usage", "3 no such instance", "65 damaged hub", "77 no permission"))
@any_ids_argument
@click.option("--show-input", is_flag=True, help="Show the input too.")
@common
def command(ids: tuple[str, ...], show_input: bool, state_dir: str | None, form: str | None) -> int:
    """Say how instances stand, and what they wait for; entities, as @counter@a, too."""
    return tell(client(state_dir), Screen(form), ids, show_input=show_input)


def tell(hub: Client, screen: Screen, ids: tuple[str, ...], *, show_input: bool = False) -> int:
    """Say how each of them stands, be it an instance or an entity; the highest exit code.

    One that is set aside is shown as far as it can be read, and counts as an error.
    """
    from durablecli.cli import status_text
    from durablecli.cli.bulk import each

    found: list[DurableOrchestrationStatus | EntityStatus] = []

    def one(id: str) -> None:
        status = hub.entity(id) if is_entity_id(id) else hub.get_status(id, show_input=show_input)
        if not status:
            raise NotFound(f"no {'entity' if is_entity_id(id) else 'instance'} '{id}' in {hub.root}")
        found.append(status)
        if screen.for_people:
            if len(found) > 1:
                screen.line()
            status_text.show(screen, status, show_input=show_input)
        if status.set_aside is not None:
            raise InstanceSetAside(f"{id} is set aside: {status.set_aside.reason}")

    code = each(ids, one)
    if not screen.for_people:
        payloads = [status.payload() for status in found]
        if len(ids) == 1 and payloads:
            screen.one(payloads[0])
        else:
            screen.many(payloads)
    return code
