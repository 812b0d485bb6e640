"""Finds the project that a command belongs to, and makes paths absolute, so that they survive a change of folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

from durablecli.errors import ConfigError

CONFIG_FILE = "durable.yaml"
DEFAULT_STATE_DIR = ".state"
WORKFLOWS_DIR = "workflows"
_HUB_FILE = "hub.json"
_APP_FILES = ("host.json", "function_app.py")


def make_absolute(path: str | os.PathLike[str]) -> str:
    """Return the absolute path. Raises ConfigError if the current folder no longer exists."""
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ConfigError(f"{os.fspath(path)}: the current folder no longer exists; change to another one") from None


def display_path(path: str) -> str:
    """Return an absolute path for display: relative if it is in the current folder."""
    try:
        return os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path
    except FileNotFoundError:
        return path


def display_source_path(path: str) -> str:
    """Return the absolute path of a source file for display: relative if it is in the current folder or the project."""
    shown = display_path(path)
    if shown != path:
        return shown
    try:
        project = make_absolute(find_project())
        return os.path.relpath(path) if path.startswith(project + os.sep) else path
    except (ConfigError, FileNotFoundError):
        return path


def find_project() -> str:
    """Find the folder with the durable.yaml or the `.state` for the current folder, as git finds `.git`.

    The search goes from the current folder upwards; if it finds nothing, the current folder is the project. The current
    folder is returned as `.`. A file or folder above that another user owns is skipped, for it could name code to run;
    a durable.yaml of root counts. A `.state` above counts only if it is empty or holds a hub, and not for a folder with
    an app of its own.
    """
    if _has(os.curdir, CONFIG_FILE) or os.path.isdir(DEFAULT_STATE_DIR):
        return os.curdir
    has_app = _has_app(os.curdir)
    for folder in _iter_parents(make_absolute(os.curdir)):
        file, state = os.path.join(folder, CONFIG_FILE), os.path.join(folder, DEFAULT_STATE_DIR)
        if os.path.isfile(file) and _is_own(file, allow_root=True):
            return folder
        if not has_app and _is_own(state) and _is_state_dir(state):
            return folder
        has_app = has_app or _has_app(folder)
    return os.curdir


def _iter_parents(folder: str) -> Iterator[str]:
    while (parent := os.path.dirname(folder)) != folder:
        yield parent
        folder = parent


def _has(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name))


def _has_app(folder: str) -> bool:
    return os.path.isdir(os.path.join(folder, WORKFLOWS_DIR)) or any(_has(folder, name) for name in _APP_FILES)


def _is_own(path: str, *, allow_root: bool = False) -> bool:
    try:
        return os.stat(path).st_uid in ({os.geteuid(), 0} if allow_root else {os.geteuid()})
    except OSError:
        return False


def _is_state_dir(path: str) -> bool:
    """Return whether a folder is a hub, holds the hubs of an Azure app, or is still empty."""
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return not names or any(_has(path, found) for name in names for found in (_HUB_FILE, f"{name}/{_HUB_FILE}"))
