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
from durablecli.model.codec import CorruptLine, append_crc, verify_crc
from durablecli.store.disk import Disk
from durablecli.store.inbox import batches, wakeup
from durablecli.store.inbox.failed_messages import FailedMessages
from durablecli.store.inbox.messages import KINDS, RUN_VARIABLE, Item, Message, Receipt, new_message
from durablecli.store.inbox.reservations import Reservation, Reservations
from durablecli.store.os_errors import refusal

FORMAT = 1
LARGEST = 16 * 1024 * 1024 + 65536  # one payload at its limit, and what stands around it
_TAKE_BYTES = 8 * 1024 * 1024
_HEAD = b'{"format":%d,' % FORMAT
_BATCH = "batch"
_EVENTS_READ = 100
_UNREAD = datetime(1970, 1, 1, tzinfo=UTC)
_POSTED = "posted"
"""This file grows by a byte with every message, after it is on disk and before it is acknowledged."""
_LONG_LISTING = 0.001
_LISTING_SHARE = 5
"""A long listing is repeated after a pause of this many times what it took, or of the longest pause in seconds."""
_LONGEST_PAUSE = 0.5
_COUNTER_LINE = 13
_COUNTER_SIZE = 4096
_NO_HANDLES = frozenset({errno.EMFILE, errno.ENFILE})

_encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(Message).decode


