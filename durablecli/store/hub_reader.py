"""Reading a hub without the lock: status, history and list, of a hub that is at work, dead, or not ours to write.

Nothing here writes or locks, not even through sqlite. What runs ahead is always read first, the inbox before the
journal and the journal before the files: what an engine moves on in between is then seen twice, and never missed.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec

from durablecli.errors import DamagedHub
from durablecli.model.entity_id import is_entity_id, parse_entity_name
from durablecli.model.status import InstanceSummary
from durablecli.store import layout, quarantine, quarantined_messages, recovery
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history import writer
from durablecli.store.history.writer import Claim, History
from durablecli.store.inbox.inbox import Inbox, Listing
from durablecli.store.inbox.messages import Message
from durablecli.store.inbox.pending_messages import CHANGING, Request, foreseen, is_of_batch, passing
from durablecli.store.index import Index, Reader, Unusable, check, open_readonly
from durablecli.store.journal.snapshot import Glimpse, glimpse
from durablecli.store.lock import Holder, read_holder
from durablecli.store.os_errors import refusal
from durablecli.store.quarantine import SetAside
from durablecli.store.query import Page, Query, arrange, finish

_NOTHING = "nothing could be read"
_TRIES = 3
_SLICE = 1000
_T = TypeVar("_T")
_Posted = dict[str, list[Request]]


class ReadHub:
    """A hub to look at. One that is missing looks empty."""

    def __init__(self, root: str, disk: Disk | None = None, is_published: Callable[[str], bool] | None = None) -> None:
        self._root = root
        self._is_published = is_published
        self._disk: Disk = disk or LocalDisk()
        self._journal = f"{root}/{layout.JOURNAL}"
        self._inbox = Inbox(self._disk, root)

    def exists(self) -> bool:
        """Whether there is a hub; raises NewerHub, DamagedHub or NoPermission for one that can't be read."""
        with refusal(_NOTHING):
            try:
                layout.read_hub_file(self._disk, self._root)
            except FileNotFoundError:
                if any(writer.folders(self._disk, self._root)):
                    path = f"{self._root}/{layout.FILE}"
                    raise DamagedHub(f"{path} is missing; `durable doctor --repair` writes it anew") from None
                return False
        return True

    def read(self, instance: str) -> History | None:
        """The history of an instance as far as it is certain; None if there is none. Raises DamagedHub if a line of
        it is bad; `whole` is False when its last one is just being written."""
        if not self.exists():
            return None
        return self._read(instance, None)

    def _read(self, instance: str, journal: Glimpse | None) -> History | None:
        found = self._join(instance, journal)
        if found is not None and (found.broken or not found.lines):
            # A file that was made a moment ago is still empty, and the glimpse of the journal was older than that.
            found = self._join(instance, None)
        if found is not None and (found.broken or not found.lines):
            raise writer.damaged(writer.path(self._root, instance), found)
        return found

    def read_readable(self, instance: str) -> History | None:
        """The records before the first bad line, of a history that is damaged; None if nothing can be read."""
        found = self._join(instance, None)
        return found if found is not None and found.lines else None

    def set_aside(self, instance: str) -> SetAside | None:
        """Why the engine leaves an instance alone, if it does."""
        with refusal(_NOTHING):
            return quarantine.read(self._disk, self._root).get(instance)

    def kept(self, instance: str) -> int:
        """How much is kept for an instance that is, or was, set aside."""
        with refusal(_NOTHING):
            return len(quarantined_messages.read(self._disk, self._root, instance))

    def requests(self, instance: str) -> list[Message]:
        """What waits in the inbox for an orchestration, in order."""
        with refusal(_NOTHING):
            return self._inbox.requests(instance)

    def look(self, instance: str) -> Look:
        """What was posted for an orchestration and is in no commit yet, in order, and its history; both of one moment.
        Raises as `read`."""
        seen = Look([], None)
        for _ in range(_TRIES if self.exists() else 0):
            with refusal(_NOTHING):
                requests = self._inbox.requests(instance)
            if not requests:
                return Look([], self.read(instance))
            with refusal(_NOTHING):
                # One look at the journal says what of them is taken, and what came of it.
                journal = glimpse(self._disk, self._journal)
                found = self._read(instance, journal)
                seen = Look(_not_taken(requests, journal, found), found)
                # A message that is gone by now was taken, maybe after that look.
                if {each.number for each in requests} <= self._inbox.listing().numbers:
                    break
        return seen

    def readers(self) -> tuple[Callable[[str], Look], Callable[[str], History | None]]:
        """`look` and `read` for many instances, with one listing of the inbox and one look at the journal for all."""
        with refusal(_NOTHING):
            listing = self._inbox.listing() if self.exists() else Listing([])
        read = self.reader()

        def look(instance: str) -> Look:
            with refusal(_NOTHING):
                requests = self._inbox.requests(instance, listing)
            return self.look(instance) if requests else Look([], read(instance))

        return look, read

    def is_taken(self, message: str) -> bool:
        """Whether a commit that the journal still holds has taken this message whole."""
        with refusal(_NOTHING):
            return bool(glimpse(self._disk, self._journal).taken([message]))

    def reader(self) -> Callable[[str], History | None]:
        """`read` for many instances, with one look at the journal for all of them."""
        with refusal(_NOTHING):
            told = writer.claims(glimpse(self._disk, self._journal).beyond(0)) if self.exists() else {}

        def read(instance: str) -> History | None:
            with refusal(_NOTHING):
                found = writer.read(self._disk, self._root, instance)
                found = writer.merge(found, told.get(instance), instance)
            if found is None or found.broken or not found.lines:
                return self.read(instance)  # it has changed since, or there is something to say about it
            return found

        return read

    def _join(self, instance: str, journal: Glimpse | None) -> History | None:
        with refusal(_NOTHING):
            # Asked before the file is read: what is in it then stays in it.
            known = journal is None and self._is_published is not None and self._is_published(instance)
            commits = [] if known else (journal or glimpse(self._disk, self._journal)).about(instance)
            return writer.read_live(self._disk, self._root, commits, instance)

    def stamp(self, instance: str) -> tuple[object, ...]:
        """Something that changes when `read` or `pending` may give something else; cheap, for those who wait."""
        with refusal(_NOTHING):
            path = writer.path(self._root, instance)
            facts = self._disk.facts(path)
            size = self._disk.size(path) if facts else 0
            journal = sorted(self._disk.listdir(self._journal))
            live = max((name for name in journal if name.endswith(".jsonl")), default=None)
            grown = self._disk.size(f"{self._journal}/{live}") if live else 0
            return facts, size, tuple(journal), grown, len(self._disk.listdir(f"{self._root}/inbox/new"))

    def pending(self, instance: str) -> list[Message]:
        """What was posted for an instance and no engine has taken yet, in order. Ask before you `read`: then what is
        taken in between is in both."""
        with refusal(_NOTHING):
            return self._inbox.pending(instance) if self.exists() else []

    def page(self, query: Query) -> Page:
        """The instances that fit, in order; started ones that no engine has taken yet are among them, as Pending."""

        def answer(view: _View) -> Page:
            # However many of them turn out to be newer than the index says: enough rows are left.
            rows = view.table.rows(query, query.limit + 1 + len(view.newer))
            rows = [row for row in rows if row.id not in view.newer]
            rows += (row for row in view.own() if query.fits(row) and query.after_cursor(row))
            return finish(query, arrange(query, rows))

        return self._ask(answer) if self.exists() else Page([], None)

    def count(self, query: Query) -> int:
        """How many instances fit."""

        def answer(view: _View) -> int:
            old = (view.table.get(instance) for instance in view.newer)
            outdated = sum(1 for row in old if row is not None and query.fits(row))
            return view.table.count(query) - outdated + sum(1 for row in view.own() if query.fits(row))

        return self._ask(answer) if self.exists() else 0

    def holder(self) -> Holder | None:
        """The engine that hub.json names, dead or alive."""
        return read_holder(self._disk, self._root)

    def engine_info(self) -> dict[str, Any] | None:
        """What an engine wrote about itself, the last time it did; advice with its age, never truth."""
        with refusal(_NOTHING):
            try:
                found = msgspec.json.decode(self._disk.read(f"{self._root}/engine.json"))
            except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
                return None
        return found if isinstance(found, dict) else None

    # ── lists: the index, what the journal knows beyond it, and what waits in the inbox ────────────────────────────

    def _ask(self, answer: Callable[[_View], _T], tries: int = _TRIES) -> _T:
        with refusal(_NOTHING):
            # In the order that a start travels in: one that moves on meanwhile is then seen twice, and never missed.
            posted = self._posted()
            found, used = self._answer(answer, glimpse(self._disk, self._journal), posted)
            # A message that is gone by now was taken, and the table may be older than that.
            is_stale = bool(used) and not used <= self._inbox.listing().numbers
        return self._ask(answer, tries - 1) if is_stale and tries > 1 else found

    def _answer(self, answer: Callable[[_View], _T], journal: Glimpse, posted: _Posted) -> tuple[_T, set[int]]:
        """The answer, and the numbers of the messages that have changed recorded rows in it."""
        for table in self._tables(journal):
            try:
                view = self._view(table, journal, posted)
                return answer(view), view.used
            except Unusable:
                continue  # damaged further down
            finally:
                table.close()
        raise DamagedHub(f"the instances of {self._root} can't be listed; see `durable doctor`")

    def _view(self, table: Reader, journal: Glimpse, posted: _Posted) -> _View:
        newer = self._newer(table, journal)
        recorded = {id: newer[id] if id in newer else table.get(id) for id in posted}
        pending = {id: row for id in posted if recorded[id] is None and (row := foreseen(None, posted[id])) is not None}
        used = [each for id, row in recorded.items() if row is not None for each in posted[id]]
        taken = journal.taken({each.message.message for each in used}) if used else set()
        for id, row in recorded.items():
            if row is not None:
                left = [
                    each for each in posted[id] if each.message.message not in taken and not is_of_batch(each.message)
                ]
                newer[id] = foreseen(row, passing(left) if row.set_aside else left)
        return _View(table, newer, pending, {each.message.number for each in used})

    def _newer(self, table: Reader, journal: Glimpse) -> dict[str, InstanceSummary | None]:
        """The instances that the table is too old for."""
        newer: dict[str, InstanceSummary | None] = {}
        told: dict[str, Claim] | None = None
        for instance, claim in writer.claims(journal.beyond(table.last_commit)).items():
            found = self._joined(instance, claim)
            if not claim.gone and (found is None or found.last < claim.last):
                # The table is ahead of the file: what lies between stands further up in the journal.
                told = writer.claims(journal.beyond(0)) if told is None else told
                found = self._joined(instance, told[instance])
            newer[instance] = _summary(found)
        return newer | self._set_aside(table, newer)

    def _set_aside(self, table: Reader, newer: dict[str, InstanceSummary | None]) -> dict[str, InstanceSummary | None]:
        """The rows of instances that are set aside."""
        found: dict[str, InstanceSummary | None] = {}
        for id, entry in quarantine.read(self._disk, self._root).items():
            row = newer[id] if id in newer else table.get(id)
            if row is not None:
                found[id] = msgspec.structs.replace(row, set_aside=entry.reason)
            elif self._disk.exists(writer.path(self._root, id)):
                found[id] = _unreadable_row(entry)
        return found

    def _joined(self, instance: str, claim: Claim) -> History | None:
        return writer.merge(writer.read(self._disk, self._root, instance), claim, instance)

    def _posted(self) -> _Posted:
        """The requests that can change a row, by instance."""
        found: _Posted = {}
        for message in self._inbox.pending_kinds(CHANGING):
            for first in range(0, message.total, _SLICE):
                for item in self._inbox.items(message, first, _SLICE):
                    if not is_entity_id(item.target):
                        found.setdefault(item.target, []).append(Request(message, item))
        return found

    def _tables(self, journal: Glimpse) -> Iterator[Reader]:
        """What the journal can be laid over: the index, a private copy of it, or one folded for the moment."""
        path = f"{self._root}/index.sqlite"
        if self._disk.exists(path):
            for open_it in (open_readonly, _open_copy):
                with suppress(Unusable):
                    table = open_it(path)
                    if _reaches(table, journal.first - 1):
                        yield table
                    table.close()
        folded = Index()
        recovery.rebuild(folded, self._disk, self._root, journal.first - 1)
        yield folded


