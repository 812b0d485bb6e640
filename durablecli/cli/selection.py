"""The instances that a verb applies to: given by ids, or by a filter whose matches have to be confirmed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import wraps
from typing import Any, NamedTuple, TypeVar

import click

from durablecli.cli.bulk import for_each
from durablecli.cli.options import tag_option
from durablecli.cli.output import Output, echo
from durablecli.cli.param_types import STATUSES_HELP, FunctionNameParam, InstanceIdParam, PastTimeParam, StatusesParam
from durablecli.client import HubClient, MessageItem, Query
from durablecli.errors import UsageError
from durablecli.plurals import format_count

T = TypeVar("T")
_FILTERS = ("name", "status", "prefix", "tags", "created_after", "created_before")


class Selection(NamedTuple):
    """Ids or filters, as given on the command line. A filter that isn't given is None."""

    ids: tuple[str, ...]
    filters: dict[str, Any]
    dry_run: bool
    yes: bool

    def created_before(self, limit: datetime) -> Selection:
        """Return the selection, limited to instances that were created at or before the limit."""
        given = self.filters["created_before"]
        return self._replace(filters=self.filters | {"created_before": limit if given is None else min(given, limit)})


def selection_options(function: Callable[..., int]) -> Callable[..., int]:
    """Add ids, filters, `--dry-run` and `--yes`; the function receives them as one `selection`."""

    @wraps(function)
    def command(ids: tuple[str, ...], dry_run: bool, yes: bool, **options: Any) -> int:
        filters = {name: options.pop(name) for name in _FILTERS}
        filters["tags"] = filters["tags"] or None
        return function(selection=Selection(ids, filters, dry_run=dry_run, yes=yes), **options)

    for option in (
        click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
        click.option(
            "--created-before",
            type=PastTimeParam(),
            metavar="TIME|AGE",
            help="Filter: created at or before TIME, or at least AGE ago.",
        ),
        click.option(
            "--created-after",
            type=PastTimeParam(),
            metavar="TIME|AGE",
            help="Filter: created at or after TIME, or within the last AGE, such as 1h.",
        ),
        tag_option("Filter: instances with this tag; repeatable, and all must match."),
        click.option("--prefix", metavar="TEXT", help="Filter: ids that start with TEXT."),
        click.option("--status", type=StatusesParam(), metavar="STATUS,...", help=f"Filter: {STATUSES_HELP}."),
        click.option(
            "--name",
            type=FunctionNameParam("orchestrator"),
            metavar="FUNCTION",
            help="Filter: the orchestrator.",
        ),
        click.argument("ids", metavar="[ID]...", nargs=-1, type=InstanceIdParam()),
    ):
        command = option(command)
    return command


def choose_ids(
    client: HubClient,
    verb: str,
    selection: Selection,
    output: Output,
    *,
    allowed: Iterable[str] = (),
    force: bool = False,
) -> list[str]:
    """Return the ids to act on; none if nothing matches. `allowed` are the statuses that the verb applies to.

    For a dry run, print what the verb would apply to and exit.
    """
    filtered = any(value is not None for value in selection.filters.values())
    if filtered == bool(selection.ids):
        raise UsageError(f"give either ids or a filter: 'durable {verb} ID' or 'durable {verb} --prefix TEXT'")
    chosen = list(dict.fromkeys(selection.ids)) or _find_matching(client, selection.filters, tuple(allowed))
    if selection.dry_run:
        items = [MessageItem(id, force=force) for id in chosen]
        raise click.exceptions.Exit(_preview_instances(client, output, verb, items))
    if filtered and not chosen:
        echo(f"no instance matches the filter: nothing to {verb}")
    elif filtered and not selection.yes:
        confirm(verb, chosen)
    return chosen


def _find_matching(client: HubClient, filters: dict[str, Any], allowed: tuple[str, ...]) -> list[str]:
    wanted = filters.get("status") or allowed
    if allowed:
        wanted = tuple(status for status in wanted if status in allowed)
        if not wanted:
            return []
    given = {key: value for key, value in filters.items() if value is not None}
    return list(client.iter_ids(Query(**{**given, "status": tuple(wanted or ())})))


def _preview_instances(client: HubClient, output: Output, verb: str, items: list[MessageItem]) -> int:
    def check(item: MessageItem) -> dict[str, str]:
        status = client.check_allowed(verb, item)
        return {"instanceId": item.instance, "name": status.name or "", "runtimeStatus": status.status_name}

    return preview(output, verb, items, check)


def preview(output: Output, verb: str, items: Iterable[T], check: Callable[[T], dict[str, str]]) -> int:
    """Print what a verb would apply to, one row each, and do nothing; return the highest exit code."""
    rows: list[dict[str, str]] = []
    code = for_each(items, lambda one: rows.append(check(one)))
    if not output.is_human_readable:
        output.print_values(rows)
        return code
    for row in rows:
        output.print_line(f"would {verb} {'  '.join(row.values())}")
    output.print_line(f"{len(rows)} in all; nothing was done")
    return code


def confirm(verb: str, chosen: list[str], singular: str = "instance", plural: str = "") -> None:
    """Ask before acting on ids that the user didn't name; raise UsageError if stdin isn't a terminal."""
    counted = format_count(len(chosen), singular, plural)
    shown = ", ".join(chosen[:5]) + (", …" if len(chosen) > 5 else "")
    ask(f"{verb} {counted}", "add --yes to confirm, or --dry-run to list them", f" ({shown})")


def ask(what: str, hint: str, details: str = "") -> None:
    """Ask whether to do something; raise UsageError, with the hint, if stdin isn't a terminal."""
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: {hint}")
    if not click.confirm(f"{what}{details}?", err=True):
        raise click.Abort
