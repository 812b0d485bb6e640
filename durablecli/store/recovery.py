"""Recovery: bringing a hub into a consistent state when it is opened, after a clean stop or a crash.

The order is the guarantee. First the journal's tail is copied and synced; only then the history files are completed,
consumed messages are removed, and the index is updated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from durablecli.errors import DamagedHub
from durablecli.model.codec import CorruptLine, crc_seed, decode_record
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import Record
from durablecli.model.status import InstanceSummary
from durablecli.replay.entity_state import fold_entity_log
from durablecli.replay.runtime_state import fold_history
from durablecli.replay.summary import summarize_entity, summarize_instance
from durablecli.store.disk import Disk
from durablecli.store.history.file import (
    history_files,
    instance_of_file,
    make_damage_error,
    read_history,
    read_history_file,
)
from durablecli.store.history.merge import JournalPart, merge_with_journal, parts_by_instance
from durablecli.store.history.spilled_files import measure_lines, read_line
from durablecli.store.history.writer import HistoryWriter, complete_files
from durablecli.store.index import Index
from durablecli.store.journal.reader import JournalTail
from durablecli.store.journal.snapshot import read_journal_snapshot
from durablecli.store.journal.writer import Journal
from durablecli.store.layout import JOURNAL_FOLDER

RebuildProgress = Callable[[int], None]
"""Called from time to time with the number of histories read while the index is rebuilt."""

_ROWS_PER_UPDATE = 1000
_TORN_SUFFIX = ".torn"


def summarize_history(disk: Disk, root: str, instance: str, execution: str, lines: list[bytes]) -> InstanceSummary:
    """Fold the readable records into a row, with the same fold as everywhere."""
    records = readable_records(disk, root, instance, execution, lines)
    size = measure_lines(lines)
    if is_entity_id(instance):
        return summarize_entity(fold_entity_log(records, size))
    return summarize_instance(fold_history(records, size, keep_turns=False))


def readable_records(disk: Disk, root: str, instance: str, execution: str, lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of intact lines, up to the first unreadable one. Spilled records are read from their files."""
    start = crc_seed(instance, execution)
    for line in lines:
        try:
            yield decode_record(read_line(disk, root, line), start)
        except CorruptLine:
            return  # of an unknown kind, or spilled and lost: the engine reports it when it loads this instance


def resume_journal(disk: Disk, folder: str, hub: str, tail: JournalTail, *, clean: bool) -> Journal:
    """Copy the tail; the torn data after it is kept in a separate file."""
    if tail.torn is not None and tail.torn.data.strip(b"\0"):
        for name in disk.listdir(folder):
            if name.endswith(_TORN_SUFFIX):
                disk.unlink(f"{folder}/{name}")
        disk.create(tail.torn.path + _TORN_SUFFIX, tail.torn.data, sync=False)
    return Journal.resume(disk, folder, hub=hub, tail=tail, clean=clean)


class RecoveredHistories(NamedTuple):
    """The results of completing the histories.

    `incomplete_turns` are the instances whose turn was interrupted between two commits; `damaged` are those with
    damaged files, with the reason.
    """

    incomplete_turns: set[str]
    damaged: dict[str, str]


def recover_histories(writer: HistoryWriter, tail: JournalTail) -> RecoveredHistories:
    """Bring the files to the state in the tail."""
    found = complete_files(writer, tail.commits)
    return RecoveredHistories(
        {id for id, claim in found.parts.items() if claim.continues and not claim.purged}, found.damaged
    )


def consumed_messages(tail: JournalTail) -> set[str]:
    """Return the messages whose effects are in the tail; the last engine may not have removed them yet."""
    return {each.message for commit in tail.commits for each in commit.consumed if each.upto is None}


class PartialBatch(NamedTuple):
    """A batch whose items below `upto` are consumed, as recorded in commit `c`.

    The commit is needed until a later one records more: consumed instances may have been purged since, and must not be
    started again.
    """

    upto: int
    c: int


def find_partial_batches(tail: JournalTail) -> dict[str, PartialBatch]:
    """Return the batches that the last engine had partially consumed, by message."""
    found: dict[str, PartialBatch] = {}
    for commit in tail.commits:
        for each in commit.consumed:
            if each.upto is None:
                found.pop(each.message, None)
            else:
                found[each.message] = PartialBatch(each.upto, commit.c)
    return found


