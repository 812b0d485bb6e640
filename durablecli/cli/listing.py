"""Lists in pages: what the lists of instances and of entities have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from durablecli.cli.output import echo
from durablecli.client import DurableOrchestrationStatus, EntityStatus, Page
from durablecli.model.status import InstanceSummary

F = TypeVar("F", bound=Callable[..., Any])
ReadStatus = Callable[[str], DurableOrchestrationStatus | EntityStatus]
SORT_KEYS = ("created", "updated", "name", "id", "status")


def paging_options(function: F) -> F:
    """Add `--sort`, `--reverse`, `--limit`, `--cursor` and `--count`."""
    for option in (
        click.option("--count", "only_count", is_flag=True, help="Print only the number of matches."),
        click.option("--cursor", metavar="TEXT", help="Continue after the previous page."),
        click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Rows per page."),
        click.option("--reverse", is_flag=True, help="Reverse the order."),
        click.option(
            "--sort",
            type=click.Choice(SORT_KEYS),
            default="created",
            help="Sort key; times are sorted newest first. Default: created.",
        ),
    ):
        function = option(function)
    return function


def hint_next_page(page: Page) -> None:
    """Print how to see the next page."""
    if page.cursor:
        echo(f"more: --cursor {page.cursor}")


def iter_payloads(page: Page, read_status: ReadStatus) -> Iterator[dict[str, Any]]:
    """Yield the payload of each row's status; a row that was purged since the page was read is left out."""
    for row in page.rows:
        if status := read_status(row.id):
            yield status.payload()


def format_obstruction(row: InstanceSummary) -> str:
    """Format why the engine can't run an instance or entity; empty if it can."""
    for label, reason in (("quarantined", row.set_aside), ("blocked", row.blocked)):
        if reason is not None:
            first, *_ = reason.splitlines() or [""]
            return f"{label}: {first}"
    return ""
