"""The checker of a hub: reads every file and reports what is wrong. Writes nothing; an engine may run meanwhile.

Problems that opening a hub repairs (a torn tail, lagging histories, a stale index, a consumed message) are notes.
A finding is a problem that no crash explains.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from durablecli.errors import DamagedHub, NoPermission
from durablecli.model.codec import CorruptLine
from durablecli.model.events import EntityLock
from durablecli.model.status import InstanceSummary
from durablecli.plurals import format_count
from durablecli.store import layout, quarantine, quarantined_messages
from durablecli.store.check.entity_locks import held_lock, why_lock_is_stale
from durablecli.store.check.history import check_history
from durablecli.store.check.orphaned_logs import find_orphaned_logs
from durablecli.store.check.superfluous_payloads import find_superfluous_files, list_referenced_files
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.file import (
    History,
    history_files,
    history_folders,
    history_path,
    read_history,
    read_history_file,
)
from durablecli.store.history.merge import JournalPart, covers_damage, merge_with_journal, parts_by_instance
from durablecli.store.history.spilled_files import read_line
from durablecli.store.hub_creation import missing_folders
from durablecli.store.hub_file import read_engine_process, read_hub_file
from durablecli.store.inbox.failed_messages import FailedMessages, MessageFailure
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.reservations import Reservations
from durablecli.store.index import IndexReader, IndexUnusable, open_index_readonly
from durablecli.store.journal.reader import JournalTail, read_tail
from durablecli.store.json_lines import decode_line
from durablecli.store.os_errors import translate_os_errors
from durablecli.store.permissions import check_permissions
from durablecli.store.query import Query
from durablecli.store.recovery import consumed_messages, summarize_history

_MAX_REREADS = 3


class _MessageHead(msgspec.Struct):
    message: str


_decode_head = msgspec.json.Decoder(_MessageHead).decode


@dataclass
class CheckReport:
    """The findings and notes of a check, one displayable line each."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)


def check_hub(root: str, disk: Disk | None = None) -> CheckReport:
    """Check every file; raise NewerHub, or NoPermission or StorageError if the files can't even be read."""
    with translate_os_errors("the hub can't be checked"):
        return HubChecker(disk or LocalDisk(), root).run()


