"""Verbs over several instances, chosen by ids or by a filter, which has to be confirmed. Every instance is tried; the
exit code is the highest of all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from durablecli.cli.options import FunctionNameParam, InstanceIdParam, StatusesParam, TimeParam
from durablecli.cli.output import Output, echo, echo_error
from durablecli.client import Client, MessageItem, Poller, Query
from durablecli.errors import DurableError, NotFound, UsageError
from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model.entity_id import is_entity_id
from durablecli.plurals import format_count

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_ACCEPT_TIMEOUT = 0.5
"""The seconds that a running engine is given to accept what was posted."""
_ACCEPT_POLL_INTERVAL = 0.01


def selection_options(function: F) -> F:
    """Add ids, filters, `--dry-run` and `--yes`."""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Don't ask for confirmation."),
        click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing."),
        click.option("--created-before", type=TimeParam(), metavar="TIME", help="Filter: created at or before TIME."),
        click.option("--created-after", type=TimeParam(), metavar="TIME", help="Filter: created at or after TIME."),
        click.option("--prefix", metavar="TEXT", help="Filter: ids that start with TEXT."),
        click.option(
            "--status", type=StatusesParam(), metavar="STATUS,...", help="Filter: runtime statuses, comma-separated."
        ),
        click.option(
            "--name",
            type=FunctionNameParam("orchestrator"),
            metavar="FUNCTION",
            help="Filter: the orchestrator.",
        ),
        click.argument("ids", metavar="[ID]...", nargs=-1, type=InstanceIdParam()),
    ):
        function = option(function)
    return function


def choose_ids(
    client: Client,
    verb: str,
    ids: tuple[str, ...],
    filters: dict[str, Any],
    *,
    dry_run: bool,
    yes: bool,
    allowed: Iterable[str] = (),
    older_than: timedelta | None = None,
    force: bool = False,
    output_format: str | None = None,
) -> list[str]:
    """Return the ids to act on; none if nothing matches. `allowed` are the statuses that the verb applies to.

    With `dry_run`, print them in the given format and exit.
    """
    if older_than is not None:
        limit = datetime.now(UTC) - older_than
        given = filters.get("created_before")
        filters = filters | {"created_before": limit if given is None else min(given, limit)}
    filtered = any(value is not None for value in filters.values())
    if filtered == bool(ids):
        raise UsageError(f"give either ids or a filter: 'durable {verb} ID' or 'durable {verb} --prefix TEXT'")
    chosen = list(dict.fromkeys(ids)) or _find_matching(client, filters, tuple(allowed))
    if dry_run:
        raise click.exceptions.Exit(
            _preview_instances(client, Output(output_format), verb, [MessageItem(one, force=force) for one in chosen])
        )
    if filtered and not chosen:
        echo(f"no instance matches the filter: nothing to {verb}")
    elif filtered and not yes:
        confirm(verb, chosen)
    return chosen


def _find_matching(client: Client, filters: dict[str, Any], allowed: tuple[str, ...]) -> list[str]:
    wanted = filters.get("status") or allowed
    if allowed:
        wanted = tuple(status for status in wanted if status in allowed)
        if not wanted:
            return []
    given = {key: value for key, value in filters.items() if value is not None}
    return list(client.iter_ids(Query(**{**given, "status": tuple(wanted or ())})))


def _preview_instances(client: Client, output: Output, verb: str, items: list[MessageItem]) -> int:
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
    if not sys.stdin.isatty():
        raise UsageError(f"{verb} {counted}: add --yes to confirm, or --dry-run to list them")
    shown = ", ".join(chosen[:5]) + (", …" if len(chosen) > 5 else "")
    if not click.confirm(f"{verb} {counted} ({shown})?", err=True):
        raise click.Abort


def for_each(items: Iterable[T], action: Callable[[T], int | None]) -> int:
    """Apply an action to all items and print the errors; return the highest exit code."""
    code = 0
    for one in items:
        try:
            code = max(code, action(one) or 0)
        except DurableError as error:
            echo_error(str(error))
            code = max(code, error.exit_code)
    return code


def submit_and_report(
    client: Client,
    output: Output,
    kind: str,
    items: list[MessageItem],
    done_text: str,
    *,
    why_queued: Callable[[str], str] = lambda id: "",
    may_be_gone: bool = False,
) -> int:
    """Post one verb for several instances or entities and print the result of each; return the highest exit code.

    `why_queued` returns why an accepted request isn't done yet; empty if it is. With `may_be_gone`, one that no longer
    exists counts as done.
    """
    code = 0
    results: list[dict[str, str]] = []
    for at in range(0, len(items), MAX_ITEMS_PER_MESSAGE):
        if at and sys.stderr.isatty():
            echo(f"{kind}: {at:,} of {len(items):,}")
        outcomes = client.control(kind, items[at : at + MAX_ITEMS_PER_MESSAGE])
        poller = Poller(_ACCEPT_TIMEOUT, max_interval=_ACCEPT_POLL_INTERVAL)
        for id, error in outcomes.items():
            if error is not None and not (may_be_gone and isinstance(error, NotFound)):
                echo_error(str(error))
                code = max(code, error.exit_code)
                continue
            word, reason = _await_acceptance(client, id, kind, poller, why_queued)
            results.append({"entityId" if is_entity_id(id) else "instanceId": id, kind: word})
            if output.is_human_readable:
                output.print_line(f"{id}  {f'{kind} {word}, {reason}' if reason else done_text}")
    if not output.is_human_readable:
        output.print_values(results)
    return code


def _await_acceptance(
    client: Client, id: str, kind: str, poller: Poller, why_queued: Callable[[str], str]
) -> tuple[str, str]:
    """Return the state of a request in one word, and why it isn't done yet."""
    if not _wait_until_accepted(client, id, kind, poller):
        return "requested", "no engine has accepted it yet"
    reason = why_queued(id)
    return ("queued", reason) if reason else ("done", "")


def _wait_until_accepted(client: Client, id: str, kind: str, poller: Poller) -> bool:
    """Wait a moment for a running engine to accept the message; return whether it has."""
    while client.is_requested(id, kind):
        if poller.is_expired() or not client.engine().alive:
            return False
        poller.pause()
    return True