class Look(NamedTuple):
    """The requests for an instance that no engine has taken yet, in order, and its history."""

    requests: list[Message]
    history: History | None


class _View(NamedTuple):
    """A table, the instances that it is too old for (None: gone), and the starts that nobody has taken.

    `used` are the numbers of the messages that have changed something among them.
    """

    table: Reader
    newer: dict[str, InstanceSummary | None]
    pending: dict[str, InstanceSummary]
    used: set[int]

    def own(self) -> Iterator[InstanceSummary]:
        """The rows that aren't in the table."""
        yield from (row for row in self.newer.values() if row is not None)
        yield from self.pending.values()


def _not_taken(requests: list[Message], journal: Glimpse, found: History | None) -> list[Message]:
    """Those that no commit has taken. The file of one that was taken goes a moment later."""
    gone = journal.taken([each.message for each in requests if each.kind in CHANGING])
    # Of a batch some starts are taken earlier than others; the history says so of this one.
    return [each for each in requests if each.message not in gone and not (found and is_of_batch(each))]


def _reaches(table: Reader, commit: int) -> bool:
    try:
        return table.begin() >= commit
    except Unusable:
        return False


def _summary(found: History | None) -> InstanceSummary | None:
    if found is None or not found.lines:
        return None
    return recovery.summarize(found.instance, found.execution, found.lines)


