"""Lists in pages: what the lists of instances and of entities have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click
from msgspec import Raw

from durablecli.cli.json_text import cut_text, decode_raw
from durablecli.cli.output import Output, echo
from durablecli.client import DurableOrchestrationStatus, EntityStatus, Page
from durablecli.model.status import InstanceSummary

F = TypeVar("F", bound=Callable[..., Any])
ReadStatus = Callable[[str], DurableOrchestrationStatus | EntityStatus]
_PAYLOAD_KEYS = ("input", "output", "customStatus", "state")
_MAX_PAYLOAD_LENGTH = 2_000
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


def print_payloads(output: Output, page: Page, read_status: ReadStatus, *, full: bool) -> None:
    """Print the payload of each row's status; a row that was purged since the page was read is left out.

    Unless `full`, of an input, output, custom status or state that is long only the beginning is printed, as a string.
    """
    was_cut = False

    def payloads() -> Iterator[dict[str, Any]]:
        nonlocal was_cut
        for row in page.rows:
            if status := read_status(row.id):
                payload = status.payload()
                was_cut |= not full and _cut_payloads(payload)
                yield payload

    output.print_values(payloads())
    if was_cut:
        echo("long payloads are cut; --full shows them whole")


def _cut_payloads(payload: dict[str, Any]) -> bool:
    """Replace the long values of a payload; return whether there were any."""
    texts = {key: decode_raw(value) for key in _PAYLOAD_KEYS if isinstance(value := payload.get(key), Raw)}
    long = {key: text for key, text in texts.items() if len(text) > _MAX_PAYLOAD_LENGTH}
    payload |= {key: cut_text(text, _MAX_PAYLOAD_LENGTH) for key, text in long.items()}
    return bool(long)


def format_obstruction(row: InstanceSummary) -> str:
    """Format why the engine can't run an instance or entity; empty if it can."""
    for label, reason in (("quarantined", row.set_aside), ("blocked", row.blocked)):
        if reason is not None:
            first, *_ = reason.splitlines() or [""]
            return f"{label}: {first}"
    return ""
