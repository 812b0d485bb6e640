"""Verbs over several instances: by their ids or by a filter, each tried, a question before a filter's choice is acted
on, and the highest exit code of them all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from durablecli.cli.options import FunctionName, InstanceId, Statuses, Time
from durablecli.cli.output import Screen, complain, say
from durablecli.client import Client, MessageItem, Query
from durablecli.errors import DurableError, NotFound, UsageError
from durablecli.model.entity_id import is_entity_id

F = TypeVar("F", bound=Callable[..., Any])
One = TypeVar("One")
_AT_ONCE = 1000
_PATIENCE = 0.5  # seconds that a running engine is given to take what was posted


def selection(function: F) -> F:
    """Ids, or a filter with `--dry-run` and `--yes`."""
    for option in (
        click.option("-y", "--yes", is_flag=True, help="Don't ask."),
        click.option("--dry-run", is_flag=True, help="Only show what would be touched."),
        click.option("--created-before", type=Time(), metavar="TIME", help="Filter: created at or before."),
        click.option("--created-after", type=Time(), metavar="TIME", help="Filter: created at or after."),
        click.option("--prefix", metavar="TEXT", help="Filter: ids that begin so."),
        click.option("--status", type=Statuses(), metavar="STATUS,...", help="Filter: runtime statuses."),
        click.option(
            "--name", type=FunctionName("orchestrator"), metavar="FUNCTION", help="Filter: the orchestrator's name."
        ),
        click.argument("ids", metavar="[ID]...", nargs=-1, type=InstanceId()),
    ):
        function = option(function)
    return function


def choose(
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
    form: str | None = None,
) -> list[str]:
    """The ids to act on; empty where nothing fits. `allowed` are the statuses that the verb may touch.

    With `dry_run` they are shown, in the given form, and the command ends.
    """
    if older_than is not None:
        limit = datetime.now(UTC) - older_than
        given = filters.get("created_before")
        filters = filters | {"created_before": limit if given is None else min(given, limit)}
    filtered = any(value is not None for value in filters.values())
    if filtered == bool(ids):
        raise UsageError(f"give ids or a filter, one of them: 'durable {verb} ID', 'durable {verb} --prefix TEXT'")
    chosen = list(dict.fromkeys(ids)) or _matching(client, filters, tuple(allowed))
    if dry_run:
        raise click.exceptions.Exit(
            _preview(client, Screen(form), verb, [MessageItem(one, force=force) for one in chosen])
        )
    if filtered and not chosen:
        say(f"nothing fits the filter: nothing to {verb}")
    elif filtered and not yes:
        confirm(verb, chosen)
    return chosen


def _matching(client: Client, filters: dict[str, Any], allowed: tuple[str, ...]) -> list[str]:
    wanted = filters.get("status") or allowed
    if allowed:
        wanted = tuple(status for status in wanted if status in allowed)
        if not wanted:
            return []
    given = {key: value for key, value in filters.items() if value is not None}
    return list(client.select(Query(**{**given, "status": tuple(wanted or ())})))


def _preview(client: Client, screen: Screen, verb: str, items: list[MessageItem]) -> int:
    def look(item: MessageItem) -> dict[str, str]:
        status = client.permit(verb, item)
        word = status.runtime_status.value if status.runtime_status else "unknown"
        return {"instanceId": item.instance, "name": status.name or "", "runtimeStatus": word}

    return preview(screen, verb, items, look)


def preview(screen: Screen, verb: str, ones: Iterable[One], look: Callable[[One], dict[str, str]]) -> int:
    """Show what a verb would touch, a row each, and do nothing; the highest exit code."""
    rows: list[dict[str, str]] = []
    code = each(ones, lambda one: rows.append(look(one)))
    if not screen.for_people:
        screen.many(rows)
        return code
    for row in rows:
        screen.line(f"would {verb} {'  '.join(row.values())}")
    screen.line(f"{len(rows)} in all; nothing was done")
    return code


def confirm(verb: str, chosen: list[str], one: str = "instance", many: str = "instances") -> None:
    """Ask before acting on what nobody has named; raises UsageError where nobody can be asked."""
    counted = f"{len(chosen)} {one if len(chosen) == 1 else many}"
    if not sys.stdin.isatty():
        raise UsageError(f"{verb} of {counted}: add --yes, or --dry-run to see them")
    shown = ", ".join(chosen[:5]) + (", …" if len(chosen) > 5 else "")
    if not click.confirm(f"{verb} {counted} ({shown})?", err=True):
        raise click.Abort


def each(ones: Iterable[One], action: Callable[[One], int | None]) -> int:
    """Try all of them; what goes wrong with one is told and doesn't stop the others."""
    code = 0
    for one in ones:
        try:
            code = max(code, action(one) or 0)
        except DurableError as error:
            complain(str(error))
            code = max(code, error.exit_code)
    return code


def control(
    client: Client,
    screen: Screen,
    kind: str,
    items: list[MessageItem],
    done: str,
    *,
    late: Callable[[str], str] = lambda id: "",
    may_be_gone: bool = False,
) -> int:
    """Post one verb for several instances or entities and say what became of each; the highest exit code.

    `late` says why one that an engine has taken waits its turn, if it does. With `may_be_gone` it counts as done for
    one that isn't there any more.
    """
    code = 0
    told: list[dict[str, str]] = []
    for at in range(0, len(items), _AT_ONCE):
        if at and sys.stderr.isatty():
            say(f"{kind}: {at:,} of {len(items):,}")
        outcomes = client.control(kind, items[at : at + _AT_ONCE])
        patience = time.monotonic() + _PATIENCE
        for id, error in outcomes.items():
            if error is not None and not (may_be_gone and isinstance(error, NotFound)):
                complain(str(error))
                code = max(code, error.exit_code)
                continue
            word, reason = _outcome(client, id, kind, patience, late)
            told.append({"entityId" if is_entity_id(id) else "instanceId": id, kind: word})
            if screen.for_people:
                screen.line(f"{id}  {f'{kind} {word}, {reason}' if reason else done}")
    if not screen.for_people:
        screen.many(told)
    return code


def _outcome(client: Client, id: str, kind: str, patience: float, late: Callable[[str], str]) -> tuple[str, str]:
    """One word for it, and why it isn't done yet."""
    if not _is_taken(client, id, kind, patience):
        return "requested", "no engine has taken it yet"
    reason = late(id)
    return ("queued", reason) if reason else ("done", "")


def _is_taken(client: Client, instance: str, kind: str, until: float) -> bool:
    """Whether an engine has it; one that runs is given a moment."""
    while client.is_requested(instance, kind):
        if time.monotonic() >= until or not client.engine().alive:
            return False
        time.sleep(0.01)
    return True
