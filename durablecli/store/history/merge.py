"""Merging the journal and a history file: the combined state of one instance."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from durablecli.errors import DamagedHub
from durablecli.store.disk import Disk
from durablecli.store.history.file import History, read_history
from durablecli.store.journal.commits import Commit, HistoryWrite


class JournalPart(msgspec.Struct):
    """The content of the journal's tail about one instance: the lines from `first` on, or that it is purged.

    `continues` and `rewrites_file` as in HistoryWrite.
    """

    execution: str
    first: int
    lines: list[bytes]
    continues: bool = False
    purged: bool = False
    rewrites_file: bool = False

    @property
    def begins_file(self) -> bool:
        """Whether these lines are the whole file."""
        return self.first == 1 or self.rewrites_file

    @property
    def last(self) -> int:
        return self.first - 1 + len(self.lines)


def parts_by_instance(commits: Iterable[Commit]) -> dict[str, JournalPart]:
    """Group the content of commits by instance: only lines after its last beginning or purge count."""
    found: dict[str, JournalPart] = {}
    for commit in commits:
        for purged in commit.purged:
            found[purged.instance] = JournalPart(purged.execution, 1, [], purged=True)
        for write in commit.writes:
            part = _append_write(found.get(write.instance), write)
            if part is None:
                raise DamagedHub(
                    f"the journal's commit {commit.c} writes n {write.first} of {write.instance!r}, execution"
                    f" {write.execution}, where it doesn't belong; restore the hub from a backup"
                )
            found[write.instance] = part
    return found


def combine_writes(writes: Iterable[HistoryWrite]) -> JournalPart | None:
    """Combine consecutive writes to one history."""
    part: JournalPart | None = None
    for write in writes:
        part = _append_write(part, write)
    return part


def _append_write(part: JournalPart | None, write: HistoryWrite) -> JournalPart | None:
    """Return the part with the lines of a later write; None if they don't belong there."""
    if write.first == 1 or part is None:
        return _to_part(write)
    if part.purged or part.execution != write.execution or part.last + 1 != write.first:
        return None
    if write.rewrites_file:
        return _to_part(write)
    part.lines += write.lines
    part.continues = write.continues
    return part


def _to_part(write: HistoryWrite) -> JournalPart:
    return JournalPart(
        write.execution, write.first, list(write.lines), write.continues, rewrites_file=write.rewrites_file
    )


def is_contiguous(history: History, part: JournalPart) -> bool:
    """Return whether a file holds every line between its beginning and the first line of the part."""
    return history.execution == part.execution and history.first <= part.first <= history.last + 1


def read_live_history(disk: Disk, root: str, journal_commits: Iterable[Commit], instance: str) -> History | None:
    """Read the history while an engine may be writing: the intact lines of the file and the journal's lines after them.

    The journal must have been read before the file, otherwise lines could be missed in between.
    """
    return merge_with_journal(
        read_history(disk, root, instance), parts_by_instance(journal_commits).get(instance), instance
    )


def merge_with_journal(history: History | None, part: JournalPart | None, instance: str) -> History | None:
    """Merge a file with the journal as it was a moment before.

    By now the file may be newer than the journal that was read: of a later execution, or restarted within the same one.
    """
    if part is None or (
        history is not None
        and history.lines
        and _execution_number(history.execution) > _execution_number(part.execution)
    ):
        return history
    if part.purged:
        return None
    if history is None or history.execution != part.execution or (part.rewrites_file and history.first < part.first):
        if not part.begins_file:
            return history
        return History(instance, part.execution, part.lines, 0, True, first=part.first)
    if not is_contiguous(history, part) or history.last >= part.last:
        return history
    lines = history.lines + part.lines[history.last + 1 - part.first :]
    return History(instance, part.execution, lines, history.good_bytes, True, first=history.first)


def _execution_number(execution: str) -> int:
    return int(execution, 16)


def covers_damage(part: JournalPart | None, history: History) -> bool:
    """Return whether the journal has the record that belongs at the first bad line."""
    if part is None:
        return False
    return part.purged or part.begins_file or part.first - 1 <= history.last < part.last
