"""`durable status`: shows the status of instances and entities, and what they are waiting for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from durablecli.cli.options import any_ids_argument, common_options, format_exit_codes, open_client
from durablecli.cli.output import Output
from durablecli.errors import InstanceSetAside, NotFound
from durablecli.model.entity_id import is_entity_id

if TYPE_CHECKING:
    from durablecli.client import Client, DurableOrchestrationStatus, EntityStatus


@click.command(
    "status",
    epilog=format_exit_codes("0 found", "2 usage error", "3 no such instance", "65 damaged hub", "77 no permission"),
)
@any_ids_argument
@click.option("--show-input", is_flag=True, help="Also show the input.")
@common_options
def command(ids: tuple[str, ...], show_input: bool, state_dir: str | None, output_format: str | None) -> int:
    """Show an instance's status and what it is waiting for; also of an entity, such as @counter@a."""
    return print_statuses(open_client(state_dir), Output(output_format), ids, show_input=show_input)


def print_statuses(client: Client, output: Output, ids: tuple[str, ...], *, show_input: bool = False) -> int:
    """Print the status of each instance or entity; return the highest exit code.

    One that is quarantined is shown as far as it can be read, and counts as an error.
    """
    from durablecli.cli import status_text
    from durablecli.cli.bulk import for_each

    found: list[DurableOrchestrationStatus | EntityStatus] = []

    def print_one(id: str) -> None:
        status = client.entity(id) if is_entity_id(id) else client.get_status(id, show_input=show_input)
        if not status:
            raise NotFound(f"no {'entity' if is_entity_id(id) else 'instance'} '{id}' in {client.root}")
        found.append(status)
        if output.is_human_readable:
            if len(found) > 1:
                output.print_line()
            status_text.print_status(output, status, show_input=show_input)
        if status.set_aside is not None:
            raise InstanceSetAside(f"{id} is quarantined: {status.set_aside.reason}")

    code = for_each(ids, print_one)
    if not output.is_human_readable:
        payloads = [status.payload() for status in found]
        if len(ids) == 1 and payloads:
            output.print_value(payloads[0])
        else:
            output.print_values(payloads)
    return code
