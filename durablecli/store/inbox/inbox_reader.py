"""Reading the inbox: the unconsumed messages. Nothing here writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime

import msgspec

from durablecli.errors import DamagedMessage
from durablecli.model.codec import CorruptLine
from durablecli.store.disk import Disk
from durablecli.store.inbox import batches
from durablecli.store.inbox.message_counter import MessageCounter
from durablecli.store.inbox.message_files import (
    BATCH,
    InboxListing,
    decode_message,
    hash_target,
    kind_in_name,
    number_in_name,
    target_in_name,
)
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.layout import NEW_MESSAGES_FOLDER

_MAX_EVENTS_READ = 100
_MAX_REMEMBERED = 64
_ITEMS_PER_READ = 1000
_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class InboxReader:
    """Reads the inbox of one hub, while others post to it and an engine consumes from it."""

    def __init__(self, disk: Disk, root: str) -> None:
        self._disk = disk
        self._new = f"{root}/{NEW_MESSAGES_FOLDER}"
        self._counter = MessageCounter(disk, root)
        self.parts = batches.BatchParts(disk, self._new)
        self._batch_items: dict[tuple[str, str], Message] = {}
        self._batch_indexes: dict[tuple[str, str], int] = {}

    def read_listing(self) -> InboxListing:
        """List the names of all messages, for `abridged_messages` of several instances."""
        return InboxListing(self._disk.listdir(self._new))

    def pending_messages(self, instance: str) -> list[Message]:
        """Return the messages for this instance, in order; of those for several instances only its items."""
        return list(self._messages_for(instance, self._disk.listdir(self._new), in_full=True))

    def abridged_messages(self, instance: str, listing: InboxListing | None = None) -> list[Message]:
        """Return the messages for an orchestration, in order.

        Like `pending_messages`, but of many events all except the first are only counted, without name and payload.
        """
        names = self._disk.listdir(self._new) if listing is None else listing.names_for(instance)
        return list(self._messages_for(instance, names, in_full=False))

    def index_in_batch(self, message: Message, instance: str) -> int | None:
        """Return the index of an instance in a batch that `abridged_messages` has just returned for it."""
        return self._batch_indexes.get((message.message, instance))

    def start_messages(self, instance: str) -> set[str]:
        """Return the ids of the messages that start an instance."""
        return {each.message for each in self.abridged_messages(instance) if each.kind in ("start", "restart")}

    def _messages_for(self, instance: str, names: Iterable[str], *, in_full: bool) -> Iterator[Message]:
        endings = (f"-{hash_target(instance)}.json", f"-{BATCH}.json")
        events = 0
        for name in sorted(name for name in names if name.endswith(endings)):
            is_event = kind_in_name(name) == "raise-event"
            events += is_event
            if not in_full and events > _MAX_EVENTS_READ and is_event and name.endswith(endings[0]):
                yield Message("", number_in_name(name), _UNKNOWN_TIME, "raise-event", [MessageItem(instance)])
                continue
            message = self._read_for(name, instance)
            if message is not None and message.items:
                yield msgspec.structs.replace(message, count=0) if in_full else message

    def _read_for(self, name: str, instance: str) -> Message | None:
        """Read a message with only the items for this instance. Those for several instances may be large, and are read
        only once."""
        key = (name, instance)
        remembered = self._batch_items.get(key)  # another thread may clear it
        if remembered is not None:
            return remembered
        message = self.try_read_message(name)
        if message is None:
            return None
        found = self._items_for(message, instance)
        items = [item for _, item in found]
        message = msgspec.structs.replace(message, items=items, count=message.total, parts=(), batch=None)
        if target_in_name(name) == BATCH:
            if len(self._batch_items) >= _MAX_REMEMBERED:
                self._batch_items.clear()
                self._batch_indexes.clear()
            self._batch_items[key] = message
            self._batch_indexes.update(((message.message, instance), index) for index, _ in found)
        return message

    def _items_for(self, message: Message, instance: str) -> list[tuple[int, MessageItem]]:
        """The items for this instance, each with its index."""
        start, count = 0, message.total
        if message.batch is not None:
            index = batches.item_index(message.batch, instance)
            if index is None or index >= count:
                return []
            start, count = index, 1
        items = enumerate(self._read_items_if_waiting(message, start, count) or (), start)
        return [(index, item) for index, item in items if item.target == instance]

    def last_number(self) -> int:
        """Return the highest assigned message number; 0 if it is unknown."""
        return self._counter.last()

    def has_newer(self, instance: str, number: int, kinds: Collection[str]) -> bool:
        """Return whether there is a message of these kinds with a higher number that may be for the instance."""
        names = self.read_listing().names_for(instance)
        return any(number_in_name(name) > number and kind_in_name(name) in kinds for name in names)

    def pending_of_kinds(self, kinds: Collection[str]) -> Iterator[Message]:
        """Yield every message of these kinds, in order. A batch in parts has no items: see `read_items`."""
        for name in sorted(name for name in self._disk.listdir(self._new) if kind_in_name(name) in kinds):
            if (message := self.try_read_message(name)) is not None:
                yield message

    def read_items(self, message: Message, start: int, count: int) -> list[MessageItem]:
        """Read the items from index `start` on, at most `count`; raises DamagedMessage."""
        if not message.parts:
            return message.items[start : start + count]
        try:
            return self.parts.read_items(message, start, count)
        except (CorruptLine, FileNotFoundError) as error:
            raise DamagedMessage(f"a part of batch {message.message} is damaged or missing: {error}") from None

    def read_waiting_items(self, message: Message, start: int) -> list[MessageItem]:
        """Read the items from this index on; none if an engine has consumed the message meanwhile."""
        found: list[MessageItem] = []
        for first in range(start, message.total, _ITEMS_PER_READ):
            items = self._read_items_if_waiting(message, first, _ITEMS_PER_READ)
            if items is None:
                return []
            found += items
        return found

    def _read_items_if_waiting(self, message: Message, start: int, count: int) -> list[MessageItem] | None:
        """Like `read_items`, but None if an engine has consumed the message meanwhile and removed its parts."""
        try:
            return self.read_items(message, start, count)
        except DamagedMessage:
            if message.number in self.read_listing().numbers:
                raise
            return None

    def unreadable_files(self) -> list[str]:
        """Return the files that can't be read as messages."""
        found: list[str] = []
        for name in sorted(self._disk.listdir(self._new)):
            try:
                if name.endswith(".json"):
                    self.read_message(name)
            except FileNotFoundError:
                continue
            except CorruptLine:
                found.append(f"{self._new}/{name}")
        return found

    def try_read_message(self, name: str) -> Message | None:
        """Read the message in a file; None if it is unreadable, or an engine has removed it meanwhile."""
        try:
            return self.read_message(name)[0]
        except (FileNotFoundError, CorruptLine):
            return None

    def read_message(self, name: str) -> tuple[Message, int]:
        """Read the message in a file, and its size in bytes; raises CorruptLine."""
        data = self._disk.read(f"{self._new}/{name}")
        return decode_message(data), len(data)
