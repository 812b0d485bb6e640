"""Lists page by page: the options that those of instances and of entities share, and how to see what follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from durablecli.cli.output import echo
from durablecli.client import Page

F = TypeVar("F", bound=Callable[..., Any])
SORT_KEYS = ("created", "updated", "name", "id", "status")


def paging_options(function: F) -> F:
    """`--sort`, `--reverse`, `--limit`, `--cursor` and `--count`."""
    for option in (
        click.option("--count", "only_count", is_flag=True, help="Print only how many there are."),
        click.option("--cursor", metavar="TEXT", help="Go on where the last page ended."),
        click.option(
            "--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Rows of a page."
        ),
        click.option("--reverse", is_flag=True, help="The other way round."),
        click.option(
            "--sort", type=click.Choice(SORT_KEYS), default="created", help="Times: newest first; else lowest first."
        ),
    ):
        function = option(function)
    return function


def hint_next_page(page: Page) -> None:
    """Say how to see what follows."""
    if page.cursor:
        echo(f"more: --cursor {page.cursor}")
