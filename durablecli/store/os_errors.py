"""Translation of OSError into StorageError and NoPermission, with the consequence for the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from durablecli.errors import NoPermission, StorageError

NOTHING_DONE = "nothing was done. Repair the disk or free some space, then try again"
FAIL_STOP = "nothing more is accepted. Repair the disk or free some space, then start again"


@contextmanager
def translate_os_errors(consequence: str, path: str = "the state directory") -> Iterator[None]:
    """Translate OSError to NoPermission or StorageError, with the consequence: "the message isn't acknowledged".

    `path` is named if the error itself names none.
    """
    try:
        yield
    except PermissionError as error:
        where = _describe(error, path)
        raise NoPermission(f"{where}; {consequence.partition('.')[0]}; use a --state-dir of your own") from error
    except OSError as error:
        raise StorageError(f"{_describe(error, path)}; {consequence}") from error


def make_fail_stop_error(error: OSError, path: str) -> StorageError:
    """Make the error after which an engine writes nothing more: only a restart can determine what is on disk."""
    return StorageError(f"{path}: {error.strerror or error}; {FAIL_STOP}")


def _describe(error: OSError, path: str) -> str:
    where = error.filename if isinstance(error.filename, str) else path
    return f"{where}: {error.strerror or error}"
