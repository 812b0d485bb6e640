"""The doctor: reads every file of a hub and says what is wrong. Writes nothing, and an engine may be at work meanwhile.

What opening mends by itself (a torn tail, lagging histories, a stale index, a message that was taken) is a note. A
finding is what no crash explains.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from durablecli.errors import DamagedHub, NoPermission
from durablecli.model.codec import CorruptLine, verify_crc
from durablecli.model.events import EntityLock
from durablecli.model.status import InstanceSummary
from durablecli.store import layout, quarantine, quarantined_messages
from durablecli.store.check.entity_locks import lock_of, stray
from durablecli.store.check.history import audit
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.writer import Claim, History, claims, files, folders, merge, path, read, read_file
from durablecli.store.inbox.failed_messages import MessageFailure
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.index import Reader, Unusable, open_readonly
from durablecli.store.journal.reader import Tail, raw_tail
from durablecli.store.lock import read_holder
from durablecli.store.os_errors import refusal
from durablecli.store.query import Query
from durablecli.store.recovery import summarize, taken

_LOOKS = 3


class _Named(msgspec.Struct):
    message: str


_message = msgspec.json.Decoder(_Named).decode


@dataclass
class Report:
    """One line each, fit to be shown."""

    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)


def check(root: str, disk: Disk | None = None) -> Report:
    """Check every file; raises NewerHub, and NoPermission or StorageError if the files can't even be read."""
    with refusal("the hub can't be checked"):
        return _Examination(disk or LocalDisk(), root).run()


