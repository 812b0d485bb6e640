"""undelivered.jsonl: the messages that had no effect, one per line."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.layout import UNDELIVERED_FILE


def record_undelivered(disk: Disk, root: str, message: Message, item: MessageItem, at: datetime, why: str) -> None:
    """Append one item of a message, without syncing."""
    entry = {"at": at, "why": why, "message": message.message, "kind": message.kind, "item": item}
    data = msgspec.json.encode(entry) + b"\n"
    path = f"{root}/{UNDELIVERED_FILE}"
    with suppress(FileExistsError):
        disk.append_once(path, data, create=True)
        return
    disk.append_once(path, data, create=False)
