"""What an engine knows of its code: when it was loaded, what has changed since, and why that can't be loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from time import monotonic

import msgspec

from durablecli.store.engine_info import CodeInfo

_CHECK_INTERVAL = 3.0


class CodeState:
    """Describes the code for engine.json and the dashboard; any thread may call the methods.

    `find_changed` returns the paths of changed files: it is called every few seconds. An app that is reloaded by itself
    needs none.
    """

    def __init__(self, loaded_at: datetime, find_changed: Callable[[], Sequence[str]] | None = None) -> None:
        self._find_changed = find_changed
        self._check_at = monotonic() + _CHECK_INTERVAL
        self.info = CodeInfo(loaded_at)

    @property
    def reloads(self) -> bool:
        """Whether changed files are loaded by themselves."""
        return self._find_changed is None

    def update(self) -> CodeInfo:
        """Look for changed files, if it is time to, and return the description."""
        if self._find_changed is not None and monotonic() >= self._check_at:
            self._check_at = monotonic() + _CHECK_INTERVAL
            self.info = msgspec.structs.replace(self.info, changed=tuple(self._find_changed()))
        return self.info

    def set_loaded(self, at: datetime) -> None:
        """Note that the code was loaded again."""
        self.info = CodeInfo(at)

    def set_error(self, error: str) -> None:
        """Note, in a line for people, what can't be loaded of the files as they are now; none if it is empty."""
        self.info = msgspec.structs.replace(self.info, error=error)
