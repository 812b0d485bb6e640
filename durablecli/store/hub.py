"""The hub: a state directory, opened by the one engine that may write to it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

from durablecli.errors import StorageError
from durablecli.store import layout, recovery
from durablecli.store.disk import Disk, LocalDisk
from durablecli.store.history import truncated
from durablecli.store.history.spill_writer import RemovableFiles, SpillWriter
from durablecli.store.history.writer import HistoryWriter, UnsyncedFiles
from durablecli.store.hub_creation import create_added_folders, create_hub_if_missing, remove_old_pipe
from durablecli.store.hub_file import FORMAT, SPILLED_FORMAT, HubFile, read_hub_file, this_process, write_hub_file
from durablecli.store.inbox.inbox_consumer import InboxConsumer
from durablecli.store.index import Index, IndexUnusable
from durablecli.store.journal.commits import Commit, ConsumedMessage
from durablecli.store.journal.reader import JournalTail, read_tail
from durablecli.store.journal.writer import Journal
from durablecli.store.lock import EngineLock
from durablecli.store.os_errors import FAIL_STOP, NOTHING_DONE, translate_os_errors
from durablecli.store.permissions import check_permissions
from durablecli.store.quarantine import Quarantine
from durablecli.store.quarantined_messages import QuarantinedMessages

_T = TypeVar("_T")


@dataclass
class Hub:
    """The parts of an open hub. `incomplete_turns`: instances whose last turn was interrupted between two commits."""

    disk: Disk
    root: str
    hub_id: str
    name: str
    epoch: int
    lock: EngineLock | None
    journal: Journal
    history_writer: HistoryWriter
    spill_writer: SpillWriter
    index: Index
    inbox: InboxConsumer
    quarantined_messages: QuarantinedMessages
    quarantine: Quarantine
    last_commit: int
    incomplete_turns: set[str]
    format: int
    identity: tuple[object, ...]
    """The parts of the lock file and hub.json that must not change while this process is the engine."""
    first_commit: int = 1
    """The first commit that the journal still held when the hub was opened."""
    partial_batches: dict[str, recovery.PartialBatch] = field(default_factory=dict)
    """The partially consumed batches of starts, by message."""

    @property
    def oldest_needed_commit(self) -> int | None:
        """The first commit that a checkpoint must keep: all of them while an interrupted turn isn't finished, and the
        one that records how much of a batch is consumed."""
        return min(
            [
                *([self.first_commit] if self.incomplete_turns else []),
                *(each.c for each in self.partial_batches.values()),
            ],
            default=None,
        )


class PendingCheckpoint(NamedTuple):
    """A checkpoint in progress: commits below `first_needed` are no longer needed once `unsynced` is on disk, and the
    superfluous files of spilled records are removed."""

    first_needed: int
    unsynced: UnsyncedFiles
    superfluous: RemovableFiles


def open_hub(
    root: str,
    disk: Disk | None = None,
    *,
    lock: bool = True,
    index: Index | None = None,
    progress: recovery.RebuildProgress | None = None,
    timeout: float = 1.0,
    on_create: Callable[[str], None] = lambda root: None,
) -> Hub:
    """Open the hub as its engine: create it if missing (then `on_create` is called), lock it, and recover its state.

    Raises HubLocked, NoPermission, NewerHub, DamagedHub (naming file and byte) or StorageError, and then holds no lock.
    """
    disk = disk or LocalDisk()
    with translate_os_errors(NOTHING_DONE, root):
        check_permissions(disk, root)
        if create_hub_if_missing(disk, root):
            on_create(root)
        read_hub_file(disk, root)  # don't even lock the hub of a later version
        held = EngineLock(disk, root) if lock else None
        if held is not None:
            held.acquire(timeout)
        try:
            return _recover(disk, root, held, index, progress)
        except BaseException:
            if held is not None:
                held.release()
            raise


def _recover(
    disk: Disk, root: str, lock: EngineLock | None, index: Index | None, progress: recovery.RebuildProgress | None
) -> Hub:
    create_added_folders(disk, root)
    remove_old_pipe(disk, root)
    file, was_clean = _begin_epoch(disk, root, lock is not None)
    folder = f"{root}/{layout.JOURNAL_FOLDER}"
    recovery.remove_temporary_files(disk, folder)
    tail = read_tail(disk, folder)
    journal = recovery.resume_journal(disk, folder, file.hub, tail, clean=was_clean)
    history_writer = HistoryWriter(disk, root)
    found = recovery.recover_histories(history_writer, tail)
    quarantined_messages = QuarantinedMessages(disk, root)
    quarantined_messages.restore(tail.commits)
    quarantine = _open_quarantine(disk, root, found.damaged, quarantined_messages)
    inbox = InboxConsumer(disk, root)
    inbox.remove(recovery.consumed_messages(tail))
    inbox.remove_leftovers()
    index = index or Index(f"{root}/{layout.INDEX_FILE}")
    try:
        damaged = recovery.catch_up_index(index, disk, root, tail, progress=progress)
    except IndexUnusable:
        damaged = recovery.rebuild_index(index, disk, root, tail.next_commit - 1, progress=progress)
    for instance, reason in damaged.items():
        quarantine.add(instance, reason)
    hub = Hub(
        disk=disk,
        root=root,
        hub_id=file.hub,
        name=file.name,
        epoch=file.epoch,
        lock=lock,
        journal=journal,
        history_writer=history_writer,
        spill_writer=_open_spill_writer(disk, root, tail),
        index=index,
        inbox=inbox,
        quarantined_messages=quarantined_messages,
        quarantine=quarantine,
        last_commit=journal.last_commit,
        incomplete_turns=found.incomplete_turns | truncated.read_truncated(disk, root),
        format=file.format,
        identity=(),
    )
    hub.identity = _read_identity(hub)
    hub.first_commit = tail.next_commit - len(tail.lines)
    hub.partial_batches = recovery.find_partial_batches(tail)
    return hub


def _open_quarantine(
    disk: Disk, root: str, damaged: dict[str, str], quarantined_messages: QuarantinedMessages
) -> Quarantine:
    quarantine = Quarantine(disk, root)
    for instance, reason in damaged.items():
        quarantine.add(instance, reason)
    for instance in quarantined_messages.instances():  # earlier messages must be delivered first
        quarantine.add_unlisted(instance)
    return quarantine


def _open_spill_writer(disk: Disk, root: str, tail: JournalTail) -> SpillWriter:
    """Open the writer, and remove what the last engine has left. The tail must be on disk."""
    writer = SpillWriter(disk, root)
    writer.remove_uncommitted(tail.next_commit)
    for commit in tail.commits:
        writer.note_removed(commit)
    writer.remove(writer.take_removable())
    return writer


def allow_spilled_records(hub: Hub) -> None:
    """Raise the format of a hub, durably, before its first spilled record is written. Raises StorageError."""
    if hub.format >= SPILLED_FORMAT:
        return
    with translate_os_errors(FAIL_STOP, hub.root):
        file = read_hub_file(hub.disk, hub.root)
        hub.format = file.format = SPILLED_FORMAT
        write_hub_file(hub.disk, hub.root, file)
        hub.identity = _read_identity(hub)


def _begin_epoch(disk: Disk, root: str, has_lock: bool) -> tuple[HubFile, bool]:
    """Write this process and a new epoch into hub.json, before anything else: a zombie engine sees it and stops.

    Returns the new content, and whether the last engine stopped cleanly.
    """
    file = read_hub_file(disk, root)
    was_clean = file.clean
    now = datetime.now(UTC)
    file.format = max(file.format, FORMAT)
    file.epoch += 1
    file.engine = this_process(now) if has_lock else None
    file.clean = False
    file.last_seen = now
    write_hub_file(disk, root, file)
    return file, was_clean


def _read_identity(hub: Hub) -> tuple[object, ...]:
    names = (layout.HUB_FILE,) if hub.lock is None else (layout.HUB_FILE, layout.LOCK_FILE)
    found = [hub.disk.stat(f"{hub.root}/{name}") for name in names]
    return tuple(facts and facts.identity for facts in found)


def is_still_owner(hub: Hub) -> bool:
    """Return whether nobody has replaced the lock file or hub.json since; checked before every commit."""
    return _read_identity(hub) == hub.identity


def use_index(hub: Hub, action: Callable[[Index], _T]) -> _T:
    """Run an action on the index; rebuild the index first if it is damaged. Raises StorageError."""
    try:
        return action(hub.index)
    except IndexUnusable as damage:
        logging.getLogger("durablecli").warning(
            "rebuilding %s/%s, which is damaged: %s", hub.root, layout.INDEX_FILE, damage
        )
    try:
        recovery.rebuild_index_while_running(hub.index, hub.disk, hub.root, hub.journal.last_durable)
        return action(hub.index)
    except IndexUnusable as error:
        raise StorageError(f"{hub.root}/{layout.INDEX_FILE} is damaged and can't be rebuilt: {error}") from error


def begin_checkpoint(hub: Hub, *, oldest_needed_commit: int | None = None) -> PendingCheckpoint:
    """Begin a checkpoint: the quick part, for the thread that appends. Later commits go into a new segment.

    Commits from `oldest_needed_commit` on stay needed: those that aren't published yet, or whose turn continues in a
    later commit. Every commit below it is published.
    """
    following = hub.journal.last_commit + 1
    hub.journal.roll(following)
    return PendingCheckpoint(
        following if oldest_needed_commit is None else min(oldest_needed_commit, following),
        hub.history_writer.take_unsynced(),
        hub.spill_writer.take_removable(),
    )


def finish_checkpoint(hub: Hub, pending: PendingCheckpoint) -> None:
    """Finish a checkpoint: the slow part, for any thread. Sync the published files, then remove the old segments.

    Commits that the index doesn't contain yet stay needed too. Raises StorageError; then the engine must stop.
    """
    with translate_os_errors(FAIL_STOP, hub.root):
        hub.history_writer.sync(pending.unsynced)
        hub.disk.sync_folder(f"{hub.root}/{layout.NEW_MESSAGES_FOLDER}")
        hub.spill_writer.remove(pending.superfluous)
        indexed = use_index(hub, _make_index_durable)
        hub.journal.record_checkpoint(min(pending.first_needed, indexed + 1))


def _make_index_durable(index: Index) -> int:
    index.make_durable()
    return index.last_commit


def checkpoint(hub: Hub, *, oldest_needed_commit: int | None = None) -> None:
    """Make a whole checkpoint: both parts at once."""
    finish_checkpoint(hub, begin_checkpoint(hub, oldest_needed_commit=oldest_needed_commit))


def _save_unfinished(hub: Hub) -> int | None:
    """Save the interrupted turns and the progress of each batch; return the commit that contains them."""
    if hub.incomplete_turns:
        truncated.add_truncated(hub.disk, hub.root, hub.incomplete_turns)
    if not hub.partial_batches:
        return None
    c = hub.journal.last_commit + 1
    consumed = [ConsumedMessage(message, begun.upto) for message, begun in hub.partial_batches.items()]
    hub.journal.append([Commit(c, hub.epoch, datetime.now(UTC), [], consumed)])
    return c


def _save(hub: Hub, oldest_needed_commit: int | None) -> None:
    needed = oldest_needed_commit if oldest_needed_commit is not None else _save_unfinished(hub)
    if hub.journal.is_empty:
        use_index(hub, _make_index_durable)  # it may have been rebuilt
    else:
        checkpoint(hub, oldest_needed_commit=needed)
    if not hub.incomplete_turns:
        truncated.retain_truncated(hub.disk, hub.root, hub.quarantine)
    hub.quarantine.save()
    file = read_hub_file(hub.disk, hub.root)
    file.engine, file.clean, file.last_seen = None, True, datetime.now(UTC)
    write_hub_file(hub.disk, hub.root, file)


def close_hub(hub: Hub, clean: bool = True, *, oldest_needed_commit: int | None = None) -> None:
    """Close the hub. After a disk error (`clean` false) nothing more is written.

    Without `oldest_needed_commit` the whole journal is removed, after saving elsewhere what only the journal holds.
    """
    try:
        if clean:
            with translate_os_errors(FAIL_STOP, hub.root):
                _save(hub, oldest_needed_commit)
    finally:
        hub.journal.close()
        hub.index.close()
        if hub.lock is not None:
            hub.lock.release()
