"""Folders of Azure function apps: how they are recognized, and which files declare their functions."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from durablecli.errors import ConfigError

APP_MODULE = "function_app"
_APP_FILE = f"{APP_MODULE}.py"
_FUNCTION_JSON = "function.json"
_imports_azure = re.compile(
    rb"^[ \t]*(?:from|import)[ \t]+azure\b[^\n]*\b(?:durable_)?functions\b", re.MULTILINE
).search


def is_azure_app(folder: str) -> bool:
    """Whether a folder holds an Azure function app."""
    return os.path.isfile(os.path.join(folder, "host.json")) or has_app_module(folder)


def has_app_module(folder: str) -> bool:
    """Whether an app has the newer layout: its functions are declared in `function_app.py`."""
    return os.path.isfile(os.path.join(folder, _APP_FILE))


def find_folder(paths: Sequence[str]) -> str | None:
    """The folder of the Azure function app that the targets name, or one file of it; None if they name no such app.

    Raises ConfigError if they name anything else beside a folder.
    """
    folders = [path for path in paths if is_azure_app(path)]
    if folders and len(paths) > 1:
        raise ConfigError(
            f"app: {folders[0]} is an Azure function app, which can't be combined with other targets; name it alone"
        )
    return folders[0] if folders else find_folder_of_file(paths)


def find_folder_of_app(paths: Sequence[str]) -> str | None:
    """The folder of an Azure function app that is to be loaded as a whole.

    The targets name the folder itself, or its `function_app.py`.
    """
    if len(paths) != 1:
        return None
    if is_azure_app(paths[0]):
        return paths[0]
    return find_folder_of_file(paths) if _is_app_file(paths[0]) else None


def find_folder_of_file(paths: Sequence[str]) -> str | None:
    """The folder of a file that imports Azure's packages, if the targets name only that file."""
    if len(paths) != 1 or not paths[0].endswith(".py"):
        return None
    return (os.path.dirname(paths[0]) or os.curdir) if _uses_azure(paths[0]) else None


def list_function_files(folder: str) -> Iterator[tuple[str, str]]:
    """The functions of the older layout: the name of each, and the path of its function.json."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = os.path.join(entry.path, _FUNCTION_JSON)
        if entry.is_dir() and os.path.isfile(path):
            yield entry.name, path


def _is_app_file(path: str) -> bool:
    return os.path.basename(path) == _APP_FILE


def _uses_azure(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return _is_app_file(path) or _imports_azure(file.read()) is not None
    except OSError:
        return False
