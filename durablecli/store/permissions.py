"""The permissions of a hub: its user owns the files, others can't write to them, and none is a symlink."""

from __future__ import annotations

from durablecli.errors import NoPermission
from durablecli.store.disk import Disk
from durablecli.store.history.file import history_folders
from durablecli.store.layout import ADDED_FOLDERS, FOLDERS, HUB_FILE, INDEX_FILE, LOCK_FILE, LOGS_FOLDER


def check_permissions(disk: Disk, root: str) -> None:
    """Raise NoPermission for a state directory that others own or can write to, or that contains symlinks."""
    _check_path(disk, root, "folder", follow=True)
    for name in (*FOLDERS, *ADDED_FOLDERS, LOGS_FOLDER):
        _check_path(disk, f"{root}/{name}", "folder")
    for folder in history_folders(disk, root):
        _check_path(disk, folder, "folder")
    for name in (HUB_FILE, LOCK_FILE, INDEX_FILE):
        _check_path(disk, f"{root}/{name}", "file")


def _check_path(disk: Disk, path: str, kind: str, *, follow: bool = False) -> None:
    info = disk.stat(path, follow_symlinks=follow)
    if info is None:
        return
    if info.kind != kind:
        raise NoPermission(f"{path} is a {info.kind}, not a {kind}; move it away, or use another --state-dir")
    if info.owner != disk.user:
        raise NoPermission(f"{path} belongs to user {info.owner}, you are {disk.user}; use a --state-dir of your own")
    if info.mode & 0o022:
        raise NoPermission(f"{path} is writable by others (mode {info.mode:04o}); run: chmod go-w {path}")
