"""Reading a hub without the lock or write access, while an engine runs or after it died: status, history and lists.

Nothing here writes or locks, not even through sqlite. Data is read in the order in which an engine moves it, the inbox
before the journal and the journal before the files: what is moved meanwhile is seen twice, but never missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import msgspec

from durablecli.errors import DamagedHub
from durablecli.model.entity_id import is_entity_id, parse_entity_name
from durablecli.model.status import InstanceSummary
from durablecli.store import layout, quarantine, quarantined_messages, recovery
from durablecli.store.change_token import hub_token, instance_token
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.engine_info import EngineInfo, read_engine_info
from durablecli.store.history.file import (
    History,
    history_folders,
    history_path,
    make_damage_error,
    read_history,
    resolve_history,
)
from durablecli.store.history.merge import (
    JournalPart,
    combine_writes,
    merge_with_journal,
    parts_by_instance,
    read_live_history,
)
from durablecli.store.hub_file import EngineProcess, read_engine_process, read_hub_file
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.message_files import InboxListing
from durablecli.store.inbox.messages import Message
from durablecli.store.inbox.pending_messages import (
    STATUS_CHANGING_KINDS,
    PendingItem,
    is_batch_start,
    items_for_quarantined,
    predict_row,
)
from durablecli.store.index import Index, IndexReader, IndexUnusable, open_index_readonly
from durablecli.store.index_copy import open_index_copy
from durablecli.store.journal.snapshot import JournalSnapshot, read_journal_snapshot
from durablecli.store.merged_view import MergedView, PageAndCounts
from durablecli.store.os_errors import translate_os_errors
from durablecli.store.publication import PublicationStatus
from durablecli.store.quarantine import QuarantinedInstance
from durablecli.store.query import Page, Query

_READ_FAILED = "nothing could be read"
_MAX_TRIES = 3
_T = TypeVar("_T")
_K = TypeVar("_K")
_PendingItems = dict[str, list[PendingItem]]


class HubReader:
    """Reads one hub. A missing hub reads as an empty one."""

    def __init__(self, root: str, disk: Disk | None = None, publication: PublicationStatus | None = None) -> None:
        self._root = root
        self._publication = publication
        self._disk: Disk = disk or LocalDisk()
        self._journal = f"{root}/{layout.JOURNAL_FOLDER}"
        self._inbox = InboxReader(self._disk, root)

    def exists(self) -> bool:
        """Return whether there is a hub; raise NewerHub, DamagedHub or NoPermission for one that can't be read."""
        if self._publication is not None and self._publication.is_running:
            return True  # an engine in this process has opened it
        with translate_os_errors(_READ_FAILED):
            try:
                read_hub_file(self._disk, self._root)
            except FileNotFoundError:
                if any(history_folders(self._disk, self._root)):
                    path = f"{self._root}/{layout.HUB_FILE}"
                    raise DamagedHub(f"{path} is missing; recreate it with: durable doctor --repair") from None
                return False
        return True

    def read_history(self, instance: str) -> History | None:
        """Read the durable part of an instance's history; None if there is none.

        Raises DamagedHub if a line is bad; `is_whole` is False while its last line is being written.
        """
        if not self.exists():
            return None
        return self._read_history(instance, None)

    def _read_history(self, instance: str, journal: JournalSnapshot | None) -> History | None:
        found = self._read_merged(instance, journal)
        if found is not None and (found.is_damaged or not found.lines):
            # A file created a moment ago is still empty, and the snapshot of the journal was older than that.
            found = self._read_merged(instance, None)
        if found is not None and (found.is_damaged or not found.lines):
            raise make_damage_error(history_path(self._root, instance), found)
        return found

    def read_readable_part(self, instance: str) -> History | None:
        """Read the records before the first bad line of a damaged history; None if nothing can be read."""
        found = self._read_merged(instance, None)
        return found if found is not None and found.lines else None

    def quarantine_entry(self, instance: str) -> QuarantinedInstance | None:
        """Return why an instance is quarantined; None if it isn't."""
        with translate_os_errors(_READ_FAILED):
            return quarantine.read_quarantine(self._disk, self._root).get(instance)

    def count_quarantined_messages(self, instance: str) -> int:
        """Count the messages kept for an instance that is, or was, quarantined."""
        with translate_os_errors(_READ_FAILED):
            return len(quarantined_messages.read_quarantined_messages(self._disk, self._root, instance))

    def abridged_messages(self, instance: str) -> list[Message]:
        """Return the messages that wait in the inbox for an orchestration, in order."""
        with translate_os_errors(_READ_FAILED):
            return self._inbox.abridged_messages(instance)

    def read_instance(self, instance: str) -> InstanceSnapshot:
        """Read an orchestration's uncommitted messages, in order, and its history, both of one moment.

        Raises as `read_history`.
        """
        seen = InstanceSnapshot([], None)
        for _ in range(_MAX_TRIES if self.exists() else 0):
            with translate_os_errors(_READ_FAILED):
                requests = self._inbox.abridged_messages(instance)
            if not requests:
                return InstanceSnapshot([], self._read_history(instance, None))
            with translate_os_errors(_READ_FAILED):
                # One snapshot of the journal shows which of them are consumed, and with which outcome.
                journal = self._read_journal()
                found = self._read_history(instance, journal)
                seen = InstanceSnapshot(_not_consumed(requests, self._inbox, journal, found, instance), found)
                # A message that is gone by now was consumed, maybe after that snapshot.
                if {each.number for each in requests} <= self._inbox.read_listing().numbers:
                    break
        return seen

    def bulk_readers(self) -> tuple[Callable[[str], InstanceSnapshot], Callable[[str], History | None]]:
        """Return bulk versions of `read_instance` and `read_history`.

        They share one listing of the inbox and one snapshot of the journal.
        """
        with translate_os_errors(_READ_FAILED):
            listing = self._inbox.read_listing() if self.exists() else InboxListing([])
        read = self.bulk_reader()

        def read_instance(instance: str) -> InstanceSnapshot:
            with translate_os_errors(_READ_FAILED):
                requests = self._inbox.abridged_messages(instance, listing)
            return self.read_instance(instance) if requests else InstanceSnapshot([], read(instance))

        return read_instance, read

    def is_consumed(self, message: str) -> bool:
        """Return whether a commit that the journal still holds has consumed this message completely."""
        with translate_os_errors(_READ_FAILED):
            return bool(self._read_journal().consumed_among([message]))

    def bulk_reader(self) -> Callable[[str], History | None]:
        """Return a bulk version of `read_history`, which uses one snapshot of the journal."""
        with translate_os_errors(_READ_FAILED):
            parts = parts_by_instance(self._read_journal().after(0)) if self.exists() else {}

        def read(instance: str) -> History | None:
            with translate_os_errors(_READ_FAILED):
                found = resolve_history(self._disk, self._root, self._merge_part(instance, parts.get(instance)))
            if found is None or found.is_damaged or not found.lines:
                return self.read_history(instance)  # changed since, or an error to raise
            return found

        return read

    def _read_merged(self, instance: str, journal: JournalSnapshot | None) -> History | None:
        with translate_os_errors(_READ_FAILED):
            # Before the file: what is in the file then stays there.
            engine = self._publication
            if journal is None and engine is not None and engine.is_running and not engine.is_on_its_way(instance):
                part = combine_writes(engine.list_unpublished(instance))
                found = self._merge_part(instance, part)
            else:
                commits = (journal or self._read_journal()).for_instance(instance)
                found = read_live_history(self._disk, self._root, commits, instance)
            return resolve_history(self._disk, self._root, found)

    def _read_journal(self) -> JournalSnapshot:
        return read_journal_snapshot(self._disk, self._journal)

    def change_token(self, instance: str | None = None) -> tuple[object, ...]:
        """Return a value, cheap to poll, that changes whenever `read_history` or `pending_messages` may; without an
        instance, those of any."""
        with translate_os_errors(_READ_FAILED):
            if instance is None:
                return hub_token(self._disk, self._root)
            return instance_token(self._disk, self._root, instance, self._publication)

    def pending_messages(self, instance: str) -> list[Message]:
        """Return the unconsumed messages for an instance, in order.

        Call this before `read_history`: messages consumed in between then appear in both.
        """
        with translate_os_errors(_READ_FAILED):
            return self._inbox.pending_messages(instance) if self.exists() else []

    def page(self, query: Query) -> Page:
        """Return the matching instances, in order; starts that no engine has consumed yet are included, as Pending."""
        return self._query(lambda view: view.page(query)) if self.exists() else Page([], None)

    def count(self, query: Query) -> int:
        """Count the matching instances."""
        return self._query(lambda view: view.count(query)) if self.exists() else 0

    def page_and_counts(self, query: Query, *, indexed_only: bool = False) -> PageAndCounts:
        """Return a page, and the number of instances of each status that match regardless of status, as of one moment.

        `indexed_only` reads no more than the index, which costs little however busy the engine is: it is behind by a
        fraction of a second, and has no starts that wait in the inbox.
        """
        if not self.exists():
            return PageAndCounts(Page([], None), {})
        if indexed_only:
            with suppress(IndexUnusable), translate_os_errors(_READ_FAILED):
                return self._read_indexed(query)
        return self._query(lambda view: view.page_and_counts(query))

    def count_groups(
        self, query: Query, count: Callable[[IndexReader], dict[_K, int]], key: Callable[[InstanceSummary], _K]
    ) -> dict[_K, int]:
        """Count the matching instances of each group: `count` counts those of the index, `key` is the group of one."""
        return self._query(lambda view: view.count_groups(query, count, key)) if self.exists() else {}

    def count_children(self, parents: Sequence[str]) -> dict[str, int]:
        """Count the sub-orchestrations of each of these instances."""
        return self._query(lambda view: view.count_children(parents)) if self.exists() else {}

    def children(self, parents: Sequence[str], limit: int) -> dict[str, list[InstanceSummary]]:
        """Return the sub-orchestrations of each of these instances, the oldest first, and of each at most `limit`."""
        return self._query(lambda view: view.children(parents, limit)) if self.exists() else {}

    def _read_indexed(self, query: Query) -> PageAndCounts:
        table = open_index_readonly(f"{self._root}/{layout.INDEX_FILE}")
        try:
            table.begin_read()
            return MergedView(table, {}, {}, set()).page_and_counts(query)
        finally:
            table.close()

    def engine_process(self) -> EngineProcess | None:
        """Return the engine that hub.json names, dead or alive."""
        return read_engine_process(self._disk, self._root)

    def read_engine_info(self) -> EngineInfo | None:
        """Return the last report of an engine about itself; it may be outdated."""
        with translate_os_errors(_READ_FAILED):
            return read_engine_info(self._disk, self._root)

    # ── lists: the index, newer commits in the journal, and waiting messages in the inbox ────────────────────────────

    def _query(self, answer: Callable[[MergedView], _T], tries: int = _MAX_TRIES) -> _T:
        with translate_os_errors(_READ_FAILED):
            # Read in the order in which a start moves: one that moves meanwhile is then seen twice, but never missed.
            posted = self._read_pending_items()
            found, used = self._read_once(answer, self._read_journal(), posted)
            # A message that is gone by now was consumed, and the table may be older than that.
            is_stale = bool(used) and not used <= self._inbox.read_listing().numbers
        return self._query(answer, tries - 1) if is_stale and tries > 1 else found

    def _read_once(
        self, answer: Callable[[MergedView], _T], journal: JournalSnapshot, pending: _PendingItems
    ) -> tuple[_T, set[int]]:
        """Return the answer, and the numbers of the messages that changed recorded rows in it."""
        for table in self._open_tables(journal):
            try:
                view = self._build_view(table, journal, pending)
                return answer(view), view.used_numbers
            except IndexUnusable:
                continue  # damaged at a later page
            finally:
                table.close()
        raise DamagedHub(f"the instances of {self._root} can't be listed; run: durable doctor")

    def _build_view(self, table: IndexReader, journal: JournalSnapshot, pending_items: _PendingItems) -> MergedView:
        newer = self._newer_rows(table, journal)
        recorded = {id: newer[id] if id in newer else table.get(id) for id in pending_items}
        pending = {
            id: row
            for id in pending_items
            if recorded[id] is None and (row := predict_row(None, pending_items[id])) is not None
        }
        used = [each for id, row in recorded.items() if row is not None for each in pending_items[id]]
        taken = journal.consumed_among({each.message.message for each in used}) if used else set()
        for id, row in recorded.items():
            if row is not None:
                left = [
                    each
                    for each in pending_items[id]
                    if each.message.message not in taken and not is_batch_start(each.message)
                ]
                newer[id] = predict_row(row, items_for_quarantined(left) if row.set_aside else left)
        return MergedView(table, newer, pending, {each.message.number for each in used})

    def _newer_rows(self, table: IndexReader, journal: JournalSnapshot) -> dict[str, InstanceSummary | None]:
        """Return the instances for which the table is outdated."""
        newer: dict[str, InstanceSummary | None] = {}
        parts: dict[str, JournalPart] | None = None
        for instance, part in parts_by_instance(journal.after(table.last_commit)).items():
            found = self._merge_part(instance, part)
            if not part.purged and (found is None or found.last < part.last):
                # The table is newer than the file: the lines in between are in an earlier part of the journal.
                parts = parts_by_instance(journal.after(0)) if parts is None else parts
                found = self._merge_part(instance, parts[instance])
            newer[instance] = _to_summary(self._disk, self._root, found)
        return newer | self._quarantined_rows(table, newer)

    def _quarantined_rows(
        self, table: IndexReader, newer: dict[str, InstanceSummary | None]
    ) -> dict[str, InstanceSummary | None]:
        """Return the rows of quarantined instances."""
        found: dict[str, InstanceSummary | None] = {}
        for id, entry in quarantine.read_quarantine(self._disk, self._root).items():
            row = newer[id] if id in newer else table.get(id)
            if row is not None:
                found[id] = msgspec.structs.replace(row, set_aside=entry.reason)
            elif self._disk.exists(history_path(self._root, id)):
                found[id] = _unreadable_row(entry)
        return found

    def _merge_part(self, instance: str, part: JournalPart | None) -> History | None:
        return merge_with_journal(read_history(self._disk, self._root, instance), part, instance)

    def _read_pending_items(self) -> _PendingItems:
        """Read the requests that can change a row, by instance."""
        found: _PendingItems = {}
        for message in self._inbox.pending_of_kinds(STATUS_CHANGING_KINDS):
            # The instances of the items before this one are in the journal and the index, or purged.
            begin = self._read_journal().consumed_count(message.message) if is_batch_start(message) else 0
            for item in self._inbox.read_waiting_items(message, begin):
                if not is_entity_id(item.target):
                    found.setdefault(item.target, []).append(PendingItem(message, item))
        return found

    def _open_tables(self, journal: JournalSnapshot) -> Iterator[IndexReader]:
        """Yield tables to merge the journal with: the index, a private copy of it, or a temporary rebuild."""
        path = f"{self._root}/{layout.INDEX_FILE}"
        if self._disk.exists(path):
            for open_it in (open_index_readonly, open_index_copy):
                with suppress(IndexUnusable):
                    table = open_it(path)
                    if _contains_commit(table, journal.first - 1):
                        yield table
                    table.close()
        folded = Index()
        recovery.rebuild_index(folded, self._disk, self._root, journal.first - 1)
        yield folded


