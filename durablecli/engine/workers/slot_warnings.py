"""Warns about calls that wait for a slot for long, and about cancelled and timed out calls that don't stop."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from time import monotonic

from durablecli.engine.workers.decided_tasks import WorkKey
from durablecli.engine.workers.dispatcher import Dispatcher, pool_kind
from durablecli.engine.workers.pool import WorkerPool, WorkItem
from durablecli.engine.workers.remote_calls import REMOTE
from durablecli.engine.workers.thread_pool import ThreadPool

_CHECK_INTERVAL = 1.0
_WARN_AFTER = 5.0
"""Seconds for which all slots are busy, or a cancelled call continues, before a warning."""
_REPEAT_INTERVAL = 60.0
_MAX_NAMED = 3
_WORDING = {
    "thread": ("activity waits", "activities wait", "threads", "activities"),
    "async": ("async activity waits", "async activities wait", "slots", "async_activities"),
    "process": ("process activity waits", "process activities wait", "worker processes", "process_workers"),
    "entity": ("entity waits", "entities wait", "threads", "entities"),
}


class SlotWarnings:
    """Checks the worker pools once a second, but not that of remote code: how workers use their slots isn't known."""

    def __init__(self, echo: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._echo = echo
        self._clock = clock
        self._checked_at = clock()
        self._warned_at: dict[str, float] = {}
        self._abandoned_since: dict[WorkKey, float] = {}
        """The running calls whose results don't count, with the time since when; infinity after the warning."""
        self._warned_lost: set[int] = set()

    def check(self, dispatcher: Dispatcher) -> None:
        """Print the warnings that are due."""
        now = self._clock()
        if now - self._checked_at < _CHECK_INTERVAL:
            return
        self._checked_at = now
        for kind, pool in dispatcher.pools.items():
            if pool.queue_length and kind != REMOTE:
                self._warn_if_full(dispatcher, kind, pool, now)
        self._warn_of_abandoned(dispatcher, now)
        for pool in dispatcher.pools.values():
            if isinstance(pool, ThreadPool):
                self._warn_of_lost(pool, now)

    def _warn_if_full(self, dispatcher: Dispatcher, kind: str, pool: WorkerPool, now: float) -> None:
        running = pool.start_times()
        if len(running) < pool.capacity or now - max(running.values()) < _WARN_AFTER:
            return
        if now - self._warned_at.get(kind, -_REPEAT_INTERVAL) < _REPEAT_INTERVAL:
            return
        self._warned_at[kind] = now
        one, several, slots, setting = _WORDING[kind]
        waits = f"1 {one}" if pool.queue_length == 1 else f"{pool.queue_length:,} {several}"
        longest = nsmallest(_MAX_NAMED, running.items(), key=lambda each: each[1])
        named = [_describe(work, now - since) for key, since in longest if (work := dispatcher.find(key)) is not None]
        more = len(running) - len(named)
        others = f" and {more} more" if more > 0 else ""
        self._echo(
            f"{waits}: all {pool.capacity} {slots} (concurrency.{setting}) are busy, with {', '.join(named)}{others}"
        )

    def _warn_of_abandoned(self, dispatcher: Dispatcher, now: float) -> None:
        running = dispatcher.start_times()
        works = {
            key: work
            for key in running
            if (work := dispatcher.find(key)) is not None and work.cancellation.abandoned and pool_kind(work) != REMOTE
        }
        self._abandoned_since = {key: self._abandoned_since.get(key, now) for key in works}
        for key, since in self._abandoned_since.items():
            if now - since >= _WARN_AFTER:
                self._abandoned_since[key] = float("inf")
                self._echo(
                    f"{_describe(works[key], now - running[key])} still occupies its slot: it was cancelled, and "
                    "doesn't check context.cancelled"
                )

    def _warn_of_lost(self, pool: ThreadPool, now: float) -> None:
        lost = pool.list_lost()
        if not lost:
            self._warned_lost.clear()
            return
        for call, since in lost:
            if now - since >= _WARN_AFTER and id(call) not in self._warned_lost:
                self._warned_lost.add(id(call))
                threads = "1 thread" if len(lost) == 1 else f"{len(lost):,} threads"
                self._echo(
                    f"{_describe(call, now - since)} still runs after its time-out: it doesn't check "
                    f"context.cancelled. Its thread is lost until it returns ({threads} now)"
                )


def _describe(work: WorkItem, seconds: float) -> str:
    instance, _, n = work.key
    call = f"{work.function.name} of {instance}"
    return f"{call if pool_kind(work) == 'entity' else f'{call} (id {n})'} for {seconds:.0f} s"
