"""`durable wait`: waits until instances have ended; their outcome is the exit code."""

from __future__ import annotations

import time
from datetime import timedelta

import click

from durablecli.cli.clients import HubChoice, open_client
from durablecli.cli.options import common_options, format_exit_codes, ids_argument, traceback_option
from durablecli.cli.output import Output
from durablecli.cli.param_types import DurationParam


@click.command(
    "wait",
    epilog=format_exit_codes(
        "0 Completed",
        "2 usage error",
        "3 no such instance",
        "6 Failed",
        "7 Terminated",
        "8 timeout",
        "69 engine unreachable",
        "130 Ctrl-C",
    ),
)
@ids_argument
@click.option(
    "--timeout", type=DurationParam(), metavar="DURATION", help="Longest time to wait, for all instances together."
)
@traceback_option
@common_options
def command(
    ids: tuple[str, ...],
    timeout: timedelta | None,
    with_traceback: bool,
    hub: HubChoice,
    output_format: str | None,
) -> int:
    """Wait until instances have ended, and print their outputs."""
    from durablecli.cli.bulk import for_each
    from durablecli.cli.outcome import wait_and_print

    client, output = open_client(hub), Output(output_format)
    until = None if timeout is None else time.monotonic() + timeout.total_seconds()

    def wait_for_one(instance: str) -> int:
        left = None if until is None else timedelta(seconds=max(0.0, until - time.monotonic()))
        return wait_and_print(client, output, instance, left, traceback=with_traceback)

    return for_each(ids, wait_for_one)
