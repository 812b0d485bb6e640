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
from durablecli.store.history.writer import Histories, Touched
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.index import Index, Unusable
from durablecli.store.journal.commits import Commit, Taken
from durablecli.store.journal.writer import Journal, raw_tail
from durablecli.store.layout import HubFile
from durablecli.store.lock import EngineLock, this_process
from durablecli.store.quarantine import SetAsideList
from durablecli.store.quarantined_messages import KeptMessages

__all__ = [
    "Hub",
    "ask_index",
    "begin_checkpoint",
    "checkpoint",
    "close",
    "create_if_missing",
    "finish_checkpoint",
    "open_hub",
]

_T = TypeVar("_T")


@dataclass
class Hub:
    """What an open hub consists of. `torn`: instances whose last turn was cut off between two commits."""

    disk: Disk
    root: str
    hub_id: str
    name: str
    epoch: int
    lock: EngineLock | None
    journal: Journal
    histories: Histories
    index: Index
    inbox: Inbox
    kept: KeptMessages
    set_aside: SetAsideList
    last_commit: int
    torn: set[str]
    identity: tuple[object, ...]
    """What of the lock's file and hub.json must not change while we are the engine."""
    first: int = 1
    """The first commit that the journal still held when the hub was opened."""
    begun: dict[str, recovery.Begun] = field(default_factory=dict)
    """The batches of starts that are taken in part, by message."""

    @property
    def floor(self) -> int | None:
        """The first commit that a checkpoint must keep: while a cut-off turn isn't finished, all of them; and the one
        that says how much of a batch is taken."""
        return min([*([self.first] if self.torn else []), *(each.c for each in self.begun.values())], default=None)


class Pending(NamedTuple):
    """A checkpoint under way: commits below `first` will be needed no more once `touched` is on disk."""

    first: int
    touched: Touched


def create_if_missing(root: str, disk: Disk | None = None) -> None:
    """Make the hub, durably, unless it is there."""
    layout.create_if_missing(disk or LocalDisk(), root)


def open_hub(
    root: str,
    disk: Disk | None = None,
    *,
    lock: bool = True,
    index: Index | None = None,
    progress: recovery.Progress | None = None,
    timeout: float = 1.0,
    on_create: Callable[[str], None] = lambda root: None,
) -> Hub:
    """Take the hub: make it if it is missing (then `on_create` is called), lock it, recover what the last engine left.

    Raises HubLocked, NoPermission, NewerHub, DamagedHub (naming file and byte) or StorageError, and then holds nothing.
    """
    disk = disk or LocalDisk()
    held: EngineLock | None = None
    try:
        layout.check_ours(disk, root)
        if layout.create_if_missing(disk, root):
            on_create(root)
        layout.read_hub_file(disk, root)  # a later version's hub isn't even locked
        if lock:
            held = EngineLock(disk, root)
            held.acquire(timeout)
        return _recover(disk, root, held, index, progress)
    except BaseException as error:
        if held is not None:
            held.release()
        if isinstance(error, OSError):
            raise layout.storage_error(root, error) from error
        raise


def _recover(
    disk: Disk, root: str, lock: EngineLock | None, index: Index | None, progress: recovery.Progress | None
) -> Hub:
    layout.make_later_folders(disk, root)
    layout.remove_old_pipe(disk, root)
    file = _enter(disk, root, lock is not None)
    folder = f"{root}/{layout.JOURNAL}"
    recovery.sweep(disk, folder)
    tail = raw_tail(disk, folder)
    journal = recovery.resume_journal(disk, folder, file.hub, tail)
    histories = Histories(disk, root)
    found = recovery.complete_histories(histories, tail)
    kept = KeptMessages(disk, root)
    kept.follow(tail.commits)
    set_aside = SetAsideList(disk, root)
    for instance, reason in found.damaged.items():
        set_aside.add(instance, reason)
    for instance in kept.instances():  # what came first has to be delivered first
        set_aside.hold(instance)
    inbox = Inbox(disk, root)
    inbox.remove(recovery.taken(tail))
    inbox.sweep()
    index = index or Index(f"{root}/index.sqlite")
    try:
        damaged = recovery.bring_up(index, disk, root, tail, progress=progress)
    except Unusable:
        damaged = recovery.rebuild(index, disk, root, tail.following - 1, progress=progress)
    for instance, reason in damaged.items():
        set_aside.add(instance, reason)
    hub = Hub(
        disk=disk,
        root=root,
        hub_id=file.hub,
        name=file.name,
        epoch=file.epoch,
        lock=lock,
        journal=journal,
        histories=histories,
        index=index,
        inbox=inbox,
        kept=kept,
        set_aside=set_aside,
        last_commit=journal.last,
        torn=found.torn | truncated.read(disk, root),
        identity=(),
    )
    hub.identity = _identity(hub)
    hub.first = tail.following - len(tail.lines)
    hub.begun = recovery.begun(tail)
    return hub


