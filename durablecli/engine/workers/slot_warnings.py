"""Lines for the log where work waits for slots that aren't freed, and where work goes on that was told to stop."""

from __future__ import annotations

from collections.abc import Callable
from heapq import nsmallest
from time import monotonic

from durablecli.engine.workers.dispatcher import Crew, kind_of
from durablecli.engine.workers.thread_pool import Executor, Key, Work

_EVERY = 1.0
_PATIENCE = 5.0
"""Seconds that all slots are to be occupied, or work is to go on, before a line says so."""
_AGAIN = 60.0
_NAMED = 3
_WHAT = {
    "thread": ("activity waits", "activities wait", "threads", "activities"),
    "async": ("async activity waits", "async activities wait", "slots", "async_activities"),
    "process": ("process activity waits", "process activities wait", "worker processes", "process_workers"),
    "entity": ("entity waits", "entities wait", "threads", "entities"),
}


class OccupancyLog:
    """Looks at the executors once a second."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = monotonic) -> None:
        self._say = say
        self._clock = clock
        self._looked = clock()
        self._said: dict[str, float] = {}
        self._stopped: dict[Key, float] = {}
        """The calls that run on though their outcome doesn't count, since when; infinity once that was said."""

    def update(self, crew: Crew) -> None:
        """Say what there is to say."""
        now = self._clock()
        if now - self._looked < _EVERY:
            return
        self._looked = now
        for kind, executor in crew.executors.items():
            if executor.queued:
                self._name_occupants(crew, kind, executor, now)
        self._name_stubborn(crew, now)

    def _name_occupants(self, crew: Crew, kind: str, executor: Executor, now: float) -> None:
        running = executor.running()
        if len(running) < executor.most or now - max(running.values()) < _PATIENCE:
            return
        if now - self._said.get(kind, -_AGAIN) < _AGAIN:
            return
        self._said[kind] = now
        one, several, slots, setting = _WHAT[kind]
        waits = f"1 {one}" if executor.queued == 1 else f"{executor.queued:,} {several}"
        longest = nsmallest(_NAMED, running.items(), key=lambda each: each[1])
        named = [_described(work, now - since) for key, since in longest if (work := crew.find(key)) is not None]
        more = len(running) - len(named)
        others = f" and {more} more" if more > 0 else ""
        self._say(
            f"{waits}: all {executor.most} {slots} (concurrency.{setting}) are busy, with {', '.join(named)}{others}"
        )

    def _name_stubborn(self, crew: Crew, now: float) -> None:
        running = crew.began()
        works = {key: work for key in running if (work := crew.find(key)) is not None and work.cancellation.dropped}
        self._stopped = {key: self._stopped.get(key, now) for key in works}
        for key, since in self._stopped.items():
            if now - since >= _PATIENCE:
                self._stopped[key] = float("inf")
                self._say(
                    f"{_described(works[key], now - running[key])} still occupies its slot: nobody waits for it any "
                    "more, and it doesn't look at context.cancelled"
                )


def _described(work: Work, seconds: float) -> str:
    instance, _, n = work.key
    what = f"{work.function.name} of {instance}"
    return f"{what if kind_of(work) == 'entity' else f'{what} (id {n})'} for {seconds:.0f} s"