class HubChecker:
    def __init__(self, disk: Disk, root: str) -> None:
        self.disk = disk
        self.root = root
        self.report = CheckReport()
        holder = read_engine_process(disk, root)
        self.is_engine_running = holder is not None and holder.is_alive
        self.lagging_count = 0
        self.expected_rows: dict[str, InstanceSummary] = {}
        self.held_locks: dict[str, EntityLock] = {}
        self.referenced_files: set[str] = set()
        """The files of spilled records that histories refer to."""

    def run(self) -> CheckReport:
        if self.disk.stat(self.root, follow_symlinks=True) is None:
            self.report.notes.append(f"there is no hub at {self.root}")
            return self.report
        self._check_layout()
        tail = self._check_journal()
        self._check_histories(tail)
        self._check_quarantine()
        self._check_failed_messages()
        if not self.is_engine_running:
            # While an engine is running, the inbox and the index change faster than they can be compared.
            self._check_inbox(tail)
            self._check_index(tail)
        return self.report

    def _check_layout(self) -> None:
        for check in (check_permissions, read_hub_file):
            try:
                check(self.disk, self.root)
            except (DamagedHub, NoPermission) as error:
                self.report.findings.append(str(error))
            except FileNotFoundError:
                self.report.findings.append(f"{self.root}/{layout.HUB_FILE} is missing")
        for folder in missing_folders(self.disk, self.root):
            self.report.findings.append(f"{folder} is missing")

    def _check_journal(self) -> JournalTail | None:
        try:
            tail = read_tail(self.disk, f"{self.root}/{layout.JOURNAL_FOLDER}")
        except DamagedHub as error:
            self.report.findings.append(str(error))
            return None
        if tail.torn is not None and not self.is_engine_running:
            _, offset, data = tail.torn
            self.report.notes.append(f"{tail.torn.path}: byte {offset}: a torn tail of {len(data)} bytes")
        return tail

    # ── histories ────────────────────────────────────────────────────────────────────────────────────────────────────

    def _check_histories(self, tail: JournalTail | None) -> None:
        parts = self._read_parts(tail)
        instances_by_path = {history_path(self.root, instance): instance for instance in parts}
        for file in history_files(self.disk, self.root):
            self._check_file(file, instances_by_path, parts)
        for file, instance in instances_by_path.items():
            if not parts[instance].purged and not self.disk.exists(file):
                self._check_unwritten(file, parts[instance], instance)
        self._check_locks(parts)
        if self.lagging_count and not self.is_engine_running:
            self.report.notes.append(f"{self.lagging_count} histories lag behind the journal")
        for file in self._list_unknown_files():
            self.report.notes.append(f"{file} was left by a crash and means nothing")
        if not self.is_engine_running:
            histories = (*history_files(self.disk, self.root), *instances_by_path)
            for file in find_orphaned_logs(self.disk, self.root, histories):
                self.report.notes.append(f"{file} is the log of no instance; --repair moves it to damaged/")
            for file in find_superfluous_files(self.disk, self.root, self.referenced_files):
                self.report.notes.append(f"{file} belongs to no record; opening the hub or --repair removes it")

    def _read_parts(self, tail: JournalTail | None) -> dict[str, JournalPart]:
        try:
            return parts_by_instance(tail.commits) if tail is not None else {}
        except DamagedHub as error:
            self.report.findings.append(str(error))
            return {}

    def _reread_parts(self) -> dict[str, JournalPart]:
        with suppress(DamagedHub):
            return parts_by_instance(read_tail(self.disk, f"{self.root}/{layout.JOURNAL_FOLDER}").commits)
        return {}

    def _check_file(self, file: str, instances_by_path: dict[str, str], parts: dict[str, JournalPart]) -> None:
        history = read_history_file(self.disk, file)
        for _ in range(_MAX_REREADS if self.is_engine_running else 0):
            if history is None or history.is_whole:
                break
            # An engine may be writing this line right now. By now the journal has it.
            parts = self._reread_parts() or parts
            instances_by_path = {history_path(self.root, instance): instance for instance in parts}
            history = read_history_file(self.disk, file)
        if history is None:
            return
        instance = history.instance if history.lines else instances_by_path.get(file, "")
        if history.lines and file != history_path(self.root, instance):
            self.report.findings.append(f"{file} holds the history of {instance!r}, which belongs elsewhere")
            return
        part = parts.get(instance)
        merged = merge_with_journal(history, part, instance)
        if merged is None:
            self.lagging_count += 1
        elif not history.is_whole and not covers_damage(part, history):
            n = history.last + 1
            self.report.findings.append(
                f"{file}: byte {history.good_bytes}: record n {n} is damaged, what follows is lost"
            )
        elif merged.lines != history.lines or not history.is_whole:
            self.lagging_count += 1
        if merged is not None and merged.lines:
            self._check_records(file, merged)

    def _check_unwritten(self, file: str, part: JournalPart, instance: str) -> None:
        """Check a history that only the journal has so far; the index may already contain it."""
        self.lagging_count += 1
        merged = merge_with_journal(None, part, instance)
        if merged is not None:
            self._check_records(file, merged)

    def _check_records(self, file: str, history: History) -> None:
        self.referenced_files.update(list_referenced_files(self.root, history.lines))
        lines = (read_line(self.disk, self.root, line) for line in history.lines)
        for n, reason in check_history(history.instance, history.execution, lines, history.first):
            self.report.findings.append(f"{file}: record n {n} {reason}")
        if not self.is_engine_running:
            try:
                row = summarize_history(self.disk, self.root, history.instance, history.execution, history.lines)
            except Exception as error:  # noqa: BLE001 - intact lines that form no history may break the fold
                self.report.findings.append(f"{file} can't be read as a history: {type(error).__name__}: {error}")
                return
            self.expected_rows[history.instance] = row
            if row.locked_by is not None and (lock := held_lock(self.disk, self.root, history)) is not None:
                self.held_locks[file] = lock

    def _check_locks(self, parts: dict[str, JournalPart]) -> None:
        """Check entity locks, unless an engine is running: the files would then be from different moments."""

        def look_up(instance: str) -> History | None:
            return merge_with_journal(read_history(self.disk, self.root, instance), parts.get(instance), instance)

        for file, lock in self.held_locks.items():
            reason = why_lock_is_stale(self.disk, self.root, lock, look_up)
            if reason is not None:
                self.report.findings.append(
                    f"{file}: the lock is held by {lock.sender.instance!r} (execution {lock.sender.execution}, n"
                    f" {lock.sender.n}), which {reason}; an engine that opens the hub gives it back"
                )

    def _list_unknown_files(self) -> Iterator[str]:
        if not self.is_engine_running:
            for folder in history_folders(self.disk, self.root):
                yield from (f"{folder}/{each}" for each in self.disk.listdir(folder) if _is_unknown_file(each))

    def _check_quarantine(self) -> None:
        """Check the list of quarantined instances and the messages kept for them."""
        listed = quarantine.read_quarantine(self.disk, self.root)
        for entry in listed.values():
            self.report.findings.append(
                f"{entry.instance} has been quarantined since {entry.since:%Y-%m-%d %H:%M:%SZ}: {entry.reason}"
            )
        for instance in quarantined_messages.instances_with_messages(self.disk, self.root):
            count = len(quarantined_messages.read_quarantined_messages(self.disk, self.root, instance))
            when = "it is repaired and an engine opens the hub" if instance in listed else "an engine opens the hub"
            self.report.notes.append(f"{format_count(count, 'message')} for {instance} kept; delivered when {when}")

    # ── derived and in-flight data ───────────────────────────────────────────────────────────────────────────────────

    def _check_inbox(self, tail: JournalTail | None) -> None:
        reservations = Reservations(self.disk, self.root, InboxReader(self.disk, self.root))
        consumed = consumed_messages(tail) if tail is not None else set()
        waiting = set(self._read_message_ids())
        for message in sorted(waiting & consumed):
            self.report.notes.append(f"message {message} was taken and is still in the inbox")
        for each in reservations.list_all():
            if not each.is_alive and each.message not in waiting:
                self.report.notes.append(f"the id {each.id!r} is held by a process that is gone")

    def _check_failed_messages(self) -> None:
        bad = f"{self.root}/{layout.UNREADABLE_MESSAGES_FOLDER}"
        for name in sorted(self.disk.listdir(bad)):
            text = f"{bad}/{name}: the message can't be read; --repair moves it to damaged/"
            self.report.findings.append(text)
        failed = FailedMessages(self.disk, self.root)
        for name in failed.names():
            path = f"{self.root}/{layout.FAILED_MESSAGES_FOLDER}/{name}"
            self.report.findings.append(_describe_failed(path, failed.read_failure(name)))

    def _read_message_ids(self) -> Iterator[str]:
        folder = f"{self.root}/{layout.NEW_MESSAGES_FOLDER}"
        for name in sorted(each for each in self.disk.listdir(folder) if each.endswith(".json")):
            try:
                yield decode_line(self.disk.read(f"{folder}/{name}"), _decode_head).message
            except FileNotFoundError:
                continue
            except CorruptLine as error:
                self.report.findings.append(f"{folder}/{name}: byte 0: {error}")

    def _check_index(self, tail: JournalTail | None) -> None:
        file = f"{self.root}/{layout.INDEX_FILE}"
        try:
            reader = open_index_readonly(file)
        except IndexUnusable as error:
            self.report.notes.append(f"{file} will be rebuilt: {error}")
            return
        try:
            self._compare_index(file, reader, tail)
        except IndexUnusable as error:
            self.report.findings.append(f"{file}: {error}")
        finally:
            reader.close()

    def _compare_index(self, file: str, reader: IndexReader, tail: JournalTail | None) -> None:
        last = reader.last_commit
        if tail is not None and last >= tail.next_commit:
            text = f"ends with commit {tail.next_commit - 1}, and the index has seen commit {last}"
            self.report.findings.append(f"{self.root}/{layout.JOURNAL_FOLDER} {text}")
        elif tail is None or last != tail.next_commit - 1:
            self.report.notes.append(f"{file} contains commit {last} and will be updated")
        else:
            self._compare_rows(file, reader)

    def _compare_rows(self, file: str, reader: IndexReader) -> None:
        for instance, summary in self.expected_rows.items():
            row = reader.get(instance)
            if row != summary:
                difference = "is missing" if row is None else f"differs in {_describe_differences(row, summary)}"
                self.report.findings.append(f"{file}: the row of {instance!r} {difference}")
        rows = reader.count(Query()) + reader.count(Query(entities=True))
        surplus = rows - sum(reader.get(instance) is not None for instance in self.expected_rows)
        if surplus:
            self.report.findings.append(f"{file}: {surplus} rows have no history")


def _describe_failed(path: str, failure: MessageFailure | None) -> str:
    if failure is None:
        return f"{path}: the message failed; --repair handles it again"
    about = f"{failure.kind} for {', '.join(failure.instances[:3]) or 'a batch'}"
    if failure.is_final:
        return f"{path}: {about} failed again: {failure.error}; --repair drops it"
    return f"{path}: {about} failed at {failure.at:%Y-%m-%dT%H:%M:%SZ}: {failure.error}; --repair handles it again"


def _is_unknown_file(name: str) -> bool:
    return not name.endswith(".jsonl")


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _describe_differences(row: InstanceSummary, summary: InstanceSummary) -> str:
    return ", ".join(
        f"{name} ({_to_json(old)}, by the history {_to_json(new)})"
        for name, old, new in zip(
            InstanceSummary.__struct_fields__,
            msgspec.structs.astuple(row),
            msgspec.structs.astuple(summary),
            strict=True,
        )
        if old != new
    )