def _enter(disk: Disk, root: str, named: bool) -> HubFile:
    """Write our name and a new epoch into hub.json, before anything else: a zombie of an engine sees it and stops."""
    file = layout.read_hub_file(disk, root)
    now = datetime.now(UTC)
    file.format = layout.FORMAT
    file.epoch += 1
    file.engine = this_process(now) if named else None
    file.clean = False
    file.last_seen = now
    layout.write_hub_file(disk, root, file)
    return file


def _identity(hub: Hub) -> tuple[object, ...]:
    names = (layout.FILE,) if hub.lock is None else (layout.FILE, "engine.lock")
    found = [hub.disk.facts(f"{hub.root}/{name}") for name in names]
    return tuple(facts and facts.identity for facts in found)


def still_ours(hub: Hub) -> bool:
    """Whether nobody has replaced the lock's file or hub.json since; asked before every commit."""
    return _identity(hub) == hub.identity


def ask_index(hub: Hub, question: Callable[[Index], _T]) -> _T:
    """Ask the index something, or write to it; a damaged one is rebuilt for it. Raises StorageError."""
    try:
        return question(hub.index)
    except Unusable as damage:
        logging.getLogger("durablecli").warning("rebuilding %s/index.sqlite, which is damaged: %s", hub.root, damage)
    try:
        recovery.rebuild_beside_engine(hub.index, hub.disk, hub.root, hub.journal.durable)
        return question(hub.index)
    except Unusable as error:
        raise StorageError(f"{hub.root}/index.sqlite is damaged and can't be rebuilt: {error}") from error


def begin_checkpoint(hub: Hub, *, floor: int | None = None) -> Pending:
    """The quick part, for the thread that appends: what follows goes into a new segment.

    Commits from `floor` on stay needed: those that aren't published yet, or whose turn goes on in a later commit.
    Every commit below it is published.
    """
    following = hub.journal.last + 1
    hub.journal.roll(following)
    return Pending(following if floor is None else min(floor, following), hub.histories.touched())


def finish_checkpoint(hub: Hub, pending: Pending) -> None:
    """The slow part, for any thread: sync what the journal held until now, then let its old segments go.

    Commits that the index doesn't contain yet stay needed too. Raises StorageError; then the engine must stop.
    """
    try:
        hub.histories.sync(pending.touched)
        hub.disk.sync_folder(f"{hub.root}/inbox/new")
        indexed = ask_index(hub, _made_durable)
        hub.journal.checkpointed(min(pending.first, indexed + 1))
    except OSError as error:
        raise layout.storage_error(hub.root, error) from error


def _made_durable(index: Index) -> int:
    index.durable()
    return index.last_commit


def checkpoint(hub: Hub, *, floor: int | None = None) -> None:
    """Both parts at once."""
    finish_checkpoint(hub, begin_checkpoint(hub, floor=floor))


def _carry_over(hub: Hub) -> int | None:
    """Write down which turns were cut off, and how much of each batch is taken; gives the commit that says this."""
    if hub.torn:
        truncated.add(hub.disk, hub.root, hub.torn)
    if not hub.begun:
        return None
    c = hub.journal.last + 1
    taken = [Taken(message, begun.upto) for message, begun in hub.begun.items()]
    hub.journal.append([Commit(c, hub.epoch, datetime.now(UTC), [], taken)])
    return c


def close(hub: Hub, clean: bool = True, *, floor: int | None = None) -> None:
    """Let the hub go. After an error of the disk (`clean` false) nothing is written any more.

    Without a `floor` the whole journal goes, and what it alone knows is written down elsewhere first.
    """
    try:
        if clean:
            checkpoint(hub, floor=floor if floor is not None else _carry_over(hub))
            if not hub.torn:
                truncated.keep_only(hub.disk, hub.root, hub.set_aside)
            hub.set_aside.save()
            file = layout.read_hub_file(hub.disk, hub.root)
            file.engine, file.clean, file.last_seen = None, True, datetime.now(UTC)
            layout.write_hub_file(hub.disk, hub.root, file)
    except OSError as error:
        raise layout.storage_error(hub.root, error) from error
    finally:
        hub.journal.close()
        hub.index.close()
        if hub.lock is not None:
            hub.lock.release()
