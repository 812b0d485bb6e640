"""Limits how many calls of one function run at the same time."""

from __future__ import annotations

from collections import Counter, deque

from durablecli.engine.workers.activity import ActivityCall
from durablecli.registry import Function


class ConcurrencyLimiter:
    """Holds back the calls of functions that have reached their `max_concurrency`."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[ActivityCall]] = {}

    def try_enter(self, call: ActivityCall) -> bool:
        """Return whether the call may start now; otherwise keep it."""
        limit = call.function.max_concurrency
        if limit is None:
            return True
        name = call.function.name
        if self._running[name] >= limit:
            self._waiting.setdefault(name, deque()).append(call)
            return False
        self._running[name] += 1
        return True

    def leave(self, function: Function) -> ActivityCall | None:
        """Return the kept call that may start, now that one has ended; None if there is none."""
        if function.max_concurrency is None:
            return None
        waiting = self._waiting.get(function.name)
        if waiting:
            return waiting.popleft()
        self._running[function.name] -= 1
        return None
