"""Where worker processes find the app."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class AppLocation(NamedTuple):
    """The targets to load, relative to `base`, and the folder that is current while they are loaded."""

    targets: Sequence[str] = ()
    base: str = "."
    folder: str = "."