class _Examination:
    def __init__(self, disk: Disk, root: str) -> None:
        self.disk = disk
        self.root = root
        self.report = Report()
        holder = read_holder(disk, root)
        self.running = holder is not None and holder.alive
        self.lagging = 0
        self.expected: dict[str, InstanceSummary] = {}
        self.locks: dict[str, EntityLock] = {}

    def run(self) -> Report:
        if self.disk.facts(self.root, follow=True) is None:
            self.report.notes.append(f"there is no hub at {self.root}")
            return self.report
        self._look_at_premises()
        tail = self._look_at_journal()
        self._look_at_histories(tail)
        self._look_at_set_aside()
        self._look_at_failed_messages()
        if not self.running:
            # Beside an engine at work the inbox and the index change faster than they can be compared.
            self._look_at_inbox(tail)
            self._look_at_index(tail)
        return self.report

    def _look_at_premises(self) -> None:
        for look in (layout.check_ours, layout.read_hub_file):
            try:
                look(self.disk, self.root)
            except (DamagedHub, NoPermission) as error:
                self.report.findings.append(str(error))
            except FileNotFoundError:
                self.report.findings.append(f"{self.root}/{layout.FILE} is missing")
        for folder in layout.missing_folders(self.disk, self.root):
            self.report.findings.append(f"{folder} is missing")

    def _look_at_journal(self) -> Tail | None:
        try:
            tail = raw_tail(self.disk, f"{self.root}/{layout.JOURNAL}")
        except DamagedHub as error:
            self.report.findings.append(str(error))
            return None
        if tail.torn is not None and not self.running:
            _, offset, data = tail.torn
            self.report.notes.append(f"{tail.torn.path}: byte {offset}: a torn tail of {len(data)} bytes")
        return tail

    # ── histories ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _look_at_histories(self, tail: Tail | None) -> None:
        told = self._claims(tail)
        places = {path(self.root, instance): instance for instance in told}
        for file in files(self.disk, self.root):
            self._look_at_file(file, places, told)
        for file, instance in places.items():
            if not told[instance].gone and not self.disk.exists(file):
                self._look_at_unwritten(file, told[instance], instance)
        self._look_at_locks(told)
        if self.lagging and not self.running:
            self.report.notes.append(f"{self.lagging} histories lag behind the journal")
        for file in self._strangers():
            self.report.notes.append(f"{file} was left by a crash and means nothing")

    def _claims(self, tail: Tail | None) -> dict[str, Claim]:
        try:
            return claims(tail.commits) if tail is not None else {}
        except DamagedHub as error:
            self.report.findings.append(str(error))
            return {}

    def _told_by_now(self) -> dict[str, Claim]:
        with suppress(DamagedHub):
            return claims(raw_tail(self.disk, f"{self.root}/{layout.JOURNAL}").commits)
        return {}

    def _look_at_file(self, file: str, places: dict[str, str], told: dict[str, Claim]) -> None:
        history = read_file(self.disk, file)
        for _ in range(_LOOKS if self.running else 0):
            if history is None or history.whole:
                break
            # The engine may just be writing this line. The journal knows it by now.
            told = self._told_by_now() or told
            places = {path(self.root, instance): instance for instance in told}
            history = read_file(self.disk, file)
        if history is None:
            return
        instance = history.instance if history.lines else places.get(file, "")
        if history.lines and file != path(self.root, instance):
            self.report.findings.append(f"{file} holds the history of {instance!r}, which belongs elsewhere")
            return
        claim = told.get(instance)
        joined = merge(history, claim, instance)
        if joined is None:
            self.lagging += 1
        elif not history.whole and not covers(claim, history):
            n = history.last + 1
            self.report.findings.append(f"{file}: byte {history.good}: record n {n} is damaged, what follows is lost")
        elif joined.lines != history.lines or not history.whole:
            self.lagging += 1
        if joined is not None and joined.lines:
            self._audit(file, joined)

    def _look_at_unwritten(self, file: str, claim: Claim, instance: str) -> None:
        """A history that only the journal has so far; the index may know it already."""
        self.lagging += 1
        joined = merge(None, claim, instance)
        if joined is not None:
            self._audit(file, joined)

    def _audit(self, file: str, history: History) -> None:
        for n, reason in audit(history.instance, history.execution, history.lines, history.first):
            self.report.findings.append(f"{file}: record n {n} {reason}")
        if not self.running:
            try:
                row = summarize(history.instance, history.execution, history.lines)
            except Exception as error:  # noqa: BLE001 - whole lines that make no history may break the fold anywhere
                self.report.findings.append(f"{file} can't be read as a history: {type(error).__name__}: {error}")
                return
            self.expected[history.instance] = row
            if row.locked_by is not None and (lock := lock_of(history)) is not None:
                self.locks[file] = lock

    def _look_at_locks(self, told: dict[str, Claim]) -> None:
        """Beside an engine at work the files would be of different moments, so nothing is known of locks then."""

        def look_up(instance: str) -> History | None:
            return merge(read(self.disk, self.root, instance), told.get(instance), instance)

        for file, lock in self.locks.items():
            reason = stray(lock, look_up)
            if reason is not None:
                self.report.findings.append(
                    f"{file}: the lock is held by {lock.sender.instance!r} (execution {lock.sender.execution}, n"
                    f" {lock.sender.n}), which {reason}; an engine that opens the hub gives it back"
                )

    def _strangers(self) -> Iterator[str]:
        if not self.running:
            for folder in folders(self.disk, self.root):
                yield from (f"{folder}/{each}" for each in self.disk.listdir(folder) if _odd(each))

    def _look_at_set_aside(self) -> None:
        """What the engine leaves alone, and what is kept for it."""
        listed = quarantine.read(self.disk, self.root)
        for entry in listed.values():
            self.report.findings.append(
                f"{entry.instance} is set aside since {entry.since:%Y-%m-%d %H:%M:%SZ}: {entry.reason}"
            )
        for instance in quarantined_messages.instances(self.disk, self.root):
            count = len(quarantined_messages.read(self.disk, self.root, instance))
            when = "it is repaired and an engine opens the hub" if instance in listed else "an engine opens the hub"
            messages = f"{count:,} message{'' if count == 1 else 's'}"
            self.report.notes.append(f"{messages} for {instance} kept; delivered when {when}")

    # ── what is derived, or on its way ─────────────────────────────────────────────────────────────────────────────

    def _look_at_inbox(self, tail: Tail | None) -> None:
        inbox = Inbox(self.disk, self.root)
        gone = taken(tail) if tail is not None else set()
        waiting = set(self._messages())
        for message in sorted(waiting & gone):
            self.report.notes.append(f"message {message} was taken and is still in the inbox")
        for each in inbox.reservations():
            if not each.alive and each.message not in waiting:
                self.report.notes.append(f"the id {each.id!r} is held by a process that is gone")

    def _look_at_failed_messages(self) -> None:
        for name in sorted(self.disk.listdir(f"{self.root}/inbox/bad")):
            text = f"{self.root}/inbox/bad/{name}: the message can't be read and was set aside; --repair moves it away"
            self.report.findings.append(text)
        failed = Inbox(self.disk, self.root).failed
        for name in failed.names():
            self.report.findings.append(_failed(f"{self.root}/inbox/failed/{name}", failed.why(name)))

    def _messages(self) -> Iterator[str]:
        folder = f"{self.root}/inbox/new"
        for name in sorted(each for each in self.disk.listdir(folder) if each.endswith(".json")):
            try:
                yield _message(verify_crc(self.disk.read(f"{folder}/{name}").removesuffix(b"\n")) + b"}").message
            except FileNotFoundError:
                continue
            except (CorruptLine, msgspec.MsgspecError, RecursionError) as error:
                self.report.findings.append(f"{folder}/{name}: byte 0: {error}")

    def _look_at_index(self, tail: Tail | None) -> None:
        file = f"{self.root}/index.sqlite"
        try:
            reader = open_readonly(file)
        except Unusable as error:
            self.report.notes.append(f"{file} will be rebuilt: {error}")
            return
        try:
            self._compare(file, reader, tail)
        except Unusable as error:
            self.report.findings.append(f"{file}: {error}")
        finally:
            reader.close()

    def _compare(self, file: str, reader: Reader, tail: Tail | None) -> None:
        last = reader.last_commit
        if tail is not None and last >= tail.following:
            text = f"ends with commit {tail.following - 1}, and the index has seen commit {last}"
            self.report.findings.append(f"{self.root}/{layout.JOURNAL} {text}")
        elif tail is None or last != tail.following - 1:
            self.report.notes.append(f"{file} contains commit {last} and will be brought up")
        else:
            self._compare_rows(file, reader)

    def _compare_rows(self, file: str, reader: Reader) -> None:
        for instance, summary in self.expected.items():
            row = reader.get(instance)
            if row != summary:
                difference = "is missing" if row is None else f"differs in {_differing(row, summary)}"
                self.report.findings.append(f"{file}: the row of {instance!r} {difference}")
        rows = reader.count(Query()) + reader.count(Query(entities=True))
        surplus = rows - sum(reader.get(instance) is not None for instance in self.expected)
        if surplus:
            self.report.findings.append(f"{file}: {surplus} rows have no history")


def _failed(path: str, why: MessageFailure | None) -> str:
    if why is None:
        return f"{path}: the message was set aside; --repair handles it again"
    about = f"{why.kind} for {', '.join(why.instances[:3]) or 'a batch'}"
    if why.is_final:
        return f"{path}: {about} was set aside again: {why.error}; --repair drops it"
    return f"{path}: {about} was set aside at {why.at:%Y-%m-%dT%H:%M:%SZ}: {why.error}; --repair handles it again"


def covers(claim: Claim | None, history: History) -> bool:
    """Whether the journal says what stands at the first bad line."""
    if claim is None:
        return False
    return claim.gone or claim.begins or claim.first - 1 <= history.last < claim.last


def _odd(name: str) -> bool:
    return not name.endswith(".jsonl")


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _differing(row: InstanceSummary, summary: InstanceSummary) -> str:
    return ", ".join(
        f"{name} ({_shown(old)}, by the history {_shown(new)})"
        for name, old, new in zip(
            InstanceSummary.__struct_fields__,
            msgspec.structs.astuple(row),
            msgspec.structs.astuple(summary),
            strict=True,
        )
        if old != new
    )
