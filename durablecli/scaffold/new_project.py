"""Writes the files of a new project. A file that exists is never changed."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from durablecli.errors import Conflict, DurableError, NoPermission

UNIT_FILE = "durable.service"
_SUFFIX = ".template"
_NAMES = {"gitignore": ".gitignore"}
"""The names of files that would have an effect in the package itself."""


class NewProject(NamedTuple):
    """The paths that were written, and those that existed already, relative to the folder of the project."""

    created: tuple[str, ...]
    kept: tuple[str, ...]


def create_project(folder: str, *, with_unit: bool = False) -> NewProject:
    """Write a workflow, its test, the settings and a .gitignore into a folder, which is made if it doesn't exist.

    `with_unit` adds a unit file for systemd. Raises Conflict if all of these files exist, and NoPermission or
    DurableError if a file can't be written.
    """
    wanted = [(path, text) for path, text in _render(os.path.abspath(folder)) if with_unit or path != UNIT_FILE]
    created = [path for path, text in wanted if _write(os.path.join(folder, path), text)]
    if not created:
        raise Conflict(f"{folder}: all files of a new project exist already, nothing was changed")
    return NewProject(tuple(created), tuple(path for path, _ in wanted if path not in created))


def _render(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a project in this folder: the path relative to it, and the text."""
    for path, text in sorted(_iter_templates(files(__package__).joinpath("files"), "")):
        yield path, text.format(folder=folder, command=_find_command()) if path == UNIT_FILE else text


def _iter_templates(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _iter_templates(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            name = entry.name.removesuffix(_SUFFIX)
            yield prefix + _NAMES.get(name, name), entry.read_text(encoding="utf-8")


def _find_command() -> str:
    """Return the command line that runs durable with this interpreter."""
    script = os.path.join(os.path.dirname(sys.executable), "durable")
    return script if os.path.isfile(script) else f"{shlex.quote(sys.executable)} -m durablecli"


def _write(path: str, text: str) -> bool:
    """Write a new file, and the folders it is in; False if it exists."""
    try:
        os.makedirs(os.path.dirname(path) or os.curdir, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if os.path.isfile(path):
            return False
        raise Conflict(f"{path}: something else than a file or folder is in the way") from None
    except NotADirectoryError:
        raise Conflict(f"{os.path.dirname(path)}: a file is in the way") from None
    except PermissionError as error:
        raise NoPermission(f"{error.filename}: no permission to write") from None
    except OSError as error:
        raise DurableError(f"{path}: {error.strerror}") from None
    return True
