"""What an error of the disk means to whoever asked for something."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from durablecli.errors import NoPermission, StorageError


@contextmanager
def translate_os_errors(consequence: str) -> Iterator[None]:
    """Turn OSError into StorageError, or NoPermission, with what follows from it: "the message isn't acknowledged"."""
    try:
        yield
    except PermissionError as error:
        raise NoPermission(f"{error.filename or 'the state directory'}: {error.strerror}; {consequence}") from error
    except OSError as error:
        raise StorageError(f"{error.filename or 'the disk'}: {error.strerror or error}; {consequence}") from error
