"""Retention: purges the instances that ended longer ago than the settings keep them, in the background.

A sweep asks the index for them, page after page, and purges each tree in the commit of a cycle, as the purge of a
client does: a crash leaves every instance whole or gone, and the next sweep finds what is left. Sweeps take only what
the other inputs of a cycle leave, for a moment at a time, and then pause in proportion to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic
from typing import NamedTuple

from durablecli.engine.background import BackgroundThread
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.message_intake import MessageIntake
from durablecli.engine.purging import Purged, Purger
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.plurals import format_count, format_size
from durablecli.store.hub import use_index
from durablecli.store.query import to_micros

_SLICE = 0.004
"""The seconds for which a cycle purges, with the time in which the files are removed later; one tree is purged in any
case."""
_PAUSE_FACTOR = 4
_MIN_PAUSE = 0.05
"""The pause after a slice, as a multiple of its time, and at least. So a sweep takes at most a fifth of the engine's
time, and its commits, for which others may have to wait, are few."""
_QUERY_POLL_INTERVAL = 0.005
_PAGE_SIZE = 1_000
_MAX_TRIES = 10
_MIN_INTERVAL, _MAX_INTERVAL = timedelta(seconds=1), timedelta(minutes=10)
_INTERVAL_SHARE = 20
"""Sweeps begin at intervals of this part of the shortest age, within the limits above."""


class _Candidate(NamedTuple):
    id: str
    tries: int = 0
    """How often its purge had to wait already."""


class RetentionSweeper:
    """Purges what is older than `ages`, by the status of ended instances. `begin_cycle` and `purge_some` are called in
    each cycle, and `roll_back` when a cycle is given up."""

    def __init__(
        self,
        shared: SharedParts,
        ages: dict[str, timedelta],
        split_turn: SplitTurn,
        messages: MessageIntake,
        purger: Purger,
        background: BackgroundThread[Callable[[], None]],
    ) -> None:
        self._hub = shared.hub
        self._clock = shared.clock
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._queue = shared.messages
        self._echo = shared.echo
        self._ages = ages
        self._split_turn = split_turn
        self._messages = messages
        self._purger = purger
        self._background = background
        self._interval = min(max(min(ages.values()) / _INTERVAL_SHARE, _MIN_INTERVAL), _MAX_INTERVAL)
        self._next_sweep_at = shared.clock.now()
        self._resumes_at = 0.0
        self._statuses: deque[str] = deque()
        """The statuses whose instances this sweep has still to look for; the first is the current one."""
        self._position: tuple[int, str] | None = None
        self._candidates: deque[_Candidate] = deque()
        self._is_querying = False
        self._found: list[tuple[int, str]] | None = None
        """What a query in the background thread has found; set by that thread."""
        self._purged = Purged(0, 0)
        self._purged_before_cycle = self._purged
        self._last_slice = 0
        """How many instances were purged since removals were measured."""
        self._removal_seconds = shared.hub.history_writer.removal_seconds
        self._seconds_per_removal = 0.0
        """How long the disk took to remove a file of the slice before."""

    @property
    def is_active(self) -> bool:
        """Whether a sweep has begun and is not done."""
        return bool(self._statuses or self._candidates)

    @property
    def is_ready(self) -> bool:
        """Whether the next cycle could purge something."""
        return self.is_active and monotonic() >= self._resumes_at

    def limit_wait(self, wait: float) -> float:
        """Return how long the engine may wait, at most `wait` seconds, before this is called again."""
        if self.is_active:
            return min(wait, max(0.0, self._resumes_at - monotonic()))
        return min(wait, max(0.0, (self._next_sweep_at - self._clock.now()).total_seconds()))

    def begin_cycle(self) -> None:
        self._purged_before_cycle = self._purged

    def roll_back(self) -> None:
        """Forget what this cycle has purged; the next sweep finds it again."""
        self._purged = self._purged_before_cycle

    def purge_some(self) -> None:
        """Purge for a moment, if a sweep is due or has begun."""
        began = monotonic()
        if began < self._resumes_at or not (self.is_active or self._begin_sweep()):
            return
        self._measure_removals()
        took = 0.0
        while took < _SLICE and not self._cycle.is_budget_spent and self._has_candidate():
            if not self._try_to_purge(self._candidates.popleft()):
                break
            purged = self._purged.count - self._purged_before_cycle.count
            took = monotonic() - began + purged * self._seconds_per_removal
        if not self.is_active:
            self._end_sweep()
            return
        pause = _QUERY_POLL_INTERVAL if self._is_querying else max(_MIN_PAUSE, took * _PAUSE_FACTOR)
        self._resumes_at = monotonic() + pause

    def _measure_removals(self) -> None:
        """Note how long the disk has taken to remove the files of the slice before."""
        total = self._hub.history_writer.removal_seconds
        if self._last_slice and total > self._removal_seconds:
            self._seconds_per_removal = (total - self._removal_seconds) / self._last_slice
            self._removal_seconds, self._last_slice = total, 0

    def _begin_sweep(self) -> bool:
        if self._clock.now() < self._next_sweep_at:
            return False
        self._statuses.extend(self._ages)
        self._position, self._purged = None, Purged(0, 0)
        self._purged_before_cycle = self._purged
        return True

    def _end_sweep(self) -> None:
        self._resumes_at = 0.0
        self._next_sweep_at = self._clock.now() + self._interval
        if self._purged.count:
            purged = format_count(self._purged.count, "instance")
            self._echo(f"retention: purged {purged}, freed {format_size(self._purged.bytes)}")

    # ── candidates ─────────────────────────────────────────────────────────────────────────────────────────────

    def _has_candidate(self) -> bool:
        """Whether a candidate is known; begins a query for more if none is."""
        while not self._candidates and self._statuses:
            if not self._is_querying:
                self._query()
            if self._found is None:
                return False
            found, self._found, self._is_querying = self._found, None, False
            self._candidates.extend(_Candidate(id) for _, id in found)
            self._position = found[-1] if found else None
            if len(found) < _PAGE_SIZE:
                self._position = None
                self._statuses.popleft()
        return bool(self._candidates)

    def _query(self) -> None:
        self._is_querying = True
        status, position = self._statuses[0], self._position
        until = to_micros(self._oldest_kept(status))

        def query() -> None:
            self._found = use_index(self._hub, lambda index: index.ended_before(status, until, position, _PAGE_SIZE))

        self._background.submit(query)

    def _oldest_kept(self, status: str) -> datetime:
        """Instances with this status that have not changed since then are purged."""
        try:
            return self._clock.now() - self._ages[status]
        except OverflowError:
            return datetime.min.replace(tzinfo=self._clock.now().tzinfo)

    def _try_to_purge(self, candidate: _Candidate) -> bool:
        """Purge a candidate's tree, unless the candidate is no longer due. False if it has to wait."""
        if not self._may_come_now(candidate.id):
            if candidate.tries < _MAX_TRIES:
                self._candidates.append(_Candidate(candidate.id, candidate.tries + 1))
            return False
        self._cycle.handling = candidate.id
        was_cached = self._instances.get_cached(candidate.id) is not None
        instance = self._instances.get(candidate.id)
        if instance is not None and self._is_due(instance):
            tree = self._purger.purge(instance, recursive=True)
            self._purged = Purged(self._purged.count + tree.count, self._purged.bytes + tree.bytes)
            self._last_slice += tree.count
        elif not was_cached:
            self._instances.evict(candidate.id)  # it doesn't take the place of an instance that is in use
        self._cycle.handling = None
        return True

    def _may_come_now(self, id: str) -> bool:
        """Whether no message for this instance comes first, and no turn or batch that concerns it isn't complete."""
        if self._split_turn.is_active or self._queue.was_started_early(id):
            return False
        return self._messages.handle_before(id)

    def _is_due(self, instance: CachedInstance) -> bool:
        state = instance.runtime_state
        if state.status not in self._ages or state.updated > self._oldest_kept(state.status):
            return False
        if instance.unpublished or state.execution == self._cycle.builder.execution:
            return False
        parent = state.started.parent
        if parent is None:
            return True
        if self._instances.is_quarantined(parent.instance):
            return False
        above = self._instances.get(parent.instance)
        return above is None or above.runtime_state.execution != parent.execution