def catch_up_index(
    index: Index, disk: Disk, root: str, tail: JournalTail, *, progress: RebuildProgress | None = None
) -> dict[str, str]:
    """Update the index to the end of the tail, or rebuild it if too much is missing.

    Returns the instances whose histories are damaged, with the reason. The index contains only data that was on disk
    before. If it is newer than the journal, the journal has lost its end in a way that looks like a crash, and numbers
    would be assigned twice.
    """
    last = tail.next_commit - 1
    if index.last_commit > last:
        raise DamagedHub(
            f"{root}/{JOURNAL_FOLDER} ends with commit {last}, and the index has seen commit {index.last_commit};"
            " restore the journal from a backup, or run: durable doctor"
        )
    if index.last_commit < last - len(tail.lines):
        return rebuild_index(index, disk, root, last, progress=progress)
    if index.last_commit < last:
        missing = parts_by_instance(commit for commit in tail.commits if commit.c > index.last_commit)
        rows = list(_summarize_parts(disk, root, missing))
        index.update(rows, [instance for instance, claim in missing.items() if claim.purged], last)
    return {}


def rebuild_index(
    index: Index, disk: Disk, root: str, last_commit: int, *, progress: RebuildProgress | None = None
) -> dict[str, str]:
    """Fold every history into an emptied index, except those damaged from the first line on.

    Returns the instances whose histories are damaged, with the reason.
    """
    index.clear()
    rows: list[InstanceSummary] = []
    bad: dict[str, str] = {}
    count = 0
    for file in history_files(disk, root):
        history = read_history_file(disk, file)
        if history is None:
            continue
        if not history.is_whole and (instance := instance_of_file(file, history)) is not None:
            bad[instance] = str(make_damage_error(file, history))
        if not history.lines:
            continue
        try:
            rows.append(summarize_history(disk, root, history.instance, history.execution, history.lines))
        except Exception as error:  # noqa: BLE001 - intact lines that form no history may break the fold anywhere
            bad[history.instance] = f"{file} can't be read as a history: {type(error).__name__}: {error}"
            continue
        count += 1
        if len(rows) == _ROWS_PER_UPDATE:
            index.update(rows, [], 0)
            rows = []
            if progress is not None:
                progress(count)
    index.update(rows, [], last_commit)
    return bad


def rebuild_index_while_running(index: Index, disk: Disk, root: str, last_durable: int) -> None:
    """Rebuild a damaged index while the engine runs: from the files, and from the journal up to commit `last_durable`.

    Files that are written meanwhile may be ahead; their rows are applied again.
    """
    commits = [
        commit
        for commit in read_journal_snapshot(disk, f"{root}/{JOURNAL_FOLDER}").after(0)
        if commit.c <= last_durable
    ]
    rebuild_index(index, disk, root, 0)
    parts = parts_by_instance(commits)
    merged = (
        merge_with_journal(read_history(disk, root, instance), claim, instance) for instance, claim in parts.items()
    )
    rows = [
        summarize_history(disk, root, found.instance, found.execution, found.lines)
        for found in merged
        if found and found.lines
    ]
    index.update(rows, [instance for instance, claim in parts.items() if claim.purged], last_durable)


def _summarize_parts(disk: Disk, root: str, parts: dict[str, JournalPart]) -> Iterator[InstanceSummary]:
    for instance, part in parts.items():
        if not part.purged:
            history = read_history(disk, root, instance)
            if history is None or not history.lines:
                continue  # damaged from its first line on
            try:
                row = summarize_history(disk, root, instance, history.execution, history.lines)
            except Exception:  # noqa: BLE001, S112 - as in rebuild; a query for this instance reports the error
                continue
            yield row


def remove_temporary_files(disk: Disk, folder: str) -> None:
    """Remove unfinished copies of the journal's tail."""
    for name in disk.listdir(folder):
        if name.endswith(".tmp"):
            with suppress(FileNotFoundError):
                disk.unlink(f"{folder}/{name}")
