"""What an engine counts and measures about itself.

A cycle counts in its CommitBuilder, and the counts are added up here when the commit takes effect: a commit that was
given up has counted nothing, and a turn costs no more than an addition. Only the engine's thread writes; any thread may
take a snapshot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, time

CountKey = tuple[str, str]
"""What happened (see the constants below, or the status of an execution that has ended), and the function's name."""
Counts = defaultdict[CountKey, int]

STARTED = "started"
CONTINUED_AS_NEW = "ContinuedAsNew"
"""The outcome of an execution that was followed by the next one; the other outcomes are Completed, Failed and
Terminated."""
END_OUTCOMES = ("Completed", "Failed", "Terminated", CONTINUED_AS_NEW)
ACTIVITY_COMPLETED, ACTIVITY_FAILED = "activity completed", "activity failed"
OPERATION_COMPLETED, OPERATION_FAILED = "operation completed", "operation failed"
PURGED, PURGED_BYTES = "purged", "purged bytes"

TURN_BOUNDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0, 10.0)
COMMIT_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
LATENESS_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0, 60.0, 600.0, 3600.0)

_SLOT_SECONDS = 10
_SLOTS = 3600 // _SLOT_SECONDS
_MAX_KEYS = 5_000
OTHER_FUNCTIONS = "(other)"
"""The name under which further functions are counted once very many have been: names of instances are not checked."""


@dataclass(frozen=True)
class HistogramSnapshot:
    """The upper bounds of the buckets, how many values each bucket has (the last one is above all bounds), and the
    sum of all values. Values are in seconds."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """An upper bound of this share of the values: of half of them for 0.5. 0 if there is no value."""
        rank, seen = share * self.count, 0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            seen += count
            if seen and seen >= rank:
                return bound
        return float("inf") if self.count else 0.0


class Histogram:
    """Counts values in buckets with fixed upper bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Add a value, or several of the same size."""
        self._counts[bisect_left(self._bounds, value)] += count
        self._sum += value * count

    def snapshot(self) -> HistogramSnapshot:
        return HistogramSnapshot(self._bounds, tuple(self._counts), self._sum)


@dataclass(frozen=True)
class Throughput:
    """What happened in the minute that ended `minutes_ago`; the present one has 50 to 60 seconds."""

    minutes_ago: int
    commits: int = 0
    turns: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    terminated: int = 0
    activities: int = 0
    """Attempts that have returned or raised."""
    activities_failed: int = 0
    operations: int = 0
    """Entity operations."""


class Metrics:
    """The counters of one engine since it was opened."""

    def __init__(self) -> None:
        self.opened_at = time()
        self.counts: Counts = defaultdict(int)
        self.commits = self.turns = 0
        self.turn_seconds = Histogram(TURN_BOUNDS)
        """The time of a cycle per turn that it has run."""
        self.commit_seconds = Histogram(COMMIT_BOUNDS)
        """From the end of a cycle until its commit is on disk."""
        self.timer_lateness = Histogram(LATENESS_BOUNDS)
        """From the time a timer is due until it fires."""
        self._slots: deque[tuple[int, defaultdict[str, int]]] = deque(maxlen=_SLOTS)

    def count_commit(self, counts: Counts, turns: int, cycle_seconds: float, decided_at: float) -> None:
        """Add a commit that is on disk, by the monotonic clock `decided_at`."""
        now = monotonic()
        slot = int(now / _SLOT_SECONDS)
        slots = self._slots
        if not slots or slots[-1][0] != slot:
            slots.append((slot, defaultdict(int)))
        recent = slots[-1][1]
        self.commits += 1
        recent["commits"] += 1
        self.commit_seconds.observe(now - decided_at)
        if turns:
            self.turns += turns
            recent["turns"] += turns
            self.turn_seconds.observe(cycle_seconds / turns, turns)
        totals = self.counts
        for key, count in counts.items():
            recent[key[0]] += count
            if key not in totals and len(totals) >= _MAX_KEYS:
                totals[key[0], OTHER_FUNCTIONS] += count
            else:
                totals[key] += count

    def last_minute(self) -> Throughput:
        """The throughput of the last minute."""
        return self.minutes()[-1]

    def minutes(self) -> tuple[Throughput, ...]:
        """The throughput of each of the last 60 minutes, the oldest first."""
        end = int(monotonic() / _SLOT_SECONDS) + 1
        sums: list[defaultdict[str, int]] = [defaultdict(int) for _ in range(60)]
        for slot, counts in list(self._slots):
            minute = (end - 1 - slot) * _SLOT_SECONDS // 60
            if minute < 60:
                for name, count in counts.copy().items():
                    sums[minute][name] += count
        return tuple(_make_throughput(minute, sums[minute]) for minute in range(59, -1, -1))


def _make_throughput(minute: int, sums: Mapping[str, int]) -> Throughput:
    return Throughput(
        minute,
        sums["commits"],
        sums["turns"],
        sums[STARTED],
        sums["Completed"],
        sums["Failed"],
        sums["Terminated"],
        sums[ACTIVITY_COMPLETED] + sums[ACTIVITY_FAILED],
        sums[ACTIVITY_FAILED],
        sums[OPERATION_COMPLETED] + sums[OPERATION_FAILED],
    )


@dataclass(frozen=True)
class PoolLoad:
    """The calls of one worker pool: those that run, those that wait, and how many may run at the same time."""

    running: int
    queued: int
    capacity: int


@dataclass(frozen=True)
class RemoteLoad:
    """The connected workers, and the turns of remote orchestrators: those that workers have, and those that wait for
    one. Activities and entity batches are the pool `remote`."""

    workers: int
    running_turns: int
    queued_turns: int


@dataclass(frozen=True)
class QueueLengths:
    """What waits in the engine."""

    messages: int = 0
    """Messages of clients that are read and not handled, without batches of starts."""
    batches: int = 0
    """Starts of very many instances that are being handled."""
    results: int = 0
    """Results of activities and entity batches that are not handled."""
    ready_instances: int = 0
    """Instances that have a turn to run."""
    held_starts: int = 0
    """Started instances that wait for room."""
    timers: int = 0
    """Timers that are set; one counts for all those of an instance that has not been needed since the engine opened."""
    unsynced_commits: int = 0
    unpublished_bytes: int = 0
    """Lines that are in the journal and not yet in their history files."""


@dataclass(frozen=True)
class MetricsSnapshot:
    """The metrics of an engine at one time."""

    opened_at: float
    """When the engine was opened, in seconds since 1970."""
    counts: Mapping[CountKey, int]
    commits: int
    turns: int
    replays: int
    turn_seconds: HistogramSnapshot
    commit_seconds: HistogramSnapshot
    timer_lateness: HistogramSnapshot
    queues: QueueLengths
    pools: Mapping[str, PoolLoad]
    live_instances: int
    """Instances and entities in memory."""
    last_minute: Throughput
    remote: RemoteLoad | None = None
    """None in an engine that serves no remote code."""

    def total(self, what: str) -> int:
        """The sum of a count over all functions."""
        return sum(count for (each, _), count in self.counts.items() if each == what)
