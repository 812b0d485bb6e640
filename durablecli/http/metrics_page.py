"""The metrics of an engine, as Prometheus reads them. docs/telemetry.md lists the names."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version

from durablecli.engine.metrics import (
    ACTIVITY_COMPLETED,
    ACTIVITY_FAILED,
    END_OUTCOMES,
    OPERATION_COMPLETED,
    OPERATION_FAILED,
    PURGED,
    PURGED_BYTES,
    STARTED,
    MetricsSnapshot,
)
from durablecli.http.exposition import Exposition, Labels

_QUEUES = ("messages", "batches", "results", "ready_instances", "held_starts", "timers", "unsynced_commits")


def write_metrics(page: Exposition, metrics: MetricsSnapshot, disk_parts: Mapping[str, int], disk_free: int) -> str:
    """Return the page with all metrics."""
    page.gauge("durable_info", "The version of durablecli.", ({"version": version("durablecli")}, 1))
    page.gauge(
        "durable_start_time_seconds", "When the engine was opened, since 1970.", ({}, round(metrics.opened_at, 3))
    )
    _write_work(page, metrics)
    _write_engine(page, metrics)
    _write_queues(page, metrics)
    page.gauge(
        "durable_disk_bytes",
        "The size of the hub's files.",
        *(({"part": part}, size) for part, size in disk_parts.items()),
    )
    page.gauge("durable_disk_free_bytes", "Free space on the file system of the hub.", ({}, disk_free))
    return page.finish()


def _write_work(page: Exposition, metrics: MetricsSnapshot) -> None:
    page.counter(
        "durable_orchestrations_started_total",
        "Executions started, without those that follow a continue_as_new.",
        *_select(metrics, "orchestrator", {STARTED: {}}),
    )
    page.counter(
        "durable_orchestrations_ended_total",
        "Executions ended, by outcome.",
        *_select(metrics, "orchestrator", {outcome: {"outcome": outcome} for outcome in END_OUTCOMES}),
    )
    page.counter(
        "durable_activity_attempts_total",
        "Attempts of activities that returned or raised.",
        *_select(
            metrics,
            "activity",
            {ACTIVITY_COMPLETED: {"outcome": "completed"}, ACTIVITY_FAILED: {"outcome": "failed"}},
        ),
    )
    page.counter(
        "durable_entity_operations_total",
        "Operations of entities that returned or raised.",
        *_select(
            metrics,
            "entity",
            {OPERATION_COMPLETED: {"outcome": "completed"}, OPERATION_FAILED: {"outcome": "failed"}},
        ),
    )
    page.counter(
        "durable_instances_purged_total",
        "Instances purged, by a client or by the retention.",
        *_select(metrics, "orchestrator", {PURGED: {}}),
    )
    page.counter(
        "durable_purged_bytes_total",
        "The size of the histories and logs of purged instances.",
        *_select(metrics, "orchestrator", {PURGED_BYTES: {}}),
    )


def _select(metrics: MetricsSnapshot, label: str, labels: dict[str, dict[str, str]]) -> list[tuple[Labels, float]]:
    """The counts of these kinds, each with the name of its function and the labels of its kind."""
    return [({label: name, **labels[what]}, count) for (what, name), count in metrics.counts.items() if what in labels]


def _write_engine(page: Exposition, metrics: MetricsSnapshot) -> None:
    page.counter("durable_turns_total", "Turns of orchestrators.", ({}, metrics.turns))
    page.counter("durable_replays_total", "Replays of a history.", ({}, metrics.replays))
    page.counter("durable_commits_total", "Commits on disk.", ({}, metrics.commits))
    page.histogram(
        "durable_turn_duration_seconds",
        "The time of a turn, as the mean of those that share a commit.",
        metrics.turn_seconds,
    )
    page.histogram(
        "durable_commit_duration_seconds",
        "The time from the end of a commit's turns until it is on disk.",
        metrics.commit_seconds,
    )
    page.histogram(
        "durable_timer_lateness_seconds",
        "The time from when a timer was due until it fired.",
        metrics.timer_lateness,
    )


def _write_queues(page: Exposition, metrics: MetricsSnapshot) -> None:
    queues, pools = metrics.queues, metrics.pools
    page.gauge(
        "durable_queue_length",
        "What waits in the engine.",
        *(({"queue": name}, getattr(queues, name)) for name in _QUEUES),
    )
    page.gauge(
        "durable_unpublished_bytes",
        "Records in the journal that aren't in their history files yet.",
        ({}, queues.unpublished_bytes),
    )
    page.gauge("durable_live_instances", "Instances and entities in memory.", ({}, metrics.live_instances))
    page.gauge(
        "durable_worker_calls",
        "Calls of activities and entities, by their worker pool and whether they run.",
        *(
            ({"pool": kind, "state": state}, count)
            for kind, pool in pools.items()
            for state, count in (("running", pool.running), ("queued", pool.queued))
        ),
    )
    page.gauge(
        "durable_worker_capacity",
        "How many calls a worker pool runs at the same time.",
        *(({"pool": kind}, pool.capacity) for kind, pool in pools.items()),
    )
    if (remote := metrics.remote) is not None:
        page.gauge("durable_connected_workers", "Workers of remote code that are connected.", ({}, remote.workers))
        page.gauge(
            "durable_remote_turns",
            "Turns of remote orchestrators, by whether a worker has them.",
            ({"state": "running"}, remote.running_turns),
            ({"state": "queued"}, remote.queued_turns),
        )
