"""Loads an app again whose files have changed. If that fails the loaded app stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from durablecli.apps import load
from durablecli.apps.load_warnings import format_clash, no_function_error
from durablecli.apps.modules import LoadedApp, find_syntax_error
from durablecli.apps.source_changes import SourceChanges
from durablecli.config import Config
from durablecli.errors import ConfigError


class ReloadError(ConfigError):
    """The files of the app can't be loaded as they are now. The text is one line, with the file and the line."""


class StillChanging(Exception):
    """A file of the app was written while the app was loaded."""


@contextmanager
def reload(config: Config, current: LoadedApp) -> Iterator[LoadedApp]:
    """Load the app again, in place of the current one, which is put back if the body raises an error.

    Raises ReloadError if a module can't be imported any more, or two functions share a name that didn't before. What
    could not be loaded before either is left out again. Raises StillChanging if a file was written meanwhile: it may
    have been read in part.
    """
    check_syntax(current)  # first, because meanwhile functions that run may import modules of the current app
    before = load.detach()
    try:
        try:
            loaded = load.load_configured(config)
        except ConfigError as error:
            raise ReloadError(str(error)) from None
        _check(loaded, current)
        if len(current.registry) and not len(loaded.registry):
            raise ReloadError(str(no_function_error(config)))
        if SourceChanges(loaded).find():
            raise StillChanging
        yield loaded
    except BaseException:
        load.attach(before)
        raise


def check_syntax(app: LoadedApp) -> None:
    """Raise ReloadError if a file that the app was loaded from isn't Python any more."""
    for path, data in list(app.contents.items()):
        if (error := find_syntax_error(path, data)) is not None:
            raise ReloadError(error)


def _check(loaded: LoadedApp, current: LoadedApp) -> None:
    good = {(module.name, module.path) for module in current.modules if module.error is None}
    errors = [each.error for each in loaded.modules if each.error is not None and (each.name, each.path) in good]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ReloadError(errors[0] + more)
    for name, locations in loaded.registry.clashes.items():
        if name not in current.registry.clashes:
            raise ReloadError(format_clash(locations))
