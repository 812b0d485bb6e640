"""The start of a daemon's app, for each kind of daemon: load it, and print its functions and problems."""

from __future__ import annotations

from durablecli.apps.load import load_configured
from durablecli.apps.load_warnings import load_warnings, no_function_error
from durablecli.apps.modules import LoadedApp
from durablecli.config import Config
from durablecli.daemon.assembly import Echo
from durablecli.os_signals import Interrupted, SignalHandler
from durablecli.plurals import format_count

_NOUNS = (
    ("orchestrator", "orchestrator", "orchestrators"),
    ("activity", "activity", "activities"),
    ("entity", "entity", "entities"),
    ("http", "HTTP function", "HTTP functions"),
    ("timer", "timer", "timers"),
)


def load_app(config: Config, signals: SignalHandler) -> LoadedApp | None:
    """Import the modules; None if a signal arrives meanwhile."""
    try:
        with signals.raise_on_signal():
            return load_configured(config)
    except Interrupted:
        return None


def print_warnings(
    config: Config, loaded: LoadedApp, echo: Echo, *, needs_functions: bool = True, alternative: str = ""
) -> None:
    """Print the problems of the app. Raises ConfigError if it has no function, although it needs one; `alternative` is
    then a part of its message."""
    for warning in load_warnings(loaded):
        echo(warning)
    if needs_functions and not len(loaded.registry):
        raise no_function_error(config, alternative)


def describe_functions(config: Config, loaded: LoadedApp) -> str:
    """Return a line with the number of functions of each kind."""
    kinds = [function.kind for function in loaded.registry]
    counts = [
        format_count(kinds.count(kind), singular, plural)
        for kind, singular, plural in _NOUNS
        if kind in kinds or kind in ("orchestrator", "activity")
    ]
    return f"loaded {', '.join(counts[:-1])} and {counts[-1]} from {', '.join(config.app)}"
