"""The view of an engine from other threads: its metrics, and whether it makes progress."""

from __future__ import annotations

from time import monotonic

from durablecli.engine.committer import Committer
from durablecli.engine.intake import Intake
from durablecli.engine.metrics import MetricsSnapshot, PoolLoad, QueueLengths, RemoteLoad, Throughput
from durablecli.engine.publisher import Publisher
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.workers.dispatcher import Dispatcher
from durablecli.store.disk_usage import DiskUsage, DiskUsageMeter

_STALLED_AFTER = 10.0
"""Seconds without a new cycle, or with a commit that is not on disk. An idle engine begins a cycle every second."""


class EngineMonitor:
    """Reads the counters and queues of an engine. Any thread may ask, at any time."""

    def __init__(
        self,
        shared: SharedParts,
        turn_runner: TurnRunner,
        intake: Intake,
        publisher: Publisher,
        committer: Committer,
        dispatcher: Dispatcher | None,
    ) -> None:
        self._shared = shared
        self._turn_runner = turn_runner
        self._intake = intake
        self._publisher = publisher
        self._committer = committer
        self._dispatcher = dispatcher
        self._disk_meter = DiskUsageMeter(shared.hub.root)

    def snapshot(self) -> MetricsSnapshot:
        """Return the metrics as they are now."""
        shared, metrics = self._shared, self._shared.metrics
        return MetricsSnapshot(
            opened_at=metrics.opened_at,
            counts=metrics.counts.copy(),
            commits=metrics.commits,
            turns=metrics.turns,
            replays=shared.cycle.stats["replays"],
            turn_seconds=metrics.turn_seconds.snapshot(),
            commit_seconds=metrics.commit_seconds.snapshot(),
            timer_lateness=metrics.timer_lateness.snapshot(),
            queues=self._read_queues(),
            pools=self._read_pools(),
            live_instances=shared.instances.cached_count,
            last_minute=metrics.last_minute(),
            remote=self._read_remote_load(),
        )

    def minutes(self) -> tuple[Throughput, ...]:
        """Return the throughput of each of the last 60 minutes, the oldest first."""
        return self._shared.metrics.minutes()

    def disk_usage(self) -> DiskUsage:
        """Return the disk usage of the hub; call it in a thread that may wait."""
        return self._disk_meter.read()

    def why_stalled(self) -> str | None:
        """Return why the engine makes no progress, or None if it does."""
        now = monotonic()
        unsynced_since = self._committer.oldest_unsynced_at
        if unsynced_since is not None and now - unsynced_since > _STALLED_AFTER:
            return "commits wait for the disk"
        if now - self._shared.cycle.began_at > _STALLED_AFTER:
            return "the engine has begun no cycle for some time: an orchestrator doesn't yield, or the disk is slow"
        return None

    def _read_queues(self) -> QueueLengths:
        messages, turn_runner = self._shared.messages, self._turn_runner
        return QueueLengths(
            messages=messages.message_count,
            batches=len(messages.batches),
            results=self._intake.result_count,
            ready_instances=turn_runner.ready_count,
            held_starts=turn_runner.held_start_count,
            timers=len(self._shared.timers),
            unsynced_commits=self._committer.unsynced_count,
            unpublished_bytes=self._publisher.unpublished_bytes,
        )

    def _read_remote_load(self) -> RemoteLoad | None:
        remote = self._shared.options.remote_work
        if remote is None:
            return None
        workers = remote.list_workers()
        running = sum(worker.turns for worker in workers)
        return RemoteLoad(len(workers), running, max(0, len(remote.turns) - running))

    def _read_pools(self) -> dict[str, PoolLoad]:
        pools = dict(self._dispatcher.pools) if self._dispatcher is not None else {}
        return {
            kind: PoolLoad(len(pool.start_times()), pool.queue_length, pool.capacity) for kind, pool in pools.items()
        }
