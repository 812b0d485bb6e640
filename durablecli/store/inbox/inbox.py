"""The inbox: one file per message, durable when `post` returns, consumed by the engine in the order of posting.

The order: a number is assigned under a lock before the file is visible, so a message that was posted after another was
acknowledged has the higher number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial

import msgspec

from durablecli.errors import Conflict, UsageError
from durablecli.limits import MAX_ITEMS_PER_MESSAGE, PAYLOAD_LIMIT
from durablecli.store import layout
from durablecli.store.disk import Disk
from durablecli.store.inbox import batches, wakeup
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.message_counter import MessageCounter
from durablecli.store.inbox.message_files import encode_message, message_file_name
from durablecli.store.inbox.messages import MESSAGE_KINDS, RUN_VARIABLE, Message, MessageItem, Receipt, new_message_id
from durablecli.store.inbox.reservations import Reservation, Reservations
from durablecli.store.os_errors import translate_os_errors

MAX_ITEM_BYTES = PAYLOAD_LIMIT + 65536  # one payload at its limit, and the fields around it

_encode = msgspec.json.Encoder().encode


class Inbox:
    """The inbox of one hub for clients: they post messages, and reserve ids for the instances they start."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        now: Callable[[], datetime] | None = None,
        notify: Callable[[], None] | None = None,
    ) -> None:
        self._disk = disk
        self._now = now or partial(datetime.now, UTC)
        self._notify = notify or partial(wakeup.notify, root)
        self._new = f"{root}/{layout.NEW_MESSAGES_FOLDER}"
        self._temporary = f"{root}/{layout.TEMPORARY_MESSAGES_FOLDER}"
        self._lock_path = f"{root}/{layout.INBOX_LOCK_FILE}"
        self._posted_path = f"{root}/{layout.POSTED_FILE}"
        self._counter = MessageCounter(disk, root)
        self._parts = batches.BatchParts(disk, self._new)
        self._reservations = Reservations(disk, root, InboxReader(disk, root))

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Write a message; it is on disk on return. Raises StorageError, and then nothing is guaranteed."""
        if kind not in MESSAGE_KINDS or not items:
            raise UsageError(f"no message can be made of {kind!r} with {len(items)} items")
        message = message or new_message_id()
        encoded = [_encode(item) for item in items]
        if max(map(len, encoded)) > MAX_ITEM_BYTES:
            raise UsageError(f"a message is limited to 16 MiB; {kind} of {items[0].instance!r} is larger")
        with translate_os_errors("the message is not acknowledged"):
            number = self._counter.next()
            head = Message(message, number, self._now(), kind, [], run=os.environ.get(RUN_VARIABLE))
            self._store(head, items, encoded)
        self._notify()
        return Receipt(message, [item.instance for item in items])

    def _store(self, head: Message, items: Sequence[MessageItem], encoded: list[bytes]) -> None:
        parts: list[list[bytes]] = []
        batch = batches.common_prefix(items) if head.kind == "start" and len(items) > 1 else None
        is_large = head.kind == "start" and len(items) > 1 and sum(map(len, encoded)) > batches.MAX_PART_BYTES
        if is_large or (batch is not None and len(items) > MAX_ITEMS_PER_MESSAGE):
            parts = batches.split_into_parts(encoded)
            head = msgspec.structs.replace(head, count=len(items), parts=batches.first_indexes(parts), batch=batch)
        temporary = f"{self._temporary}/{os.getpid()}-{head.number:012d}-{head.message}"
        self._disk.create(temporary, encode_message(head, () if parts else encoded), sync=True)
        try:
            if parts:
                self._parts.write(head, parts)
            self._make_visible(temporary, head, items)
        except (OSError, Conflict):
            with suppress(OSError):
                self._disk.unlink(temporary)
            raise
        self._disk.sync_folder(self._new)
        self._increment_posted()

    def _increment_posted(self) -> None:
        """Record, before the acknowledgement, that a message was posted, so that the engine needn't list the folder."""
        with suppress(FileNotFoundError):
            self._disk.append_once(self._posted_path, b"\n", create=False)
            return
        with suppress(FileExistsError):
            self._disk.append_once(self._posted_path, b"\n", create=True)
            return
        self._disk.append_once(self._posted_path, b"\n", create=False)

    def _make_visible(self, temporary: str, head: Message, items: Sequence[MessageItem]) -> None:
        """Give the file its name. Decisions about an id are checked again, because another process may have changed
        them."""
        reserved = [item.target for item in items if item.reserved]
        exclusive = reserved or head.kind == "rewind"
        with self._disk.lock(self._lock_path) if exclusive else nullcontext():
            for instance in reserved:
                self._reservations.check_owner(instance, head.message)
            for item in items if head.kind == "rewind" else ():
                self._reservations.drop_unposted(item.instance)
            for instance in reserved:  # before an engine can take the start, and release the id
                self._reservations.mark_posted(instance, head.message)
            self._disk.rename(temporary, f"{self._new}/{message_file_name(head, items)}")

    # ── ids chosen by a client ───────────────────────────────────────────────────────────────────────────────────────

    def reserve(
        self, instance: str, message: str, *, allow_pending: bool = False, final: bool = False
    ) -> Reservation | None:
        """Reserve an id for the start `message`: see Reservations."""
        return self._reservations.reserve(instance, message, allow_pending=allow_pending, final=final)

    def make_final(self, instance: str, message: str) -> None:
        """Keep a reservation from passing to another client; the engine that consumes the start releases it."""
        self._reservations.make_final(instance, message)

    def cancel_reservation(self, instance: str, message: str, previous: Reservation | None) -> None:
        """Undo `reserve` if nothing was posted: an earlier start that still waits gets its id back."""
        self._reservations.cancel(instance, message, previous)

    def get_reservation(self, instance: str) -> Reservation | None:
        """Return the reservation of an id. While there is one, a rewind or a purge of the instance is a conflict."""
        return self._reservations.get(instance)
