"""Repairing a hub that opening refuses or the doctor finds damaged: keep all that is whole, lose nothing in silence.

What is cut off is put into `damaged/` first. Commit numbers, epochs and so executions are never used twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from durablecli.errors import DamagedHub
from durablecli.model.codec import CorruptLine, verify_crc
from durablecli.model.status import InstanceSummary
from durablecli.store import layout, quarantine
from durablecli.store.check import checker
from durablecli.store.check.checker import Report
from durablecli.store.check.history_repair import HistoryRepair
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history.writer import Claim, Histories, claims, files, reaches, read, read_file
from durablecli.store.hub import close, open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.index import Unusable, open_readonly
from durablecli.store.journal.commits import Commit, Write, parse_line
from durablecli.store.journal.reader import CHECKPOINT, Header, segment_path, segments
from durablecli.store.journal.writer import Checkpoint, Journal, raw_tail, read_checkpoint, write_checkpoint
from durablecli.store.lock import EngineLock
from durablecli.store.os_errors import refusal

_KEPT = "damaged"


def repair(root: str, disk: Disk | None = None) -> Report:
    """Mend what can be mended; what is still wrong then stands in the findings. Raises HubLocked beside an engine."""
    disk = disk or LocalDisk()
    if disk.facts(root, follow=True) is None:
        return checker.check(root, disk)
    layout.check_ours(disk, root)
    lock = EngineLock(disk, root)
    lock.acquire()
    try:
        with refusal("the repair isn't finished; run it again"):
            mended = list(_Repair(disk, root).run())
    finally:
        lock.release()
    close(open_hub(root, disk))
    report = checker.check(root, disk)
    report.mended = mended
    return report


class _Repair:
    def __init__(self, disk: Disk, root: str) -> None:
        self.disk = disk
        self.root = root
        self.folder = f"{root}/{layout.JOURNAL}"
        self.histories = Histories(disk, root)

    def run(self) -> Iterator[str]:
        yield from self._mend_folders()
        yield from self._mend_hub_file()
        yield from self._mend_journal()
        # What the journal knows of histories is in their files then, behind the damage where they are damaged.
        close(open_hub(self.root, self.disk, lock=False))
        yield from self._repair_histories()
        yield from self._retry_messages()
        # Opening the hub rebuilds the index, and an engine tries every instance again.
        for name in ("index.sqlite", "index.sqlite-journal", quarantine.FILE):
            with suppress(FileNotFoundError):
                self.disk.unlink(f"{self.root}/{name}")

    def _repair_histories(self) -> Iterator[str]:
        try:
            index = open_readonly(f"{self.root}/index.sqlite")
        except Unusable:
            yield from HistoryRepair(self.disk, self.root, self._keep).run()
            return

        def recorded(instance: str) -> InstanceSummary | None:
            with suppress(Unusable):
                return index.get(instance)
            return None

        try:
            yield from HistoryRepair(self.disk, self.root, self._keep, recorded).run()
        finally:
            index.close()

    def _mend_folders(self) -> Iterator[str]:
        missing = layout.missing_folders(self.disk, self.root)
        layout.make_folders(self.disk, self.root)
        yield from (f"{folder} was made anew" for folder in missing)

    # ── messages ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _retry_messages(self) -> Iterator[str]:
        """Put messages that were set aside back into the inbox, once; move those away that failed again, or can't be
        read."""
        inbox = Inbox(self.disk, self.root)
        failed = inbox.failed
        for name in failed.names():
            why = failed.why(name)
            if why is not None and why.is_final:
                failed.drop(name, f"{self.root}/{_KEPT}")
                yield f"{name}, which failed twice, was moved to {self.root}/{_KEPT}"
            else:
                failed.retry(name)
                yield f"{name} was put back into the inbox"
        bad = f"{self.root}/inbox/bad"
        for file in [*(f"{bad}/{name}" for name in sorted(self.disk.listdir(bad))), *inbox.unreadable()]:
            self._keep(file)
            yield f"{file}, which can't be read, was moved to {self.root}/{_KEPT}"

    # ── hub.json ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _mend_hub_file(self) -> Iterator[str]:
        try:
            layout.read_hub_file(self.disk, self.root)
        except (DamagedHub, FileNotFoundError):
            hubs = [header.hub for number in segments(self.disk, self.folder) if (header := self._header(number))]
            epoch = max((commit.epoch for commit in self._commits().values()), default=0)
            # The journal only has the latest epochs; a wide step is above whatever was used before them.
            content = layout.HubFile(
                layout.FORMAT, hubs[-1] if hubs else uuid4().hex, "repaired", epoch + 1000, clean=False
            )
            content.last_seen = datetime.now(UTC)
            if self.disk.exists(f"{self.root}/{layout.FILE}"):
                self._keep(f"{self.root}/{layout.FILE}", copy=True)
            layout.write_hub_file(self.disk, self.root, content)
            yield f"{self.root}/{layout.FILE} was written anew"

    def _header(self, number: int) -> Header | None:
        data = self.disk.read(segment_path(self.folder, number))
        with suppress(CorruptLine, msgspec.MsgspecError):
            return msgspec.json.decode(verify_crc(data[: max(data.find(b"\n"), 0)]) + b"}", type=Header)
        return None

    # ── the journal ────────────────────────────────────────────────────────────────────────────────────────────────

    def _mend_journal(self) -> Iterator[str]:
        try:
            tail = raw_tail(self.disk, self.folder)
            claims(tail.commits)  # raises DamagedHub where they contradict each other
            if self._indexed() >= tail.following:
                raise DamagedHub(f"{self.folder} ends with commit {tail.following - 1}, the index knows more")
        except DamagedHub as error:
            yield str(error)
            yield self._begin_anew()

    def _begin_anew(self) -> str:
        first = self._checkpointed()
        found = self._commits()
        wanted = [found[c] for c in sorted(found) if c >= first]
        lost = sum(not self._salvage(commit) for commit in wanted)
        self.histories.sync(self.histories.touched())
        Inbox(self.disk, self.root).remove(each.message for commit in wanted for each in commit.taken)
        following = self._following(first, found)
        old = segments(self.disk, self.folder)
        if self.disk.exists(f"{self.folder}/{CHECKPOINT}"):
            self._keep(f"{self.folder}/{CHECKPOINT}")
        hub = layout.read_hub_file(self.disk, self.root).hub
        journal = Journal.open(self.disk, self.folder, hub=hub, first=following)
        journal.close()
        write_checkpoint(self.disk, self.folder, Checkpoint(following, journal.segment))
        for number in old:
            self._keep(segment_path(self.folder, number))
        text = f"{len(wanted) - lost} commits were carried over, {lost} no longer fit their histories"
        return f"the journal begins anew at commit {following}; {text}; the old one is kept in {self.root}/{_KEPT}"

    def _indexed(self) -> int:
        with suppress(Unusable):
            reader = open_readonly(f"{self.root}/index.sqlite")
            try:
                return reader.last_commit
            finally:
                reader.close()
        return 0

    def _checkpointed(self) -> int:
        with suppress(DamagedHub):
            return read_checkpoint(self.disk, self.folder).first
        return 1

    def _commits(self) -> dict[int, Commit]:
        """Every whole commit of every segment."""
        found: dict[int, Commit] = {}
        for number in segments(self.disk, self.folder):
            for line in self.disk.read(segment_path(self.folder, number)).split(b"\n"):
                with suppress(CorruptLine):
                    commit = parse_line(line)
                    found[commit.c] = commit
        return found

    def _following(self, first: int, found: dict[int, Commit]) -> int:
        """A number above all that were ever used; each line that can't be read may have been a commit of its own."""
        lines = sum(
            self.disk.read(segment_path(self.folder, number)).count(b"\n") + 1
            for number in segments(self.disk, self.folder)
        )
        begun = (history.execution for file in files(self.disk, self.root) if (history := read_file(self.disk, file)))
        return (
            max([first, self._indexed(), *found, *(int(execution, 16) for execution in begun if execution)]) + lines + 1
        )

    def _salvage(self, commit: Commit) -> bool:
        """Apply a commit where the histories are as far as it supposes, and no further."""
        for purged in commit.purged:
            history = read(self.disk, self.root, purged.instance)
            if history is not None and history.execution == purged.execution:
                self.histories.remove([purged])
        fitted = [self._salvage_write(write) for write in commit.writes]
        return all(fitted)

    def _salvage_write(self, write: Write) -> bool:
        history = read(self.disk, self.root, write.instance)
        claim = Claim(write.execution, write.first, write.lines, fresh=write.fresh)
        if history is not None and history.lines and int(history.execution, 16) > int(write.execution, 16):
            return True
        same = history is not None and history.execution == write.execution
        if history is not None and same and history.last >= claim.last:
            return True
        if not claim.begins and (history is None or not reaches(history, claim)):
            self.histories.append_missing(write.instance, claim)
            return False
        self.histories.restore(write.instance, claim)
        return True

    def _keep(self, file: str, *, copy: bool = False) -> None:
        """Put a file, or a copy of it, where nothing looks."""
        folder = f"{self.root}/{_KEPT}"
        self.disk.make_folder(folder)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        name = file.rpartition("/")[2]
        number = 0
        while self.disk.exists(kept := f"{folder}/{stamp}-{number}-{name}"):
            number += 1
        if copy:
            self.disk.create(kept, self.disk.read(file), sync=True)
        else:
            self.disk.rename(file, kept)
            self.disk.sync_folder(file.rpartition("/")[0])
        self.disk.sync_folder(folder)
