"""Where worker processes find the app, and what they need to know of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from durablecli.config import TelemetryConfig


class AppLocation(NamedTuple):
    """The targets to load, relative to `base`, and the folder that is current while they are loaded.

    Modules can also import from the folder `project`. Files that are in `contents` are loaded as they are there, so
    that a worker process has the same code as the engine.
    """

    targets: Sequence[str] = ()
    base: str = "."
    folder: str = "."
    telemetry: TelemetryConfig | None = None
    """The settings of tracing, if the engine traces."""
    project: str | None = None
    contents: Mapping[str, bytes] = {}
