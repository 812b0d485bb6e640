"""The engine's side of the inbox: consuming messages.

A folder listing isn't atomic: it may show a message and miss an older one. So the engine lists twice and consumes the
names in the second listing, up to the highest number of the first.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import msgspec

from durablecli.model.codec import CorruptLine
from durablecli.store import layout
from durablecli.store.disk import Disk
from durablecli.store.file_handles import NO_HANDLE_ERRNOS
from durablecli.store.inbox.failed_messages import FailedMessages
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.message_counter import MessageCounter
from durablecli.store.inbox.message_files import (
    BATCH,
    encode_message,
    hash_target,
    message_file_name,
    number_in_name,
    target_in_name,
)
from durablecli.store.inbox.messages import Message, MessageItem
from durablecli.store.inbox.reservations import Reservations
from durablecli.store.os_errors import translate_os_errors
from durablecli.store.process_identity import is_pid_in_use

_MAX_READ_BYTES = 8 * 1024 * 1024
_SLOW_LISTING_SECONDS = 0.001
_LISTING_PAUSE_FACTOR = 5
"""A slow listing is repeated after a pause of this many times its duration, or of the longest pause in seconds."""
_MAX_LISTING_PAUSE = 0.5


class InboxConsumer:
    """The inbox of one hub for its engine. `listing_count` counts the listings of the folder."""

    def __init__(self, disk: Disk, root: str, *, now: Callable[[], datetime] | None = None) -> None:
        self._disk = disk
        self._now = now or partial(datetime.now, UTC)
        self._new = f"{root}/{layout.NEW_MESSAGES_FOLDER}"
        self._temporary = f"{root}/{layout.TEMPORARY_MESSAGES_FOLDER}"
        self._unreadable = f"{root}/{layout.UNREADABLE_MESSAGES_FOLDER}"
        self._reserved_ids = f"{root}/{layout.RESERVATIONS_FOLDER}"
        self._lock_path = f"{root}/{layout.INBOX_LOCK_FILE}"
        self._posted_path = f"{root}/{layout.POSTED_FILE}"
        self._guard = threading.Lock()
        self._queue: deque[str] = deque()  # names listed, not yet read
        self._listed: set[str] = set()  # names listed, not yet removed
        self._handed_out: dict[str, str] = {}  # message handed out, not yet removed -> file name
        self._unread_by_target: Counter[str] = Counter()  # names in the queue, by the target in them
        self._posted_when_listed = -1
        self._next_listing_at = 0.0
        self._warnings: list[str] = []
        self._reader = InboxReader(disk, root)
        self._counter = MessageCounter(disk, root)
        self._reservations = Reservations(disk, root, self._reader)
        self._parts = self._reader.parts
        self._retried_names: set[str] = set()  # names that a repair has moved back
        self.failed_messages = FailedMessages(disk, root)
        self.listing_count = 0

    # ── taking messages ──────────────────────────────────────────────────────────────────────────────────────────────

    def take_next(self, limit: int = 1000) -> list[Message]:
        """Return the next messages, each handed out once, at most `limit` of them and about 8 MiB."""
        found: list[Message] = []
        size = 0
        with self._guard, translate_os_errors("the inbox can't be read"):
            if not self._queue:
                self._list_folder()
            while self._queue and len(found) < limit and size < _MAX_READ_BYTES:
                name = self._queue[0]
                try:
                    message, length = self._reader.read_message(name)
                except FileNotFoundError:
                    self._listed.discard(name)
                except CorruptLine as error:
                    self._move_unreadable(name, error)
                except OSError as error:
                    if error.errno in NO_HANDLE_ERRNOS:
                        break  # the rest stays queued until file handles are available
                    raise
                else:
                    self._handed_out[message.message] = name
                    found.append(message)
                    size += length
                self._queue.popleft()
                self._count_as_read(name)
        return found

    def read_items(self, message: Message, start: int, count: int) -> list[MessageItem]:
        """Read the items of a message from index `start` on, at most `count`; raises DamagedMessage."""
        return self._reader.read_items(message, start, count)

    def _count_as_read(self, name: str) -> None:
        target = target_in_name(name)
        self._unread_by_target[target] -= 1
        if not self._unread_by_target[target]:
            del self._unread_by_target[target]

    def refresh_listing(self, *, force: bool = False) -> bool:
        """List the folder if anything was posted since the last listing, or unconditionally with `force`.

        Returns True if everything acknowledged before this call has been listed. Listing a very full folder is slow, so
        it is done less often then, and the result may be False.
        """
        with self._guard, translate_os_errors("the inbox can't be read"):
            is_current = self._posted_count() == self._posted_when_listed
            if is_current and not force:
                return True
            began = monotonic()
            if began < self._next_listing_at or not self._list_folder():
                return is_current
            took = monotonic() - began
            self._next_listing_at = (
                began + min(took * _LISTING_PAUSE_FACTOR, _MAX_LISTING_PAUSE) if took > _SLOW_LISTING_SECONDS else 0.0
            )
        return True

    def has_unread(self, target: str) -> bool:
        """Return whether a listed but unread message is, or may be, for this target."""
        return bool(self._queue) and (
            self._unread_by_target[BATCH] > 0 or self._unread_by_target[hash_target(target)] > 0
        )

    @property
    def has_more(self) -> bool:
        """Whether `take_next` has more to hand out without another listing."""
        return bool(self._queue)

    def take_warnings(self) -> list[str]:
        """Return the read errors since the last call, a line each."""
        found, self._warnings = self._warnings, []
        return found

    def _posted_count(self) -> int:
        try:
            return self._disk.size(self._posted_path)
        except FileNotFoundError:
            return 0

    def _list_folder(self) -> bool:
        """List the folder; return False if there is no file handle for it."""
        posted = self._posted_count()
        try:
            first = [name for name in self._disk.listdir(self._new) if self._is_new(name)]
            second = self._disk.listdir(self._new) if first else []
        except OSError as error:
            if error.errno in NO_HANDLE_ERRNOS:
                return False
            raise
        if first:
            top = max(map(number_in_name, first))
            names = sorted(name for name in second if self._is_new(name) and number_in_name(name) <= top)
            self._listed.update(names)
            self._queue.extend(names)
            self._unread_by_target.update(map(target_in_name, names))
        self._posted_when_listed = posted
        self.listing_count += 1
        return True

    def _is_new(self, name: str) -> bool:
        return name.endswith(".json") and number_in_name(name) > 0 and name not in self._listed

    def _move_unreadable(self, name: str, error: CorruptLine) -> None:
        self._disk.make_folder(self._unreadable)
        self._disk.rename(f"{self._new}/{name}", f"{self._unreadable}/{name}")
        self._listed.discard(name)
        self._warnings.append(f"{self._unreadable}/{name}: {error}; the message was moved there and has no effect")

    # ── messages that can't be handled ───────────────────────────────────────────────────────────────────────────────

    def move_to_failed(self, message: Message, error: str) -> None:
        """Move a message that can't be handled out of the inbox: it is kept, and a repair may retry it."""
        with self._guard, translate_os_errors("a failed message can't be moved"):
            name = self._handed_out.pop(message.message, None)
            if name is not None:
                self.failed_messages.move_from_inbox(name, message, message.items, self._now(), error)
                self._listed.discard(name)

    def store_failed(self, message: Message, error: str) -> None:
        """Store a failed message that has no file of its own (one item of a batch).

        One from the engine's own process gets a number, because a repair may move it to the inbox.
        """
        with self._guard, translate_os_errors("a failed message can't be moved"):
            if not message.number:
                message = msgspec.structs.replace(message, number=self._counter.next())
            name, data = message_file_name(message, message.items), encode_message(message)
            self.failed_messages.store(name, data, message, self._now(), error)

    # ── ids ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def reserve_id(self, instance: str) -> None:
        """Reserve an id for an instance that the engine itself starts; raises Conflict as `Reservations.reserve`
        does."""
        self._reservations.reserve(instance, "", final=True)

    def release_ids(self, reserved: Iterable[tuple[str, str]]) -> None:
        """Release ids, each with the message that it was reserved for, once their histories exist."""
        with translate_os_errors("an id can't be released"):
            for instance, message in reserved:
                self._reservations.release(instance, message)

    # ── removing messages ────────────────────────────────────────────────────────────────────────────────────────────

    def remove(self, messages: Iterable[str]) -> None:
        """Remove consumed messages; missing files are ignored."""
        unknown: set[str] = set()
        with self._guard, translate_os_errors("a message can't be removed"):
            for message in messages:
                name = self._handed_out.pop(message, None)
                if name is not None:
                    self._unlink(name)
                else:
                    unknown.add(message)
        if unknown and not self.listing_count:
            self._clean_up(unknown)  # recovery: they were handed out to a dead engine

    def remove_leftovers(self) -> None:
        """Remove the leftovers of dead processes: half-written files, stale reservations.

        The engine calls this once, when it opens the hub.
        """
        self._retried_names = self.failed_messages.retried_names()
        self._clean_up(frozenset())

    def _clean_up(self, consumed: Collection[str]) -> None:
        with self._guard, translate_os_errors("the inbox can't be put in order"), self._disk.lock(self._lock_path):
            # Reading many messages takes time, so do it only if something depends on it.
            if consumed or self._disk.listdir(self._reserved_ids):
                self._reservations.remove_stale(self._unlink_consumed(consumed), consumed)
            self._remove_leftover_files()

    def _unlink_consumed(self, consumed: Collection[str]) -> set[str]:
        """Remove the consumed messages; return the remaining ones."""
        waiting: set[str] = set()
        for name in self._disk.listdir(self._new):
            message = self._reader.try_read_message(name) if name.endswith(".json") else None
            if message is not None and message.message in consumed:
                self._unlink(name)
            elif message is not None:
                waiting.add(message.message)
        return waiting

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(f"{self._new}/{name}")
        if name.endswith(f"-{BATCH}.json"):
            self._parts.remove(name)
        if name in self._retried_names:
            self.failed_messages.forget_failure(name)
            self._retried_names.discard(name)
        self._listed.discard(name)

    def _remove_leftover_files(self) -> None:
        with suppress(FileNotFoundError):
            # The file only grows. A client that still appends to the old file has put its message where the first
            # listing shows it.
            self._disk.unlink(self._posted_path)
        writing: set[int] = set()
        for name in self._disk.listdir(self._temporary):
            pid, _, rest = name.partition("-")
            if pid.isdigit() and is_pid_in_use(int(pid)):
                writing.add(number_in_name(rest))
            else:
                with suppress(FileNotFoundError):
                    self._disk.unlink(f"{self._temporary}/{name}")
        # Listed after the temporary files: a batch whose manifest was added in between has it in this listing.
        names = self._disk.listdir(self._new)
        self._parts.remove_orphans({name for name in names if number_in_name(name) not in writing})