class Inbox:
    """The inbox of one hub. Clients post; only the engine calls `waiting`, `remove` and `sweep`."""

    def __init__(
        self,
        disk: Disk,
        root: str,
        *,
        now: Callable[[], datetime] | None = None,
        ring: Callable[[], None] | None = None,
    ) -> None:
        self._disk = disk
        self._root = root
        self._now = now or partial(datetime.now, UTC)
        self._ring = ring or partial(wakeup.ring, root)
        self._folder = f"{root}/inbox"
        self._new = f"{root}/inbox/new"
        self._tmp = f"{root}/inbox/tmp"
        self._looked = False
        self._guard = threading.Lock()
        self._queue: deque[str] = deque()  # names listed, not yet read
        self._seen: set[str] = set()  # names listed, not yet removed
        self._out: dict[str, str] = {}  # message handed out, not yet removed -> name
        self._reservations = Reservations(disk, f"{root}/inbox/ids")
        self._were_waiting: set[str] | None = None
        self._parts = batches.Parts(disk, self._new)
        self._findings: list[str] = []
        self._unread: Counter[str] = Counter()  # names in the queue, by what they end in
        self._posted_seen = -1
        self.failed = FailedMessages(disk, self._folder)
        self._retried: set[str] = set()  # names that were set aside once
        self._list_again = 0.0
        self.listings = 0

    # ── for clients ────────────────────────────────────────────────────────────────────────────────────────────────

    def post(self, kind: str, items: Sequence[Item], message: str | None = None) -> Receipt:
        """Write a message; on return it is on disk. Raises StorageError, and then nothing is promised."""
        if kind not in KINDS or not items:
            raise UsageError(f"no message can be made of {kind!r} with {len(items)} items")
        message = message or new_message()
        encoded = [_encode(item) for item in items]
        if max(map(len, encoded)) > LARGEST:
            raise UsageError(f"a message is limited to 16 MiB; {kind} of {items[0].instance!r} is larger")
        with refusal("the message is not acknowledged"):
            number = self.next_number()
            draft = Message(message, number, self._now(), kind, [], run=os.environ.get(RUN_VARIABLE))
            self._write(draft, items, encoded)
        self._ring()
        return Receipt(message, [item.instance for item in items])

    def _write(self, draft: Message, items: Sequence[Item], encoded: list[bytes]) -> None:
        parts: list[list[bytes]] = []
        if draft.kind == "start" and len(encoded) > 1 and sum(map(len, encoded)) > batches.PART_BYTES:
            parts = batches.split(encoded)
            draft = msgspec.structs.replace(
                draft, count=len(items), parts=batches.firsts(parts), batch=batches.common(items)
            )
        head = _encode(draft)[1:-1]
        inline = b"" if parts else b",".join(encoded)
        # The items were encoded once; they take the place of the draft's empty list.
        body = b"%b%b" % (_HEAD, head.replace(b'"items":[]', b'"items":[%b]' % inline, 1))
        temporary = f"{self._tmp}/{os.getpid()}-{draft.number:012d}-{draft.message}"
        self._disk.create(temporary, append_crc(body) + b"\n", sync=True)
        try:
            if parts:
                self._parts.write(draft, parts)
            self._show(temporary, draft, items)
        except (OSError, Conflict):
            with suppress(OSError):
                self._disk.unlink(temporary)
            raise
        self._disk.sync_folder(self._new)
        self._count_posted()

    def _count_posted(self) -> None:
        """Let the engine see, without listing the folder, that a message was posted before it was acknowledged."""
        path = f"{self._folder}/{_POSTED}"
        with suppress(FileNotFoundError):
            self._disk.append_once(path, b"\n", create=False)
            return
        with suppress(FileExistsError):
            self._disk.append_once(path, b"\n", create=True)
            return
        self._disk.append_once(path, b"\n", create=False)

    def _show(self, temporary: str, draft: Message, items: Sequence[Item]) -> None:
        """Give the file its name. What was decided about an id is looked at again, as others may decide meanwhile."""
        reserved = [item.target for item in items if item.reserved]
        exclusive = reserved or draft.kind == "rewind"
        with self._disk.lock(f"{self._folder}/lock") if exclusive else nullcontext():
            for instance in reserved:
                self._reservations.check(instance, draft.message)
            for item in items if draft.kind == "rewind" else ():
                self._reservations.drop_open(item.instance)
            for instance in reserved:  # before an engine can take the start, and give the id back
                self._reservations.mark_posted(instance, draft.message)
            self._disk.rename(temporary, f"{self._new}/{_name(draft, items)}")

    def next_number(self) -> int:
        """A number above all that were given out before.

        The counter isn't synced: a power cut may turn it back, but kills whoever used it. So each process looks once
        at what is waiting, and from then on the counter can be believed.
        """
        with self._disk.lock(f"{self._folder}/lock"):
            size, last = self._counter()
            if last is None or not self._looked:
                waiting = (_number(name) for name in self._disk.listdir(self._new))
                last = max(last or 0, *waiting, 0)
            following = b"%012d\n" % (last + 1)
            if 0 < size < _COUNTER_SIZE:
                # A line more is much cheaper than a new file, which on some file systems costs as much as a sync.
                self._disk.append_once(f"{self._folder}/counter", following, create=False)
            else:
                self._begin_counter(following)
            self._looked = True
        return last + 1

    def _counter(self) -> tuple[int, int | None]:
        """The counter's size and last number; 0 and None unless it ends in a whole line."""
        path = f"{self._folder}/counter"
        try:
            size = self._disk.size(path)
            text = self._disk.read_from(path, max(size - _COUNTER_LINE, 0))
        except FileNotFoundError:
            return 0, None
        whole = size % _COUNTER_LINE == 0 and text[:-1].isdigit() and text[-1:] == b"\n"
        return (size, int(text)) if whole else (0, None)

    def _begin_counter(self, line: bytes) -> None:
        temporary = f"{self._tmp}/counter"
        with suppress(FileNotFoundError):
            self._disk.unlink(temporary)
        self._disk.create(temporary, line, sync=False)
        self._disk.rename(temporary, f"{self._folder}/counter")

    # ── for readers: nothing here writes ───────────────────────────────────────────────────────────────────────────

    def pending(self, instance: str) -> list[Message]:
        """What waits for this instance, in order; of messages about several only its items."""
        return list(self._about(instance, self._disk.listdir(self._new), whole=True))

    def listing(self) -> Listing:
        """The names of all that waits, for `requests` about several instances."""
        return Listing(self._disk.listdir(self._new))

    def requests(self, instance: str, listing: Listing | None = None) -> list[Message]:
        """What waits for an orchestration, in order: like `pending`, but of many events all but the first are only
        counted, and come without name and payload."""
        return list(self._about(instance, (listing or self.listing()).about(instance), whole=False))

    def _about(self, instance: str, names: Iterable[str], *, whole: bool) -> Iterator[Message]:
        endings = (f"-{_hash(instance)}.json", f"-{_BATCH}.json")
        events = 0
        for name in sorted(name for name in names if name.endswith(endings)):
            events += _kind(name) == "raise-event"
            if not whole and events > _EVENTS_READ and _kind(name) == "raise-event" and name.endswith(endings[0]):
                yield Message("", _number(name), _UNREAD, "raise-event", [Item(instance)])
                continue
            message = self._peek(name)
            if message is not None and (items := self._items_of(message, instance)):
                count = 0 if whole else message.total
                yield msgspec.structs.replace(message, items=items, count=count, parts=(), batch=None)

    def _items_of(self, message: Message, instance: str) -> list[Item]:
        start, count = 0, message.total
        if message.batch is not None:
            index = batches.index(message.batch, instance)
            if index is None or index >= count:
                return []
            start, count = index, 1
        return [item for item in self.items(message, start, count) if item.target == instance]

    def last_number(self) -> int:
        """The highest number that was given out; 0 where nobody can tell."""
        return self._counter()[1] or 0

    def has_newer(self, instance: str, number: int, kinds: Collection[str]) -> bool:
        """Whether a message of these kinds waits that has a higher number and may be about the instance."""
        names = self.listing().about(instance)
        return any(_number(name) > number and _kind(name) in kinds for name in names)

    def pending_starts(self) -> Iterator[Message]:
        """Every start that waits, in order. A batch in parts comes without its items: see `items`."""
        return self.pending_kinds({"start"})

    def pending_kinds(self, kinds: Collection[str]) -> Iterator[Message]:
        """Every message of these kinds that waits, in order. A batch in parts comes without its items: see `items`."""
        for name in sorted(name for name in self._disk.listdir(self._new) if _kind(name) in kinds):
            if (message := self._peek(name)) is not None:
                yield message

    def items(self, message: Message, start: int, count: int) -> list[Item]:
        """The items from index `start` on, `count` of them at most."""
        if not message.parts:
            return message.items[start : start + count]
        try:
            return self._parts.read(message, start, count)
        except (CorruptLine, FileNotFoundError) as error:
            raise DamagedMessage(f"a part of batch {message.message} is damaged or missing: {error}") from None

    def unreadable(self) -> list[str]:
        """The files that wait and can't be read as messages."""
        found: list[str] = []
        for name in sorted(self._disk.listdir(self._new)):
            try:
                if name.endswith(".json"):
                    self._read(name)
            except FileNotFoundError:
                continue
            except CorruptLine:
                found.append(f"{self._new}/{name}")
        return found

    def _peek(self, name: str) -> Message | None:
        try:
            return self._read(name)[0]
        except (FileNotFoundError, CorruptLine):
            return None  # the engine was quicker, or will put it aside

    def _read(self, name: str) -> tuple[Message, int]:
        """A message and its size; raises Damaged."""
        data = self._disk.read(f"{self._new}/{name}")
        body = verify_crc(data.removesuffix(b"\n"))
        if not body.startswith(_HEAD):
            raise CorruptLine("it isn't a message, or one of a later version")
        try:
            return _message(body + b"}"), len(data)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise CorruptLine(str(error)) from None

    # ── for the engine ─────────────────────────────────────────────────────────────────────────────────────────────

    def waiting(self, limit: int = 1000) -> list[Message]:
        """The next messages, each handed out once, at most `limit` of them and hardly more than 8 MiB.

        `more` says whether the last listing holds further ones; `listings` counts the listings begun.
        """
        found: list[Message] = []
        size = 0
        with self._guard, refusal("the inbox can't be read"):
            if not self._queue:
                self._list()
            while self._queue and len(found) < limit and size < _TAKE_BYTES:
                name = self._queue[0]
                try:
                    message, length = self._read(name)
                except FileNotFoundError:
                    self._seen.discard(name)
                except CorruptLine as error:
                    self._put_aside(name, error)
                except OSError as error:
                    if error.errno in _NO_HANDLES:
                        break  # the rest stays queued until there are file handles again
                    raise
                else:
                    self._out[message.message] = name
                    found.append(message)
                    size += length
                self._queue.popleft()
                self._read_one(name)
        return found

    def _read_one(self, name: str) -> None:
        ending = _target(name)
        self._unread[ending] -= 1
        if not self._unread[ending]:
            del self._unread[ending]

    def catch_up(self, *, force: bool = False) -> bool:
        """List the folder if anything was posted since the last listing, or in any case with `force`.

        True if everything that was acknowledged before this call has been listed. Listing a very full folder takes
        long: then it isn't done too often, and the answer may be False.
        """
        with self._guard, refusal("the inbox can't be read"):
            is_known = self._posted() == self._posted_seen
            if is_known and not force:
                return True
            began = monotonic()
            if began < self._list_again or not self._list():
                return is_known
            took = monotonic() - began
            self._list_again = began + min(took * _LISTING_SHARE, _LONGEST_PAUSE) if took > _LONG_LISTING else 0.0
        return True

    def _posted(self) -> int:
        try:
            return self._disk.size(f"{self._folder}/{_POSTED}")
        except FileNotFoundError:
            return 0

    def has_unread(self, target: str) -> bool:
        """Whether a message that is listed and not yet read is, or may be, for this target."""
        return bool(self._queue) and (self._unread[_BATCH] > 0 or self._unread[_hash(target)] > 0)

    @property
    def more(self) -> bool:
        """Whether `waiting` has more to hand out without listing again."""
        return bool(self._queue)

    def _list(self) -> bool:
        """False if there is no file handle to list the folder with."""
        posted = self._posted()
        try:
            first = [name for name in self._disk.listdir(self._new) if self._is_new(name)]
            second = self._disk.listdir(self._new) if first else []
        except OSError as error:
            if error.errno in _NO_HANDLES:
                return False
            raise
        if first:
            top = max(map(_number, first))
            names = sorted(name for name in second if self._is_new(name) and _number(name) <= top)
            self._seen.update(names)
            self._queue.extend(names)
            self._unread.update(map(_target, names))
        self._posted_seen = posted
        self.listings += 1
        return True

    def _is_new(self, name: str) -> bool:
        return name.endswith(".json") and _number(name) > 0 and name not in self._seen

    def _put_aside(self, name: str, error: CorruptLine) -> None:
        self._disk.make_folder(f"{self._folder}/bad")
        self._disk.rename(f"{self._new}/{name}", f"{self._folder}/bad/{name}")
        self._seen.discard(name)
        self._findings.append(f"{self._folder}/bad/{name}: {error}; the message was put aside and has no effect")

    def set_aside(self, message: Message, error: str) -> None:
        """Take a message out of the inbox that can't be handled: it is kept, and a repair may try it again."""
        with self._guard, refusal("a message can't be set aside"):
            name = self._out.pop(message.message, None)
            if name is not None:
                self.failed.move(name, message, message.items, self._now(), error)
                self._seen.discard(name)

    def keep_aside(self, message: Message, error: str) -> None:
        """Keep a message that has no file of its own, as one that is set aside: one item of a batch. One of the
        engine's own process gets a number, for the inbox of which a repair makes it a message."""
        if not message.number:
            message = msgspec.structs.replace(message, number=self.next_number())
        body = b"%b%b" % (_HEAD, _encode(message)[1:-1])
        with self._guard, refusal("a message can't be set aside"):
            self.failed.keep(_name(message, message.items), append_crc(body) + b"\n", message, self._now(), error)

    def findings(self) -> list[str]:
        """What had to be put aside since the last call, a line each."""
        found, self._findings = self._findings, []
        return found

    def remove(self, messages: Iterable[str]) -> None:
        """Unlink messages that a commit has taken. Those that aren't there any more are fine."""
        strange: set[str] = set()
        with self._guard, refusal("a message can't be removed"):
            for message in messages:
                name = self._out.pop(message, None)
                if name is not None:
                    self._unlink(name)
                else:
                    strange.add(message)
        if strange and not self.listings:
            self._settle(strange)  # recovery: they were handed out to an engine that is dead

    def sweep(self) -> None:
        """Unlink what died with its process: half-written files, reservations that nobody needs. For the engine, once,
        when it opens the hub."""
        self._retried = self.failed.retried()
        self._settle(frozenset())

    def _settle(self, taken: Collection[str]) -> None:
        with self._guard, refusal("the inbox can't be put in order"), self._disk.lock(f"{self._folder}/lock"):
            # Reading all that waits takes time where it is much, so only when something depends on it.
            if taken or self._disk.listdir(f"{self._folder}/ids"):
                self._reservations.forget_stale(self._drop(taken), taken)
            self._sweep()

    def _drop(self, taken: Collection[str]) -> set[str]:
        """Unlink the taken messages; gives those that are left."""
        waiting: set[str] = set()
        for name in self._disk.listdir(self._new):
            message = self._peek(name) if name.endswith(".json") else None
            if message is not None and message.message in taken:
                self._unlink(name)
            elif message is not None:
                waiting.add(message.message)
        return waiting

    def _unlink(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._disk.unlink(f"{self._new}/{name}")
        if name.endswith(f"-{_BATCH}.json"):
            self._parts.remove(name)
        if name in self._retried:
            self.failed.forget(name)
            self._retried.discard(name)
        self._seen.discard(name)

    def _sweep(self) -> None:
        with suppress(FileNotFoundError):
            # It only grows. Whoever still counts in the old file has put his message where the first listing sees it.
            self._disk.unlink(f"{self._folder}/{_POSTED}")
        writing: set[int] = set()
        for name in self._disk.listdir(self._tmp):
            pid, _, rest = name.partition("-")
            if pid.isdigit() and _runs(int(pid)):
                writing.add(_number(rest))
            else:
                with suppress(FileNotFoundError):
                    self._disk.unlink(f"{self._tmp}/{name}")
        # Listed after the temporary files: a batch whose manifest came in between has it in this listing.
        self._parts.sweep({name for name in self._disk.listdir(self._new) if _number(name) not in writing})

    # ── ids that a starter chose himself ───────────────────────────────────────────────────────────────────────────

    def reserve(
        self, instance: str, message: str, *, over_waiting: bool = False, final: bool = False
    ) -> Reservation | None:
        """Hold an id for the start that `message` will be; raises Conflict when it is held or its start waits.

        Whether the instance exists already is for the caller to see, after this; if it does, he gives the id back.
        `over_waiting` says that he looks at a start that waits as well: he gets the reservation of that one, for giving
        the id back. A `final` reservation falls to nobody else.
        """
        with refusal(f"the id {instance!r} is not reserved"), self._disk.lock(f"{self._folder}/lock"):
            if self._were_waiting is None:
                # Later ones have a reservation to be seen by: only a power cut loses those, and it loses us too.
                self._were_waiting = {_target(name) for name in self._disk.listdir(self._new)}
            return self._reservations.hold(
                instance, message, lambda sure: self._starts(instance, sure), over_waiting=over_waiting, final=final
            )

    def claim(self, instance: str) -> None:
        """Hold an id for what the engine itself starts; raises Conflict as `reserve` does."""
        self.reserve(instance, "", final=True)

    def make_final(self, instance: str, message: str) -> None:
        """Keep a reservation from falling to another; the engine that takes the start gives it back."""
        with refusal(f"the id {instance!r} is not reserved"), self._disk.lock(f"{self._folder}/lock"):
            self._reservations.make_final(instance, message)

    def give_back(self, instance: str, message: str, before: Reservation | None) -> None:
        """Undo `reserve`, for a starter who posts nothing: an earlier start that still waits has its id again."""
        with refusal("an id can't be released"), self._disk.lock(f"{self._folder}/lock"):
            if not self._reservations.names(instance, message):
                return
            if before is not None and before.message in self._starts(instance, True):
                self._reservations.restore(before)
            else:
                self._reservations.release(instance, message)

    def reserved(self, instance: str) -> Reservation | None:
        """Who holds an id. A rewind or a purge of it is a conflict for as long."""
        return self._reservations.get(instance)

    def reservations(self) -> list[Reservation]:
        """All ids that are held, for whoever looks for stale ones."""
        return self._reservations.all()

    def release(self, reserved: Iterable[tuple[str, str]]) -> None:
        """Give ids back, each with the message that it was reserved for: the engine, when the history stands."""
        with refusal("an id can't be released"):
            for instance, message in reserved:
                self._reservations.release(instance, message)

    def _starts(self, instance: str, sure: bool) -> set[str]:
        """The messages that wait and start an instance."""
        if not sure and not {_hash(instance), _BATCH} & (self._were_waiting or set()):
            return set()
        return {each.message for each in self.requests(instance) if each.kind in ("start", "restart")}


class Listing:
    """The names of what waits at one moment, by the instance that they are about."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_target: dict[str, list[str]] = {}
        for name in names:
            self._by_target.setdefault(_target(name), []).append(name)

    def about(self, instance: str) -> list[str]:
        """The names of the messages that may be about this instance."""
        return [*self._by_target.get(_hash(instance), ()), *self._by_target.get(_BATCH, ())]

    @property
    def numbers(self) -> set[int]:
        """The numbers of all that waits."""
        return {_number(name) for names in self._by_target.values() for name in names}


def _kind(name: str) -> str:
    """The kind of message that a name stands for; empty for names that aren't ours."""
    return name[13:].rpartition("-")[0] if name.endswith(".json") else ""


def _target(name: str) -> str:
    """The hash of the target that a name ends in."""
    return name.removesuffix(".json").rpartition("-")[2]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _hash(instance: str) -> str:
    return sha256(instance.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _name(message: Message, items: Sequence[Item]) -> str:
    target = _hash(items[0].target) if len(items) == 1 else _BATCH
    return f"{message.number:012d}-{message.kind}-{target}.json"


def _number(name: str) -> int:
    """The number that a name begins with; 0 for names that aren't ours."""
    digits = name[:12]
    return int(digits) if len(digits) == 12 and digits.isascii() and digits.isdigit() and name[12:13] == "-" else 0
