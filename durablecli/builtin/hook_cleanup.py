"""Purges the deliveries to hooks that succeeded some time ago, when a daemon starts."""

from __future__ import annotations

from datetime import datetime, timedelta

from durablecli.limits import MAX_ITEMS_PER_MESSAGE
from durablecli.model.hook_delivery import HOOK_ORCHESTRATOR
from durablecli.store.hub import Hub, use_index
from durablecli.store.inbox.messages import Mailbox, MessageItem
from durablecli.store.query import Query

_KEPT = timedelta(days=1)
_MAX_PURGED = 100_000


def purge_old_deliveries(hub: Hub, mailbox: Mailbox, now: datetime) -> int:
    """Have deliveries purged that were begun more than a day ago and have succeeded. Returns how many there are."""
    query = Query(name=HOOK_ORCHESTRATOR, status=("Completed",), created_before=now - _KEPT)
    ids = [row.id for row in use_index(hub, lambda index: index.rows(query, _MAX_PURGED))]
    for begin in range(0, len(ids), MAX_ITEMS_PER_MESSAGE):
        mailbox.post("purge", [MessageItem(id) for id in ids[begin : begin + MAX_ITEMS_PER_MESSAGE]])
    return len(ids)