class InstanceSnapshot(NamedTuple):
    """The unconsumed requests for an instance, in order, and its history."""

    pending: list[Message]
    history: History | None


def _not_consumed(
    requests: list[Message], inbox: InboxReader, journal: JournalSnapshot, found: History | None, instance: str
) -> list[Message]:
    """Return the requests that no commit has consumed. The file of a consumed one is removed a moment later."""
    gone = journal.consumed_among([each.message for each in requests if each.kind in STATUS_CHANGING_KINDS])
    for each in filter(is_batch_start, requests):
        # Some of its starts are consumed earlier than others. If there is a history this one is; but it may be purged.
        index = inbox.index_in_batch(each, instance)
        if found is not None or (index is not None and index < journal.consumed_count(each.message)):
            gone.add(each.message)
    return [each for each in requests if each.message not in gone]


def _contains_commit(table: IndexReader, commit: int) -> bool:
    try:
        return table.begin_read() >= commit
    except IndexUnusable:
        return False


def _to_summary(disk: Disk, root: str, found: History | None) -> InstanceSummary | None:
    if found is None or not found.lines:
        return None
    return recovery.summarize_history(disk, root, found.instance, found.execution, found.lines)


def _unreadable_row(entry: QuarantinedInstance) -> InstanceSummary:
    return InstanceSummary(
        id=entry.instance,
        name=parse_entity_name(entry.instance) if is_entity_id(entry.instance) else "",
        status="Unknown",
        execution="",
        parent=None,
        version=None,
        created=entry.since,
        updated=entry.since,
        set_aside=entry.reason,
    )
