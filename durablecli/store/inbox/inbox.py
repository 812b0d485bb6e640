"""The inbox: one file per message, durable when `post` returns, taken by the engine in the order of posting.

The order: a number is given out under a lock before its file can be seen, so a message posted after another was
acknowledged has the higher number. A folder listing isn't a moment in time, though: it may show a message and miss
an older one. So the engine lists twice and takes what the second listing shows, up to the highest number of the first.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from time import monotonic

import msgspec

from durablecli.errors import Conflict, DamagedMessage, UsageError
from durablecli.limits import PAYLOAD_LIMIT
from durablecli.model.codec import CorruptLine, append_crc, verify_crc
from durablecli.store.disk import Disk
from durablecli.store.inbox import batches, wakeup
from durablecli.store.inbox.failed_messages import FailedMessages
from durablecli.store.inbox.messages import MESSAGE_KINDS, RUN_VARIABLE, Message, MessageItem, Receipt, new_message_id
from durablecli.store.inbox.reservations import Reservation, Reservations
from durablecli.store.os_errors import translate_os_errors

FORMAT = 1
MAX_ITEM_BYTES = PAYLOAD_LIMIT + 65536  # one payload at its limit, and what stands around it
_MAX_READ_BYTES = 8 * 1024 * 1024
_FORMAT_PREFIX = b'{"format":%d,' % FORMAT
_BATCH = "batch"
_MAX_EVENTS_READ = 100
_UNKNOWN_TIME = datetime(1970, 1, 1, tzinfo=UTC)
_POSTED_FILE = "posted"
"""This file grows by a byte with every message, after it is on disk and before it is acknowledged."""
_SLOW_LISTING_SECONDS = 0.001
_LISTING_PAUSE_FACTOR = 5
"""A long listing is repeated after a pause of this many times what it took, or of the longest pause in seconds."""
_MAX_LISTING_PAUSE = 0.5
_COUNTER_LINE_BYTES = 13
_MAX_COUNTER_BYTES = 4096
_NO_HANDLE_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE})

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(Message).decode


class Inbox:
    """The inbox of one hub. Clients post; only the engine calls `waiting`, `remove` and `sweep`."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        now: Callable[[], datetime] | None = None,
        notify: Callable[[], None] | None = None,
    ) -> None:
        self._disk = disk
        self._root = root
        self._now = now or partial(datetime.now, UTC)
        self._notify = notify or partial(wakeup.notify, root)
        self._folder = f"{root}/inbox"
        self._new = f"{root}/inbox/new"
        self._tmp = f"{root}/inbox/tmp"
        self._is_counter_checked = False
        self._guard = threading.Lock()
        self._queue: deque[str] = deque()  # names listed, not yet read
        self._listed: set[str] = set()  # names listed, not yet removed
        self._handed_out: dict[str, str] = {}  # message handed out, not yet removed -> name
        self._reservations = Reservations(disk, f"{root}/inbox/ids")
        self._first_targets: set[str] | None = None
        self._parts = batches.BatchParts(disk, self._new)
        self._warnings: list[str] = []
        self._unread_by_target: Counter[str] = Counter()  # names in the queue, by what they end in
        self._posted_when_listed = -1
        self.failed_messages = FailedMessages(disk, self._folder)
        self._retried_names: set[str] = set()  # names that were set aside once
        self._next_listing_at = 0.0
        self.listing_count = 0

    # ── for clients ────────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, kind: str, items: Sequence[MessageItem], message: str | None = None) -> Receipt:
        """Write a message; on return it is on disk. Raises StorageError, and then nothing is promised."""
        if kind not in MESSAGE_KINDS or not items:
            raise UsageError(f"no message can be made of {kind!r} with {len(items)} items")
        message = message or new_message_id()
        encoded = [_encode(item) for item in items]
        if max(map(len, encoded)) > MAX_ITEM_BYTES:
            raise UsageError(f"a message is limited to 16 MiB; {kind} of {items[0].instance!r} is larger")
        with translate_os_errors("the message is not acknowledged"):
            number = self.next_number()
            draft = Message(message, number, self._now(), kind, [], run=os.environ.get(RUN_VARIABLE))
            self._store(draft, items, encoded)
        self._notify()
        return Receipt(message, [item.instance for item in items])

    def _store(self, draft: Message, items: Sequence[MessageItem], encoded: list[bytes]) -> None:
        parts: list[list[bytes]] = []
        if draft.kind == "start" and len(encoded) > 1 and sum(map(len, encoded)) > batches.MAX_PART_BYTES:
            parts = batches.split_into_parts(encoded)
            draft = msgspec.structs.replace(
                draft, count=len(items), parts=batches.first_indexes(parts), batch=batches.common_prefix(items)
            )
        head = _encode(draft)[1:-1]
        inline = b"" if parts else b",".join(encoded)
        # The items were encoded once; they take the place of the draft's empty list.
        body = b"%b%b" % (_FORMAT_PREFIX, head.replace(b'"items":[]', b'"items":[%b]' % inline, 1))
        temporary = f"{self._tmp}/{os.getpid()}-{draft.number:012d}-{draft.message}"
        self._disk.create(temporary, append_crc(body) + b"\n", sync=True)
        try:
            if parts:
                self._parts.write(draft, parts)
            self._make_visible(temporary, draft, items)
        except (OSError, Conflict):
            with suppress(OSError):
                self._disk.unlink(temporary)
            raise
        self._disk.sync_folder(self._new)
        self._increment_posted()

    def _increment_posted(self) -> None:
        """Let the engine see, without listing the folder, that a message was posted before it was acknowledged."""
        path = f"{self._folder}/{_POSTED_FILE}"
        with suppress(FileNotFoundError):
            self._disk.append_once(path, b"\n", create=False)
            return
        with suppress(FileExistsError):
            self._disk.append_once(path, b"\n", create=True)
            return
        self._disk.append_once(path, b"\n", create=False)

    def _make_visible(self, temporary: str, draft: Message, items: Sequence[MessageItem]) -> None:
        """Give the file its name. What was decided about an id is looked at again, as others may decide meanwhile."""
        reserved = [item.target for item in items if item.reserved]
        exclusive = reserved or draft.kind == "rewind"
        with self._disk.lock(f"{self._folder}/lock") if exclusive else nullcontext():
            for instance in reserved:
                self._reservations.check_owner(instance, draft.message)
            for item in items if draft.kind == "rewind" else ():
                self._reservations.drop_unposted(item.instance)
            for instance in reserved:  # before an engine can take the start, and give the id back
                self._reservations.mark_posted(instance, draft.message)
            self._disk.rename(temporary, f"{self._new}/{_message_file_name(draft, items)}")

    def next_number(self) -> int:
        """A number above all that were given out before.

        The counter isn't synced: a power cut may turn it back, but kills whoever used it. So each process looks once
        at what is waiting, and from then on the counter can be believed.
        """
        with self._disk.lock(f"{self._folder}/lock"):
            size, last = self._read_counter()
            if last is None or not self._is_counter_checked:
                waiting = (_number(name) for name in self._disk.listdir(self._new))
                last = max(last or 0, *waiting, 0)
            following = b"%012d\n" % (last + 1)
            if 0 < size < _MAX_COUNTER_BYTES:
                # A line more is much cheaper than a new file, which on some file systems costs as much as a sync.
                self._disk.append_once(f"{self._folder}/counter", following, create=False)
            else:
                self._replace_counter(following)
            self._is_counter_checked = True
        return last + 1

    def _read_counter(self) -> tuple[int, int | None]:
        """The counter's size and last number; 0 and None unless it ends in a whole line."""
        path = f"{self._folder}/counter"
        try:
            size = self._disk.size(path)
            text = self._disk.read_from(path, max(size - _COUNTER_LINE_BYTES, 0))
        except FileNotFoundError:
            return 0, None
        whole = size % _COUNTER_LINE_BYTES == 0 and text[:-1].isdigit() and text[-1:] == b"\n"
        return (size, int(text)) if whole else (0, None)

    def _replace_counter(self, line: bytes) -> None:
        temporary = f"{self._tmp}/counter"
        with suppress(FileNotFoundError):
            self._disk.unlink(temporary)
        self._disk.create(temporary, line, sync=False)
        self._disk.rename(temporary, f"{self._folder}/counter")

    # ── for readers: nothing here writes ───────────────────────────────────────────────────────────────────────────

    def pending_messages(self, instance: str) -> list[Message]:
        """What waits for this instance, in order; of messages about several only its items."""
        return list(self._messages_for(instance, self._disk.listdir(self._new), in_full=True))

    def read_listing(self) -> InboxListing:
        """The names of all that waits, for `requests` about several instances."""
        return InboxListing(self._disk.listdir(self._new))

    def abridged_messages(self, instance: str, listing: InboxListing | None = None) -> list[Message]:
        """What waits for an orchestration, in order: like `pending`, but of many events all but the first are only
        counted, and come without name and payload."""
        return list(self._messages_for(instance, (listing or self.read_listing()).names_for(instance), in_full=False))

    def _messages_for(self, instance: str, names: Iterable[str], *, in_full: bool) -> Iterator[Message]:
        endings = (f"-{_hash_instance(instance)}.json", f"-{_BATCH}.json")
        events = 0
        for name in sorted(name for name in names if name.endswith(endings)):
            events += _kind(name) == "raise-event"
            if not in_full and events > _MAX_EVENTS_READ and _kind(name) == "raise-event" and name.endswith(endings[0]):
                yield Message("", _number(name), _UNKNOWN_TIME, "raise-event", [MessageItem(instance)])
                continue
            message = self._try_read_message(name)
            if message is not None and (items := self._items_for(message, instance)):
                count = 0 if in_full else message.total
                yield msgspec.structs.replace(message, items=items, count=count, parts=(), batch=None)

    def _items_for(self, message: Message, instance: str) -> list[MessageItem]:
        start, count = 0, message.total
        if message.batch is not None:
            index = batches.item_index(message.batch, instance)
            if index is None or index >= count:
                return []
            start, count = index, 1
        return [item for item in self.read_items(message, start, count) if item.target == instance]

    def last_number(self) -> int:
        """The highest number that was given out; 0 where nobody can tell."""
        return self._read_counter()[1] or 0

    def has_newer(self, instance: str, number: int, kinds: Collection[str]) -> bool:
        """Whether a message of these kinds waits that has a higher number and may be about the instance."""
        names = self.read_listing().names_for(instance)
        return any(_number(name) > number and _kind(name) in kinds for name in names)

    def pending_starts(self) -> Iterator[Message]:
        """Every start that waits, in order. A batch in parts comes without its items: see `items`."""
        return self.pending_of_kinds({"start"})

    def pending_of_kinds(self, kinds: Collection[str]) -> Iterator[Message]:
        """Every message of these kinds that waits, in order. A batch in parts comes without its items: see `items`."""
        for name in sorted(name for name in self._disk.listdir(self._new) if _kind(name) in kinds):
            if (message := self._try_read_message(name)) is not None:
                yield message

    def read_items(self, message: Message, start: int, count: int) -> list[MessageItem]:
        """The items from index `start` on, `count` of them at most."""
        if not message.parts:
            return message.items[start : start + count]
        try:
            return self._parts.read_items(message, start, count)
        except (CorruptLine, FileNotFoundError) as error:
            raise DamagedMessage(f"a part of batch {message.message} is damaged or missing: {error}") from None

    def unreadable_files(self) -> list[str]:
        """The files that wait and can't be read as messages."""
        found: list[str] = []
        for name in sorted(self._disk.listdir(self._new)):
            try:
                if name.endswith(".json"):
                    self._read_message(name)
            except FileNotFoundError:
                continue
            except CorruptLine:
                found.append(f"{self._new}/{name}")
        return found

    def _try_read_message(self, name: str) -> Message | None:
        try:
            return self._read_message(name)[0]
        except (FileNotFoundError, CorruptLine):
            return None  # the engine was quicker, or will put it aside

    def _read_message(self, name: str) -> tuple[Message, int]:
        """A message and its size; raises Damaged."""
        data = self._disk.read(f"{self._new}/{name}")
        body = verify_crc(data.removesuffix(b"\n"))
        if not body.startswith(_FORMAT_PREFIX):
            raise CorruptLine("it isn't a message, or one of a later version")
        try:
            return _decode_message(body + b"}"), len(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CorruptLine(str(error)) from None

    # ── for the engine ─────────────────────────────────────────────────────────────────────────────────────────────

    def take_next(self, limit: int = 1000) -> list[Message]:
        """The next messages, each handed out once, at most `limit` of them and hardly more than 8 MiB.

        `more` says whether the last listing holds further ones; `listings` counts the listings begun.
        """
        found: list[Message] = []
        size = 0
        with self._guard, translate_os_errors("the inbox can't be read"):
            if not self._queue:
                self._list_folder()
            while self._queue and len(found) < limit and size < _MAX_READ_BYTES:
                name = self._queue[0]
                try:
                    message, length = self._read_message(name)
                except FileNotFoundError:
                    self._listed.discard(name)
                except CorruptLine as error:
                    self._move_to_bad(name, error)
                except OSError as error:
                    if error.errno in _NO_HANDLE_ERRNOS:
                        break  # the rest stays queued until there are file handles again
                    raise
                else:
                    self._handed_out[message.message] = name
                    found.append(message)
                    size += length
                self._queue.popleft()
                self._count_as_read(name)
        return found

    def _count_as_read(self, name: str) -> None:
        ending = _target_hash(name)
        self._unread_by_target[ending] -= 1
        if not self._unread_by_target[ending]:
            del self._unread_by_target[ending]

    def refresh_listing(self, *, force: bool = False) -> bool:
        """List the folder if anything was posted since the last listing, or in any case with `force`.

        True if everything that was acknowledged before this call has been listed. Listing a very full folder takes
        long: then it isn't done too often, and the answer may be False.
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

    def _posted_count(self) -> int:
        try:
            return self._disk.size(f"{self._folder}/{_POSTED_FILE}")
        except FileNotFoundError:
            return 0

    def has_unread(self, target: str) -> bool:
        """Whether a message that is listed and not yet read is, or may be, for this target."""
        return bool(self._queue) and (
            self._unread_by_target[_BATCH] > 0 or self._unread_by_target[_hash_instance(target)] > 0
        )

    @property
    def has_more(self) -> bool:
        """Whether `waiting` has more to hand out without listing again."""
        return bool(self._queue)

    def _list_folder(self) -> bool:
        """False if there is no file handle to list the folder with."""
        posted = self._posted_count()
        try:
            first = [name for name in self._disk.listdir(self._new) if self._is_new(name)]
            second = self._disk.listdir(self._new) if first else []
        except OSError as error:
            if error.errno in _NO_HANDLE_ERRNOS:
                return False
            raise
        if first:
            top = max(map(_number, first))
            names = sorted(name for name in second if self._is_new(name) and _number(name) <= top)
            self._listed.update(names)
            self._queue.extend(names)
            self._unread_by_target.update(map(_target_hash, names))
        self._posted_when_listed = posted
        self.listing_count += 1
        return True

    def _is_new(self, name: str) -> bool:
        return name.endswith(".json") and _number(name) > 0 and name not in self._listed

    def _move_to_bad(self, name: str, error: CorruptLine) -> None:
        self._disk.make_folder(f"{self._folder}/bad")
        self._disk.rename(f"{self._new}/{name}", f"{self._folder}/bad/{name}")
        self._listed.discard(name)
        self._warnings.append(f"{self._folder}/bad/{name}: {error}; the message was put aside and has no effect")

    def move_to_failed(self, message: Message, error: str) -> None:
        """Take a message out of the inbox that can't be handled: it is kept, and a repair may try it again."""
        with self._guard, translate_os_errors("a message can't be set aside"):
            name = self._handed_out.pop(message.message, None)
            if name is not None:
                self.failed_messages.move_from_inbox(name, message, message.items, self._now(), error)
                self._listed.discard(name)

    def store_failed(self, message: Message, error: str) -> None:
        """Keep a message that has no file of its own, as one that is set aside: one item of a batch. One of the
        engine's own process gets a number, for the inbox of which a repair makes it a message."""
        if not message.number:
            message = msgspec.structs.replace(message, number=self.next_number())
        body = b"%b%b" % (_FORMAT_PREFIX, _encode(message)[1:-1])
        with self._guard, translate_os_errors("a message can't be set aside"):
            self.failed_messages.store(
                _message_file_name(message, message.items), append_crc(body) + b"\n", message, self._now(), error
            )

    def take_warnings(self) -> list[str]:
        """What had to be put aside since the last call, a line each."""
        found, self._warnings = self._warnings, []
        return found

    def remove(self, messages: Iterable[str]) -> None:
        """Unlink messages that a commit has taken. Those that aren't there any more are fine."""
        unknown: set[str] = set()
        with self._guard, translate_os_errors("a message can't be removed"):
            for message in messages:
                name = self._handed_out.pop(message, None)
                if name is not None:
                    self._unlink(name)
                else:
                    unknown.add(message)
        if unknown and not self.listing_count:
            self._clean_up(unknown)  # recovery: they were handed out to an engine that is dead

    def remove_leftovers(self) -> None:
        """Unlink what died with its process: half-written files, reservations that nobody needs. For the engine, once,
        when it opens the hub."""
        self._retried_names = self.failed_messages.retried_names()
        self._clean_up(frozenset())

    def _clean_up(self, consumed: Collection[str]) -> None:
        with (
            self._guard,
            translate_os_errors("the inbox can't be put in order"),
            self._disk.lock(f"{self._folder}/lock"),
        ):
            # Reading all that waits takes time where it is much, so only when something depends on it.
            if consumed or self._disk.listdir(f"{self._folder}/ids"):
                self._reservations.remove_stale(self._unlink_consumed(consumed), consumed)
            self._remove_leftover_files()

    def _unlink_consumed(self, consumed: Collection[str]) -> set[str]:
        """Unlink the taken messages; gives those that are left."""
        waiting: set[str] = set()
        for name in self._disk.listdir(self._new):
            message = self._try_read_message(name) if name.endswith(".json") else None
            if message is not None and message.message in consumed:
                self._unlink(name)
            elif message is not None:
                waiting.add(message.message)
        return waiting

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(f"{self._new}/{name}")
        if name.endswith(f"-{_BATCH}.json"):
            self._parts.remove(name)
        if name in self._retried_names:
            self.failed_messages.forget_failure(name)
            self._retried_names.discard(name)
        self._listed.discard(name)

    def _remove_leftover_files(self) -> None:
        with suppress(FileNotFoundError):
            # It only grows. Whoever still counts in the old file has put his message where the first listing sees it.
            self._disk.unlink(f"{self._folder}/{_POSTED_FILE}")
        writing: set[int] = set()
        for name in self._disk.listdir(self._tmp):
            pid, _, rest = name.partition("-")
            if pid.isdigit() and _is_process_running(int(pid)):
                writing.add(_number(rest))
            else:
                with suppress(FileNotFoundError):
                    self._disk.unlink(f"{self._tmp}/{name}")
        # Listed after the temporary files: a batch whose manifest came in between has it in this listing.
        self._parts.remove_orphans({name for name in self._disk.listdir(self._new) if _number(name) not in writing})

    # ── ids that a starter chose himself ───────────────────────────────────────────────────────────────────────────

    def reserve(
        self, instance: str, message: str, *, allow_pending: bool = False, final: bool = False
    ) -> Reservation | None:
        """Hold an id for the start that `message` will be; raises Conflict when it is held or its start waits.

        Whether the instance exists already is for the caller to see, after this; if it does, he gives the id back.
        `over_waiting` says that he looks at a start that waits as well: he gets the reservation of that one, for giving
        the id back. A `final` reservation falls to nobody else.
        """
        with translate_os_errors(f"the id {instance!r} is not reserved"), self._disk.lock(f"{self._folder}/lock"):
            if self._first_targets is None:
                # Later ones have a reservation to be seen by: only a power cut loses those, and it loses us too.
                self._first_targets = {_target_hash(name) for name in self._disk.listdir(self._new)}
            return self._reservations.reserve(
                instance,
                message,
                lambda sure: self._start_messages(instance, sure),
                allow_pending=allow_pending,
                final=final,
            )

    def reserve_for_engine(self, instance: str) -> None:
        """Hold an id for what the engine itself starts; raises Conflict as `reserve` does."""
        self.reserve(instance, "", final=True)

    def make_final(self, instance: str, message: str) -> None:
        """Keep a reservation from falling to another; the engine that takes the start gives it back."""
        with translate_os_errors(f"the id {instance!r} is not reserved"), self._disk.lock(f"{self._folder}/lock"):
            self._reservations.make_final(instance, message)

    def cancel_reservation(self, instance: str, message: str, previous: Reservation | None) -> None:
        """Undo `reserve`, for a starter who posts nothing: an earlier start that still waits has its id again."""
        with translate_os_errors("an id can't be released"), self._disk.lock(f"{self._folder}/lock"):
            if not self._reservations.belongs_to(instance, message):
                return
            if previous is not None and previous.message in self._start_messages(instance, True):
                self._reservations.restore(previous)
            else:
                self._reservations.release(instance, message)

    def get_reservation(self, instance: str) -> Reservation | None:
        """Who holds an id. A rewind or a purge of it is a conflict for as long."""
        return self._reservations.get(instance)

    def list_reservations(self) -> list[Reservation]:
        """All ids that are held, for whoever looks for stale ones."""
        return self._reservations.list_all()

    def release_ids(self, reserved: Iterable[tuple[str, str]]) -> None:
        """Give ids back, each with the message that it was reserved for: the engine, when the history stands."""
        with translate_os_errors("an id can't be released"):
            for instance, message in reserved:
                self._reservations.release(instance, message)

    def _start_messages(self, instance: str, must_read: bool) -> set[str]:
        """The messages that wait and start an instance."""
        if not must_read and not {_hash_instance(instance), _BATCH} & (self._first_targets or set()):
            return set()
        return {each.message for each in self.abridged_messages(instance) if each.kind in ("start", "restart")}


class InboxListing:
    """The names of what waits at one moment, by the instance that they are about."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_target: dict[str, list[str]] = {}
        for name in names:
            self._by_target.setdefault(_target_hash(name), []).append(name)

    def names_for(self, instance: str) -> list[str]:
        """The names of the messages that may be about this instance."""
        return [*self._by_target.get(_hash_instance(instance), ()), *self._by_target.get(_BATCH, ())]

    @property
    def numbers(self) -> set[int]:
        """The numbers of all that waits."""
        return {_number(name) for names in self._by_target.values() for name in names}


def _kind(name: str) -> str:
    """The kind of message that a name stands for; empty for names that aren't ours."""
    return name[13:].rpartition("-")[0] if name.endswith(".json") else ""


def _target_hash(name: str) -> str:
    """The hash of the target that a name ends in."""
    return name.removesuffix(".json").rpartition("-")[2]


def _is_process_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _hash_instance(instance: str) -> str:
    return sha256(instance.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _message_file_name(message: Message, items: Sequence[MessageItem]) -> str:
    target = _hash_instance(items[0].target) if len(items) == 1 else _BATCH
    return f"{message.number:012d}-{message.kind}-{target}.json"


def _number(name: str) -> int:
    """The number that a name begins with; 0 for names that aren't ours."""
    digits = name[:12]
    return int(digits) if len(digits) == 12 and digits.isascii() and digits.isdigit() and name[12:13] == "-" else 0
