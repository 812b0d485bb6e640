"""The premises: the folders of a hub, whose they must be, and hub.json, which says what the hub is and who runs it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from durablecli.errors import DamagedHub, NewerHub, NoPermission, NotFound, StorageError
from durablecli.store.disk import Disk
from durablecli.store.history import writer
from durablecli.store.journal.writer import Journal, JournalCheckpoint, write_checkpoint
from durablecli.store.lock import EngineProcess

FORMAT = 2
"""2 since there are entities, which an earlier version takes for damage."""
HUB_FILE = "hub.json"
JOURNAL_FOLDER = "journal"
_HUBS_FOLDER = ".state"
"""The folder in which each app of Azure's has its hub; any other has to be there."""

_FOLDERS = (JOURNAL_FOLDER, writer.INSTANCES_FOLDER, "inbox", "inbox/new", "inbox/tmp", "inbox/ids")
_ADDED_FOLDERS = (writer.ENTITIES_FOLDER,)
"""Hubs that an earlier version made lack them until an engine opens them."""


class HubFile(msgspec.Struct, omit_defaults=False):
    """hub.json. `epoch` counts the engine's starts; `engine` is who runs the hub, or ran it until it died."""

    format: int
    hub: str
    name: str
    epoch: int = 0
    engine: EngineProcess | None = None
    clean: bool = True
    last_seen: datetime | None = None


class _FormatHeader(msgspec.Struct):
    format: int


def to_storage_error(path: str, error: OSError) -> NoPermission | StorageError:
    """What an error of the disk means for whoever opens a hub."""
    where = error.filename if isinstance(error.filename, str) else path
    if isinstance(error, PermissionError):
        return NoPermission(f"{where}: {error.strerror}; use a --state-dir of your own")
    return StorageError(f"{where}: {error.strerror or error}; nothing was done. Mend or free the disk, then try again")


def missing_folders(disk: Disk, root: str) -> list[str]:
    """The folders of a hub that somebody took away; those that an earlier version didn't make are not among them."""
    paths = [f"{root}/{name}" for name in _FOLDERS]
    return [path for path in paths if disk.stat(path) is None]


def create_layout_if_missing(disk: Disk, root: str) -> bool:
    """Make the hub, durably, unless it is there; whether this call made it. Several processes may do so at once."""
    if disk.exists(f"{root}/{HUB_FILE}"):
        return False
    try:
        make_folders(disk, root)
        with disk.lock(f"{root}/inbox/lock"):
            if disk.exists(f"{root}/{HUB_FILE}"):
                return False
            _create_files(disk, root)
            return True
    except OSError as error:
        raise to_storage_error(root, error) from error


def make_folders(disk: Disk, root: str) -> None:
    """Make those that are missing, durably."""
    parent = os.path.dirname(root) or "."
    if disk.stat(root, follow_symlinks=True) is None:
        try:
            if os.path.basename(parent) == _HUBS_FOLDER and disk.stat(parent, follow_symlinks=True) is None:
                disk.make_folder(parent)
                disk.sync_folder(os.path.dirname(parent) or ".")
            disk.make_folder(root)
        except FileNotFoundError:
            raise NotFound(f"the folder {parent} doesn't exist; make it, or give another --state-dir") from None
    # Even if it was there: whoever made it may have died before this.
    disk.sync_folder(parent)
    check_permissions(disk, root)
    for name in (*_FOLDERS, *_ADDED_FOLDERS):
        disk.make_folder(f"{root}/{name}")
    disk.sync_folder(root)
    disk.sync_folder(f"{root}/inbox")


def make_added_folders(disk: Disk, root: str) -> None:
    """Make the folders that a hub of an earlier version lacks, durably; for whoever has the lock."""
    for name in _ADDED_FOLDERS:
        if disk.stat(f"{root}/{name}") is None:
            disk.make_folder(f"{root}/{name}")
    # Even if they were there: whoever made them may have died before this.
    disk.sync_folder(root)


def remove_old_pipe(disk: Disk, root: str) -> None:
    """Take the named pipe away that an earlier version kept in the hub: with it the folder can't be copied."""
    facts = disk.stat(f"{root}/inbox/bell")
    if facts is not None and facts.kind != "folder":
        disk.unlink(f"{root}/inbox/bell")


def _create_files(disk: Disk, root: str) -> None:
    hub = uuid4().hex
    journal = Journal.open(disk, f"{root}/{JOURNAL_FOLDER}", hub=hub, first=1)
    write_checkpoint(disk, f"{root}/{JOURNAL_FOLDER}", JournalCheckpoint(1, journal.segment))
    journal.close()
    # Last: a hub is there as soon as hub.json is.
    name = os.path.basename(os.path.dirname(os.path.abspath(root))) or "hub"
    write_hub_file(disk, root, HubFile(FORMAT, hub, name, last_seen=datetime.now(UTC)))


def read_hub_file(disk: Disk, root: str) -> HubFile:
    """hub.json; raises NewerHub for one of a later version, DamagedHub for one that can't be read."""
    path = f"{root}/{HUB_FILE}"
    data = disk.read(path)
    try:
        found = msgspec.json.decode(data, type=_FormatHeader).format
        if found > FORMAT:
            raise NewerHub(f"{path} has format {found}, this durablecli knows {FORMAT}; install a later version")
        return msgspec.json.decode(data, type=HubFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedHub(f"{path}: {error}; `durable doctor --repair` writes it anew") from None


def write_hub_file(disk: Disk, root: str, content: HubFile) -> None:
    disk.replace(f"{root}/{HUB_FILE}", msgspec.json.encode(content) + b"\n")


def check_permissions(disk: Disk, root: str) -> None:
    """Refuse a state directory that others own or can write to, and symlinks in it; raises NoPermission."""
    _check_path(disk, root, "folder", follow=True)
    for name in (*_FOLDERS, *_ADDED_FOLDERS):
        _check_path(disk, f"{root}/{name}", "folder")
    for folder in writer.history_folders(disk, root):
        _check_path(disk, folder, "folder")
    for name in (HUB_FILE, "engine.lock", "index.sqlite"):
        _check_path(disk, f"{root}/{name}", "file")


def _check_path(disk: Disk, path: str, kind: str, *, follow: bool = False) -> None:
    facts = disk.stat(path, follow_symlinks=follow)
    if facts is None:
        return
    if facts.kind != kind:
        raise NoPermission(f"{path} is a {facts.kind}, not a {kind}; move it away, or use another --state-dir")
    if facts.owner != disk.user:
        raise NoPermission(f"{path} belongs to user {facts.owner}, you are {disk.user}; use a --state-dir of your own")
    if facts.mode & 0o022:
        raise NoPermission(f"{path} can be written by others (mode {facts.mode:04o}); run: chmod go-w {path}")
