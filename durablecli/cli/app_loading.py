"""Loads the functions that the settings name, for the verbs that need them."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout, suppress
from typing import TYPE_CHECKING

from durablecli.cli.output import echo_error
from durablecli.errors import DurableError

if TYPE_CHECKING:  # only named: most verbs load no code
    from durablecli.apps.modules import LoadedApp
    from durablecli.config import Config


def load_app(config: Config) -> LoadedApp:
    """Import the modules of the app. What they print goes to stderr: stdout is for the output of the verb."""
    from durablecli.apps.load import load_configured

    with redirect_stdout(sys.stderr):
        return load_configured(config)


def load_app_with_warnings(config: Config) -> LoadedApp:
    """Import the modules of the app, and print what could not be used."""
    loaded = load_app(config)
    print_load_warnings(loaded)
    return loaded


def print_load_warnings(loaded: LoadedApp) -> None:
    """Print a line for each module and each function that could not be used."""
    from durablecli.apps.load_warnings import load_warnings

    for line in load_warnings(loaded):
        echo_error(line)


def print_code_notice(state_dir: str) -> None:
    """Print a line if the running daemon of a hub has other code than the files of the app have now."""
    from durablecli.client import Client, code_notice

    with suppress(DurableError, OSError):
        if (notice := code_notice(Client(state_dir).work_report())) is not None:
            echo_error(notice)
