"""`durable status`: shows the status of instances and entities, and what they are waiting for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from durablecli.cli.app_loading import print_code_notice
from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.options import (
    any_ids_argument,
    common_options,
    format_exit_codes,
    history_options,
    traceback_option,
)
from durablecli.cli.output import Output, echo
from durablecli.cli.time_format import current_time
from durablecli.errors import InstanceSetAside, NotFound, UsageError
from durablecli.model.entity_id import is_entity_id

if TYPE_CHECKING:
    from durablecli.client import DurableOrchestrationStatus, EntityStatus, HubClient


@click.command(
    "status",
    epilog=format_exit_codes(
        "0 found",
        "2 usage error",
        "3 no such instance",
        "65 damaged hub",
        "69 engine unreachable",
        "77 no permission",
        "130 Ctrl-C",
    ),
)
@any_ids_argument
@click.option("--show-input", is_flag=True, help="Also show the input; JSON and YAML always have it.")
@click.option("-w", "--watch", is_flag=True, help="Show the progress of one instance until it has ended.")
@traceback_option
@history_options
@common_options
def command(
    ids: tuple[str, ...],
    show_input: bool,
    watch: bool,
    with_traceback: bool,
    full: bool,
    utc: bool,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Show an instance's status and what it is waiting for; also of an entity, such as @counter@a.

    With --engine it isn't known what an instance is waiting for.
    """
    client, output = open_client(hub), Output(output_format)
    if watch:
        _check_watchable(ids, output)
        watch_until_ended(client, output, ids[0], utc=utc)
    code = print_statuses(client, output, ids, show_input=show_input, traceback=with_traceback, full=full, utc=utc)
    if not client.is_foreign:
        print_code_notice(client.location)
    return code


def _has_ended(status: DurableOrchestrationStatus | EntityStatus) -> bool:
    """Whether there is nothing that an instance could wait for."""
    from durablecli.client import EntityStatus

    return isinstance(status, EntityStatus) or status.ended


def _check_watchable(ids: tuple[str, ...], output: Output) -> None:
    if not output.is_human_readable:
        raise UsageError("--watch needs the table; durable wait ID -o json waits for the end")
    if len(ids) > 1 or is_entity_id(ids[0]):
        raise UsageError("--watch needs the id of one instance")


def watch_until_ended(client: HubClient, output: Output, instance: str, *, utc: bool) -> None:
    """Show the progress of an instance until it has ended. Ctrl-C doesn't affect the instance."""
    from durablecli.cli.progress import Progress

    now = partial(current_time, utc=utc)
    progress = Progress(client.live_history(instance), now=now, plain=not output.can_draw_bars)
    try:
        with output.show_live(progress.render_lines, progress.render_summary):
            client.wait(instance)
    except KeyboardInterrupt:
        echo(f"stopped watching; {instance} is not affected")
        raise


def print_statuses(
    client: HubClient,
    output: Output,
    ids: tuple[str, ...],
    *,
    show_input: bool = False,
    traceback: bool = False,
    full: bool = False,
    utc: bool = False,
) -> int:
    """Print the status of each instance or entity; return the highest exit code.

    One that is quarantined is shown as far as it can be read, and counts as an error.
    """
    from durablecli.cli import status_text
    from durablecli.cli.bulk import for_each

    found: list[DurableOrchestrationStatus | EntityStatus] = []
    reads_input = show_input or not output.is_human_readable  # null would look like an input

    def print_one(id: str) -> None:
        status = client.entity(id) if is_entity_id(id) else client.get_status(id, show_input=reads_input)
        if not status:
            raise NotFound(f"no {'entity' if is_entity_id(id) else 'instance'} '{id}' in {client.location}")
        found.append(status)
        if output.is_human_readable:
            if len(found) > 1:
                output.print_line()
            status_text.print_status(output, status, current_time(utc=utc), show_input=show_input, full=full)
            if traceback:
                status_text.print_tracebacks(output, status)
        if status.set_aside is not None:
            raise InstanceSetAside(f"{id} is quarantined: {status.set_aside.reason}")

    code = for_each(ids, print_one)
    if output.is_human_readable and any(status.partial and not _has_ended(status) for status in found):
        echo("the Durable Task protocol doesn't tell what an instance waits for")
    if not output.is_human_readable:
        payloads = [status.payload() for status in found]
        if len(ids) == 1 and payloads:
            output.print_value(payloads[0])
        else:
            output.print_values(payloads)
    return code
