"""The messages that wait to be handled, from the inbox and from clients of this process.

    For each target: what was acknowledged earlier is handled earlier, whichever door it came through.

Messages for different targets may overtake one another. A start of very many instances is handled in slices, beside
everything else, and no message waits for the whole of it.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from durablecli.errors import DurableError
from durablecli.store.inbox import batches
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.messages import Message, MessageItem


@dataclass
class Submission:
    """A message of a client in this process; `done` is set by the commit that takes it.

    A client that can't wait for that gives `told`, which is called in the engine's thread: with the error, or with None
    when the message is on disk.
    """

    message: Message
    on_done: Callable[[DurableError | None], None] | None = None
    done: threading.Event = field(default_factory=threading.Event)
    error: DurableError | None = None

    def accept(self) -> None:
        self.done.set()
        if self.on_done is not None:
            self.on_done(None)

    def reject(self, error: DurableError) -> None:
        self.error = error
        self.done.set()
        if self.on_done is not None:
            self.on_done(error)


@dataclass(eq=False)
class QueuedMessage:
    """One message in line; `posted` if a client of this process waits for it."""

    message: Message
    submission: Submission | None
    order: int

    def __post_init__(self) -> None:
        self.targets = tuple(dict.fromkeys(item.target for item in self.message.items))


@dataclass(eq=False)
class PendingBatch:
    """A start of many instances. The items below `upto` are handled, and those in `early`, ahead of their turn."""

    message: Message
    submission: Submission | None
    upto: int
    started_early: set[int] = field(default_factory=set)
    _index_by_instance: dict[str, int] | None = None

    def find_pending(self, instance: str) -> int | None:
        """The index of an instance that is still to be started; None if this batch doesn't start it any more."""
        index = self._find_index(instance)
        return index if index is not None and index >= self.upto and index not in self.started_early else None

    def was_started_early(self, instance: str) -> bool:
        return bool(self.started_early) and self._find_index(instance) in self.started_early

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
"""What the engine is working on: a message, or an instance or entity by its id. If that fails, this is to blame."""


def describe(handled: HandledItem) -> str:
    """What was being handled, for a log."""
    match handled:
        case QueuedMessage(message=message) | PendingBatch(message=message):
            return f"message {message.message} ({message.kind})"
        case BatchItem(batch=batch, item=item):
            return f"{item.target} of message {batch.message.message} ({batch.message.kind})"
        case _:
            return f"{handled}"


class MessageQueue:
    """What is read and not yet handled, by target; `holds` also knows what is listed in the inbox and not yet read."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._entries: dict[int, QueuedMessage] = {}
        self._by_target: dict[str, deque[QueuedMessage]] = {}
        self._next_order = itertools.count()
        self.batches: deque[PendingBatch] = deque()

    def __len__(self) -> int:
        return len(self._entries) + len(self.batches)

    @property
    def is_clear(self) -> bool:
        """Whether no message waits for anything, so that nothing needs to be put in order."""
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

    def list_messages(self) -> list[QueuedMessage]:
        """All messages in order, but for batches."""
        return list(self._entries.values())

    def remove(self, entry: QueuedMessage) -> None:
        del self._entries[entry.order]
        for target in entry.targets:
            line = self._by_target[target]
            line.remove(entry)
            if not line:
                del self._by_target[target]

    def put_back(self, entries: Iterable[QueuedMessage]) -> None:
        """Put messages back where they were: their commit was given up."""
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
        """Whether a batch that is still being handled has started this instance ahead of its turn."""
        return any(batch.was_started_early(target) for batch in self.batches)

    def find_messages_before(self, target: str) -> list[QueuedMessage]:
        """What has to be handled before anything else reaches this target, in order: the messages for it, and whatever
        waits for the other targets of these."""
        line = self._by_target.get(target)
        if not line:
            return []
        if all(len(entry.targets) == 1 for entry in line):
            return list(line)
        wanted, found = {target}, []
        for entry in reversed(self._entries.values()):
            if not wanted.isdisjoint(entry.targets):
                wanted.update(entry.targets)
                found.append(entry)
        return found[::-1]

    def list_submissions(self) -> list[Submission]:
        """The messages of clients of this process."""
        posted = [each.submission for each in self._entries.values()] + [batch.submission for batch in self.batches]
        return [each for each in posted if each is not None]

    def clear(self) -> None:
        self._entries.clear()
        self._by_target.clear()
        self.batches.clear()
