"""`durable wait`: until instances have ended, with their outcome as the exit code."""

from __future__ import annotations

import time
from datetime import timedelta

import click

from durablecli.cli.options import Duration, client, common, exits, ids_argument
from durablecli.cli.output import Screen


@click.command(
    "wait",
    epilog=exits(
        "0 Completed", "2 usage", "3 no such instance", "6 Failed", "7 Terminated", "8 time-out", "130 Ctrl-C"
    ),
)
@ids_argument
@click.option("--timeout", type=Duration(), metavar="DURATION", help="How long at most, for all of them together.")
@common
def command(ids: tuple[str, ...], timeout: timedelta | None, state_dir: str | None, form: str | None) -> int:
    """Wait until instances have ended; print their outputs."""
    from durablecli.cli.bulk import each
    from durablecli.cli.outcome import await_end

    hub, screen = client(state_dir), Screen(form)
    until = None if timeout is None else time.monotonic() + timeout.total_seconds()

    def one(instance: str) -> int:
        left = None if until is None else timedelta(seconds=max(0.0, until - time.monotonic()))
        return await_end(hub, screen, instance, left)

    return each(ids, one)