def _unreadable_row(entry: SetAside) -> InstanceSummary:
    return InstanceSummary(
        id=entry.instance,
        name=parse_entity_name(entry.instance) if is_entity_id(entry.instance) else "",
        status="Unknown",
        execution="",
        parent=None,
        version=None,
        created=entry.since,
        updated=entry.since,
        records=0,
        bytes=0,
        next_due=None,
        has_pending_work=False,
        waiting=(),
        blocked=None,
        blocked_at=None,
        set_aside=entry.reason,
    )


def _open_copy(path: str) -> Reader:
    """A private copy of the index: there the journal of a dead engine may be rolled back; raises Unusable."""
    import shutil  # here: hardly ever needed, and slow to import
    import tempfile

    folder = tempfile.mkdtemp(prefix="durablecli-")
    try:
        copy = f"{folder}/index.sqlite"
        for _ in range(_TRIES):
            before = _prints(path)
            for ending in ("", "-journal"):
                if os.path.exists(path + ending):
                    shutil.copyfile(path + ending, copy + ending)
            if _prints(path) == before:
                return _open_private(copy)
            shutil.rmtree(folder)
            os.mkdir(folder, 0o700)
        raise Unusable("the index changes faster than it can be copied")
    except (OSError, sqlite3.Error) as error:
        raise Unusable(str(error)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # the open file stays readable


def _open_private(path: str) -> Reader:
    db = sqlite3.connect(path, isolation_level=None)
    try:
        check(db)
    except BaseException:
        db.close()
        raise
    return Reader(db)


def _prints(path: str) -> list[tuple[int, int, int] | None]:
    """What changes when a file is written or replaced; None for a file that isn't there."""
    found: list[tuple[int, int, int] | None] = []
    for each in (path, f"{path}-journal"):
        try:
            stat = os.stat(each)
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found
