"""The pauses between polls: short at first, longer later, and never past a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

MIN_POLL_INTERVAL = 0.002
MAX_POLL_INTERVAL = 0.2
_RECHECK_INTERVAL = 5.0  # an unchanged token is trusted for this long
_PAUSE_FACTOR = 5  # while a busy engine changes the token all the time, the caller's checks take a sixth of the time


class Poller:
    """Paces one wait. The intervals grow from `min_interval` to `max_interval`; without a timeout it never expires."""

    def __init__(
        self,
        timeout: timedelta | float | None = None,
        *,
        min_interval: float = MIN_POLL_INTERVAL,
        max_interval: float = MAX_POLL_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`timeout` is in seconds unless it is a timedelta."""
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        self._clock = clock
        self._sleep = sleep
        self._deadline = None if seconds is None else clock() + seconds
        self._min_interval = min(min_interval, max_interval)
        self._max_interval = max_interval
        self._interval = self._min_interval
        self._resumed_at = clock()

    def is_expired(self) -> bool:
        """Whether the timeout has passed."""
        return self._deadline is not None and self._clock() >= self._deadline

    def next_pause(self) -> float:
        """Return the seconds to pause before the next poll; 0.0 once the timeout has passed."""
        pause, self._interval = self._interval, min(self._interval * 1.5, self._max_interval)
        return pause if self._deadline is None else max(0.0, min(pause, self._deadline - self._clock()))

    def pause(self) -> None:
        """Sleep until the next poll."""
        self._sleep(self.next_pause())

    def remaining(self, limit: float) -> float:
        """Return the seconds until the timeout, `limit` at most; 0.0 once it has passed."""
        return limit if self._deadline is None else max(0.0, min(limit, self._deadline - self._clock()))

    def watching_pause(self) -> float:
        """Return the seconds to wait for a signal before polling anyway; 0.0 once the timeout has passed."""
        return self.remaining(_RECHECK_INTERVAL)

    def wait_for_change(self, read_token: Callable[[], object], before: object) -> None:
        """Return when the token differs from `before`, when the timeout has passed, or after a few seconds anyway.

        If what the caller has done since the last call took long, so does the first pause.
        """
        now = self._clock()
        took = now - self._resumed_at
        self._interval = min(max(self._min_interval, took * _PAUSE_FACTOR), self._max_interval)
        while not self.is_expired() and self._clock() < now + _RECHECK_INTERVAL:
            self.pause()
            if read_token() != before:
                break
        self._resumed_at = self._clock()
