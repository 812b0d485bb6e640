"""undelivered.jsonl: the messages that had no effect, one per line."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import msgspec

from durablecli.store.disk import Disk
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.layout import UNDELIVERED_FILE

_MAX_READ_BYTES = 64 * 1024


class UndeliveredMessage(msgspec.Struct, frozen=True):
    """A line of the file: an item of a message of this kind, and why it had no effect."""

    at: datetime
    why: str
    kind: str
    item: MessageItem


_decode = msgspec.json.Decoder(UndeliveredMessage).decode


def read_last_undelivered(disk: Disk, root: str, limit: int) -> list[UndeliveredMessage]:
    """Read the messages that had no effect last, the latest first; long ones may be left out."""
    path = f"{root}/{UNDELIVERED_FILE}"
    found: list[UndeliveredMessage] = []
    with suppress(OSError):
        begin = max(0, disk.size(path) - _MAX_READ_BYTES)
        for line in disk.read_from(path, begin).splitlines():
            with suppress(msgspec.MsgspecError, UnicodeDecodeError):  # the first line may be cut
                found.append(_decode(line))
    return found[: -limit - 1 : -1]


def record_undelivered(disk: Disk, root: str, message: Message, item: MessageItem, at: datetime, why: str) -> None:
    """Append one item of a message, without syncing."""
    entry = {"at": at, "why": why, "message": message.message, "kind": message.kind, "item": item}
    data = msgspec.json.encode(entry) + b"\n"
    path = f"{root}/{UNDELIVERED_FILE}"
    with suppress(FileExistsError):
        disk.append_once(path, data, create=True)
        return
    disk.append_once(path, data, create=False)
