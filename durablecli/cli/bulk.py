"""Verbs over several instances or entities: each is tried, and the exit code is the highest of all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from durablecli.cli.output import Output, echo, echo_error
from durablecli.client import HubClient, MessageItem, Poller
from durablecli.errors import DurableError, NotFound
from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model.entity_id import is_entity_id

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
_ACCEPT_TIMEOUT = 0.5
"""The seconds that a running engine is given to accept what was posted."""
_ACCEPT_POLL_INTERVAL = 0.01


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
    client: HubClient,
    output: Output,
    kind: str,
    items: list[MessageItem],
    done_text: str,
    *,
    why_queued: Callable[[str], str] = lambda id: "",
    may_be_gone: bool = False,
    further_fields: Callable[[str], dict[str, int]] = lambda id: {},
) -> int:
    """Post one verb for several instances or entities and print the result of each; return the highest exit code.

    `why_queued` returns why an accepted request isn't done yet; empty if it is. With `may_be_gone`, one that no longer
    exists counts as done. `further_fields` are added to a result that isn't read by people.
    """
    code = 0
    results: list[dict[str, str | int]] = []
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
            results.append({"entityId" if is_entity_id(id) else "instanceId": id, kind: word, **further_fields(id)})
            if output.is_human_readable:
                output.print_line(f"{id}  {f'{kind} {word}, {reason}' if reason else done_text}")
    if not output.is_human_readable:
        output.print_values(results)
    return code


def _await_acceptance(
    client: HubClient, id: str, kind: str, poller: Poller, why_queued: Callable[[str], str]
) -> tuple[str, str]:
    """Return the state of a request in one word, and why it isn't done yet."""
    if not _wait_until_accepted(client, id, kind, poller):
        return "requested", "no engine has accepted it yet"
    reason = why_queued(id)
    return ("queued", reason) if reason else ("done", "")


def _wait_until_accepted(client: HubClient, id: str, kind: str, poller: Poller) -> bool:
    """Wait a moment for a running engine to accept the message; return whether it has."""
    while client.is_requested(id, kind):
        if poller.is_expired() or not client.engine().alive:
            return False
        poller.pause()
    return True
