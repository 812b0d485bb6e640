"""Limits how many lines are printed in a second: further ones are only counted, by their kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock, Timer
from time import monotonic

from durablecli.engine.thread_start import start_thread

MAX_LINES = 20
"""The lines in one second. If there were more, all lines of the next second are counted too."""
_WINDOW = 1.0


class LineLimiter:
    """Admits lines. `report` is called at the end of a second with the numbers of those that were not admitted."""

    def __init__(self, report: Callable[[Mapping[str, int]], None]) -> None:
        self._report = report
        self._guard = Lock()
        self._window_ends = 0.0
        self._count = 0
        self._limit = MAX_LINES
        self._omitted: Counter[str] = Counter()
        self._timer: Timer | None = None

    def admits(self, kind: str, count: int) -> bool:
        """Return whether a line may be printed; if not, it counts as `count` of this kind."""
        now = monotonic()
        with self._guard:
            if now >= self._window_ends:
                self._report_omitted()
                is_busy = self._count > MAX_LINES and now < self._window_ends + _WINDOW
                self._limit = 0 if is_busy else MAX_LINES
                self._window_ends, self._count = now + _WINDOW, 0
            self._count += count
            if self._count <= self._limit:
                return True
            self._omitted[kind] += count
            if self._timer is None:
                timer = Timer(self._window_ends - now, self.flush)
                timer.daemon = True
                self._timer = timer if start_thread(timer) else None
        return False

    def flush(self) -> None:
        """Report the lines that were not admitted, if there are any, without waiting for the end of the second."""
        with self._guard:
            self._report_omitted()

    def _report_omitted(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._omitted:
            omitted, self._omitted = dict(self._omitted), Counter()
            self._report(omitted)
