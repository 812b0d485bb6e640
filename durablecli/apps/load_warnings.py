"""What a load of an app could not use, as lines to print."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from durablecli.apps.modules import LoadedApp
from durablecli.config import Config
from durablecli.errors import ConfigError


def load_warnings(loaded: LoadedApp) -> Iterator[str]:
    """Yield a line for each module that can't be imported and each function name that two functions share."""
    for module in loaded.modules:
        if module.error:
            yield f"can't import {module.name}: {module.error}"
    yield from loaded.warnings
    for locations in loaded.registry.clashes.values():
        yield format_clash(locations, disabled=True)


def format_clash(locations: Sequence[str], *, disabled: bool = False) -> str:
    """Return a line on functions that share a name; `disabled` says that none of them can be called."""
    number = "both" if len(locations) == 2 else "all"
    outcome = f", {number} disabled" if disabled else ""
    return f"duplicate function name{outcome}: {', '.join(map(relative_location, locations))}"


def no_function_error(config: Config, alternative: str = "") -> ConfigError:
    """Return the error for an app without a single function; `alternative` is what else the user may have meant."""
    if not config.app:
        return ConfigError(f"no functions found: create a folder workflows/, or name a module with --app{alternative}")
    return ConfigError(f"no functions found in {', '.join(config.app)}")


def relative_location(location: str) -> str:
    """Return a source location with its path relative to the current folder, if it is below it."""
    return location.replace(os.getcwd() + os.sep, "")
