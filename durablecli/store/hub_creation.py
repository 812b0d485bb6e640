"""Creating a hub: its folders, its first journal segment, and hub.json as the last file."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import uuid4

from durablecli.errors import NotFound
from durablecli.store.disk import Disk
from durablecli.store.hub_file import FORMAT, HubFile, write_hub_file
from durablecli.store.journal.reader import JournalCheckpoint, write_checkpoint
from durablecli.store.journal.writer import Journal
from durablecli.store.layout import (
    ADDED_FOLDERS,
    AZURE_HUBS_FOLDER,
    FOLDERS,
    HUB_FILE,
    INBOX_FOLDER,
    INBOX_LOCK_FILE,
    JOURNAL_FOLDER,
    OLD_PIPE_FILE,
)
from durablecli.store.os_errors import NOTHING_DONE, translate_os_errors
from durablecli.store.permissions import check_permissions


def create_hub_if_missing(disk: Disk, root: str) -> bool:
    """Create the hub, durably, unless it exists; return whether this call did. Safe to call concurrently."""
    if disk.exists(f"{root}/{HUB_FILE}"):
        return False
    with translate_os_errors(NOTHING_DONE, root):
        create_folders(disk, root)
        with disk.lock(f"{root}/{INBOX_LOCK_FILE}"):
            if disk.exists(f"{root}/{HUB_FILE}"):
                return False
            _create_files(disk, root)
            return True


def missing_folders(disk: Disk, root: str) -> list[str]:
    """Return the folders of a hub that were removed; those that an earlier version didn't create are not among them."""
    paths = [f"{root}/{name}" for name in FOLDERS]
    return [path for path in paths if disk.stat(path) is None]


def create_folders(disk: Disk, root: str) -> None:
    """Create the folders that are missing, durably."""
    parent = os.path.dirname(root) or "."
    if disk.stat(root, follow_symlinks=True) is None:
        try:
            if os.path.basename(parent) == AZURE_HUBS_FOLDER and disk.stat(parent, follow_symlinks=True) is None:
                disk.make_folder(parent)
                disk.sync_folder(os.path.dirname(parent) or ".")
            disk.make_folder(root)
        except FileNotFoundError:
            raise NotFound(f"the folder {parent} doesn't exist; create it, or give another --state-dir") from None
    # Even if it existed: the process that created it may have died before this.
    disk.sync_folder(parent)
    check_permissions(disk, root)
    for name in (*FOLDERS, *ADDED_FOLDERS):
        disk.make_folder(f"{root}/{name}")
    disk.sync_folder(root)
    disk.sync_folder(f"{root}/{INBOX_FOLDER}")


def create_added_folders(disk: Disk, root: str) -> None:
    """Create the folders that a hub of an earlier version lacks. Requires the engine's lock.

    They are durable once hub.json has been replaced, which syncs the folder that they are in.
    """
    for name in ADDED_FOLDERS:
        if disk.stat(f"{root}/{name}") is None:
            disk.make_folder(f"{root}/{name}")


def remove_old_pipe(disk: Disk, root: str) -> None:
    """Remove the named pipe of an earlier version: a folder that contains one can't be copied."""
    info = disk.stat(f"{root}/{OLD_PIPE_FILE}")
    if info is not None and info.kind != "folder":
        disk.unlink(f"{root}/{OLD_PIPE_FILE}")


def _create_files(disk: Disk, root: str) -> None:
    hub = uuid4().hex
    journal = Journal.open(disk, f"{root}/{JOURNAL_FOLDER}", hub=hub, first=1)
    write_checkpoint(disk, f"{root}/{JOURNAL_FOLDER}", JournalCheckpoint(1, journal.segment))
    journal.close()
    # Last: a hub exists as soon as hub.json does.
    name = os.path.basename(os.path.dirname(os.path.abspath(root))) or "hub"
    write_hub_file(disk, root, HubFile(FORMAT, hub, name, last_seen=datetime.now(UTC)))
