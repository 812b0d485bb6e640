"""The messages that wait to be handled, from the inbox and from clients of this process.

Messages for the same target are handled in the order of their acknowledgement; others may overtake one another. A start
of very many instances is a batch: it is handled in slices between other inputs, and no message waits for all of it.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from durablecli.errors import DurableError
from durablecli.store.inbox import batches
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.inbox.messages import Message, MessageItem

_CHUNK_LENGTH = 64


@dataclass
class Submission:
    """A message that a client of this process has submitted. `done` is set by the commit that handles it.

    A client that can't wait passes `on_done`, which is called in the engine's thread: with None when the message is on
    disk, or with the error.
    """

    message: Message
    on_done: Callable[[DurableError | None], None] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    error: DurableError | None = None
    refusal: DurableError | None = None
    """Why handling it has had no effect, where the client is to be told."""

    def accept(self) -> None:
        self._complete(self.refusal)

    def reject(self, error: DurableError) -> None:
        self._complete(error)

    def _complete(self, error: DurableError | None) -> None:
        self.error = error
        self.done.set()
        if self.on_done is not None:
            self.on_done(error)


@dataclass(eq=False)
class QueuedMessage:
    """A message in the queue, with its submission if it comes from a client of this process."""

    message: Message
    submission: Submission | None
    order: int

    def __post_init__(self) -> None:
        self.targets = tuple(dict.fromkeys(item.target for item in self.message.items))


@dataclass(eq=False)
class PendingBatch:
    """A start of many instances. Items below `upto` are handled, and those in `started_early` as well."""

    message: Message
    submission: Submission | None
    upto: int
    started_early: set[int] = field(default_factory=set)
    _index_by_instance: dict[str, int] | None = None

    def find_pending(self, instance: str) -> int | None:
        """The index of an instance that is still to be started; None if this batch won't start it."""
        index = self._find_index(instance)
        return index if index is not None and index >= self.upto and index not in self.started_early else None

    def was_started_early(self, instance: str) -> bool:
        index = self._find_index(instance) if self.started_early else None
        return index is not None and index >= self.upto and index in self.started_early

    def forget_started_early(self, upto: int) -> None:
        """Forget what was started early among the items from `upto` that are handled now."""
        if self.started_early:
            self.started_early.difference_update(range(upto, self.upto))

    def _find_index(self, instance: str) -> int | None:
        message = self.message
        if message.batch is not None:
            index = batches.item_index(message.batch, instance)
            return index if index is not None and index < message.total else None
        if self._index_by_instance is None:
            self._index_by_instance = {item.target: index for index, item in enumerate(message.items)}
        return self._index_by_instance.get(instance)


class BatchItem(NamedTuple):
    """One start of a batch."""

    batch: PendingBatch
    position: int
    item: MessageItem


HandledItem = QueuedMessage | PendingBatch | BatchItem | str | None
"""The item that the engine is working on: a message, part of one, or an instance or entity by its id."""


def describe(handled: HandledItem) -> str:
    """Name an item for the log."""
    match handled:
        case QueuedMessage(message=message) | PendingBatch(message=message):
            return f"message {message.message} ({message.kind})"
        case BatchItem(batch=batch, item=item):
            return f"{item.target} of message {batch.message.message} ({batch.message.kind})"
        case _:
            return f"{handled}"


class MessageQueue:
    """Messages that are read and not yet handled, in order and by target.

    `has_message_for` also counts messages that the inbox has listed and not read.
    """

    def __init__(self, inbox: InboxConsumer) -> None:
        self._inbox = inbox
        # An OrderedDict, as a plain dict takes longer and longer to find its first entry while that one is removed.
        self._entries: OrderedDict[int, QueuedMessage] = OrderedDict()
        self._by_target: dict[str, deque[QueuedMessage]] = {}
        self._next_order = itertools.count()
        self.batches: deque[PendingBatch] = deque()

    def __len__(self) -> int:
        return len(self._entries) + len(self.batches)

    @property
    def is_clear(self) -> bool:
        """Whether no message waits, so that nothing has to be kept in order."""
        return not (self._entries or self.batches or self._inbox.has_more)

    def add(self, message: Message, submission: Submission | None = None) -> None:
        entry = QueuedMessage(message, submission, next(self._next_order))
        self._insert(entry)

    def _insert(self, entry: QueuedMessage) -> None:
        self._entries[entry.order] = entry
        for target in entry.targets:
            self._by_target.setdefault(target, deque()).append(entry)

    def add_batch(self, message: Message, submission: Submission | None, upto: int) -> None:
        self.batches.append(PendingBatch(message, submission, upto))

    @property
    def message_count(self) -> int:
        """The messages that wait, without batches."""
        return len(self._entries)

    def iterate_messages(self) -> Iterator[QueuedMessage]:
        """The messages in order, without batches. Each may be removed once it is yielded, and no other."""
        kept = 0
        while chunk := list(itertools.islice(self._entries.values(), kept, kept + _CHUNK_LENGTH)):
            yield from chunk
            kept += sum(entry.order in self._entries for entry in chunk)

    def remove(self, entry: QueuedMessage) -> None:
        del self._entries[entry.order]
        for target in entry.targets:
            entries = self._by_target[target]
            entries.remove(entry)
            if not entries:
                del self._by_target[target]

    def put_back(self, entries: Iterable[QueuedMessage]) -> None:
        """Put messages back where they were, as their commit was given up."""
        everything = sorted([*self._entries.values(), *entries], key=lambda entry: entry.order)
        self._entries.clear()
        self._by_target.clear()
        for entry in everything:
            self._insert(entry)

    def has_message_for(self, target: str) -> bool:
        """Whether a message for this instance or entity still waits to be handled."""
        if target in self._by_target or self._inbox.has_unread(target):
            return True
        return self.find_batch_to_start(target) is not None

    def find_batch_to_start(self, target: str) -> tuple[PendingBatch, int] | None:
        """The batch that is still to start this instance, and the index of its start."""
        for batch in self.batches:
            index = batch.find_pending(target)
            if index is not None:
                return batch, index
        return None

    def was_started_early(self, target: str) -> bool:
        """Whether a pending batch has started this instance ahead of its slice."""
        return any(batch.was_started_early(target) for batch in self.batches)

    def find_messages_before(self, target: str) -> list[QueuedMessage]:
        """The messages to handle before anything else reaches this target, in order: those for it, and those that are
        queued before them for their other targets."""
        entries = self._by_target.get(target)
        if not entries:
            return []
        if all(len(entry.targets) == 1 for entry in entries):
            return list(entries)
        wanted, found = {target}, []
        for entry in reversed(self._entries.values()):
            if not wanted.isdisjoint(entry.targets):
                wanted.update(entry.targets)
                found.append(entry)
        return found[::-1]

    def list_submissions(self) -> list[Submission]:
        """The submissions of the queued messages and batches."""
        queued: list[QueuedMessage | PendingBatch] = [*self._entries.values(), *self.batches]
        return [each.submission for each in queued if each.submission is not None]

    def clear(self) -> None:
        self._entries.clear()
        self._by_target.clear()
        self.batches.clear()
