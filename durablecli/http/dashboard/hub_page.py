"""The health of the hub: its engine, throughput, queues and delays, its files, and what has to be repaired.

The numbers of the engine are there only if it runs in this process, as the daemon's does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import NamedTuple

from starlette.responses import Response

from durablecli.client import DiskUsage, EngineInfo, HubHealth
from durablecli.engine.metrics import HistogramSnapshot, MetricsSnapshot, Throughput
from durablecli.http.dashboard.changes import stream_changes
from durablecli.http.dashboard.site import DashboardSite
from durablecli.http.dashboard.template_filters import format_seconds
from durablecli.http.requests import ApiRequest, ApiRoute
from durablecli.plurals import format_size

_REFRESH_SECONDS = 2.0
_LOW_DISK_BYTES = 1024 * 1024 * 1024
_LATE_SECONDS = 1.0
_CHART_WIDTH, _CHART_HEIGHT = 600, 80
_POOL_LABELS = {
    "thread": "Threads",
    "process": "Worker processes",
    "async": "Async functions",
    "entity": "Entity operations",
    "remote": "Remote activities and entities",
}
_PART_LABELS = {
    "instances": "Histories of instances",
    "entities": "Logs of entities",
    "journal": "Journal",
    "inbox": "Inbox",
    "logs": "Logs",
    "index": "Index",
    "damaged": "Removed by repairs",
    "other": "Other files",
}


class Bar(NamedTuple):
    """A bar of a chart: its place, and what it shows."""

    x: float
    y: float
    width: float
    height: float
    title: str


class PoolRow(NamedTuple):
    """How busy a pool of workers is."""

    label: str
    running: int
    queued: int
    capacity: int

    @property
    def is_full(self) -> bool:
        return self.queued > 0 and self.running >= self.capacity


class Fact(NamedTuple):
    """A number with its name; `is_bad` if somebody should look at it, `hint` explains it."""

    label: str
    value: str
    hint: str = ""
    is_bad: bool = False


class HubPage:
    """Shows the health, and keeps it current."""

    def __init__(self, site: DashboardSite) -> None:
        self._site = site

    @property
    def routes(self) -> list[ApiRoute]:
        return [ApiRoute("GET", "ui/hub", self.show), ApiRoute("GET", "ui/hub/changes", self.stream)]

    async def stream(self, request: ApiRequest) -> Response:
        """Stream an event each time the page is to be read again."""
        return stream_changes(self._site, request.raw, lambda client: int(monotonic() / _REFRESH_SECONDS))

    async def show(self, request: ApiRequest) -> Response:
        """Show the health as it is now."""
        monitor = self._site.bridge.monitor
        metrics, minutes = (monitor.snapshot(), monitor.minutes()) if monitor is not None else (None, ())
        engine, report, health = await self._site.bridge.read(
            lambda client: (client.engine(), client.work_report(), client.health())
        )
        disk = await self._site.bridge.read(
            lambda client: client.disk_usage() if monitor is None else monitor.disk_usage()
        )
        return self._site.render(
            request,
            "hub.html",
            health=health,
            engine=engine,
            metrics=metrics,
            pools=make_pool_rows(metrics, report),
            throughput=make_throughput_facts(metrics.last_minute) if metrics else [],
            delays=make_delay_facts(metrics) if metrics else [],
            queues=make_queue_facts(metrics, health),
            bars=make_bars(minutes),
            chart=(_CHART_WIDTH, _CHART_HEIGHT),
            disk=make_disk_facts(disk),
        )


def make_pool_rows(metrics: MetricsSnapshot | None, report: EngineInfo | None) -> list[PoolRow]:
    """Return a row for each pool of workers, by the engine of this process or else by the report of another one."""
    if metrics is not None:
        found = {kind: (load.running, load.queued, load.capacity) for kind, load in metrics.pools.items()}
    elif report is not None:
        found = {
            kind: (_count_kind(report.running, kind), _count_kind(report.queued, kind), capacity)
            for kind, capacity in report.limits.items()
        }
    else:
        found = {}
    return [PoolRow(_POOL_LABELS.get(kind, kind), *load) for kind, load in sorted(found.items())]


def make_throughput_facts(last: Throughput) -> list[Fact]:
    """Return what happened in the last minute."""
    failed = f"{last.activities_failed:,} of them failed" if last.activities_failed else ""
    return [
        Fact("Instances started", f"{last.started:,}"),
        Fact("Completed", f"{last.completed:,}"),
        Fact("Failed", f"{last.failed:,}", is_bad=last.failed > 0),
        Fact("Terminated", f"{last.terminated:,}"),
        Fact("Activity calls", f"{last.activities:,}", failed),
        Fact("Entity operations", f"{last.operations:,}"),
        Fact("Turns", f"{last.turns:,}"),
        Fact("Commits", f"{last.commits:,}"),
    ]


def make_delay_facts(metrics: MetricsSnapshot) -> list[Fact]:
    """Return how late timers fire, and how long turns and commits take, since the engine was opened."""
    return [
        Fact("Timer lateness", *_describe(metrics.timer_lateness, "timers"), _is_late(metrics.timer_lateness)),
        Fact("Commit", *_describe(metrics.commit_seconds, "commits"), _is_late(metrics.commit_seconds)),
        Fact("Turn", *_describe(metrics.turn_seconds, "turns"), _is_late(metrics.turn_seconds)),
    ]


def make_queue_facts(metrics: MetricsSnapshot | None, health: HubHealth) -> list[Fact]:
    """Return what waits for the engine, and in it."""
    inbox = Fact("Messages in the inbox", f"{health.waiting_messages:,}", "Posted, and not taken by an engine.")
    if metrics is None:
        return [inbox]
    queues, remote = metrics.queues, metrics.remote
    workers = (
        []
        if remote is None
        else [
            Fact("Workers connected", f"{remote.workers:,}"),
            Fact("Turns with workers", f"{remote.running_turns:,}"),
            Fact("Turns that wait for a worker", f"{remote.queued_turns:,}"),
        ]
    )
    return [
        inbox,
        Fact("Messages being handled", f"{queues.messages:,}"),
        Fact("Batches of starts", f"{queues.batches:,}"),
        Fact("Results to handle", f"{queues.results:,}"),
        Fact("Instances with a turn to run", f"{queues.ready_instances:,}"),
        Fact("Starts that wait for room", f"{queues.held_starts:,}"),
        Fact("Timers set", f"{queues.timers:,}"),
        Fact("Commits on their way to the disk", f"{queues.unsynced_commits:,}"),
        Fact("Instances in memory", f"{metrics.live_instances:,}"),
        *workers,
    ]


def make_disk_facts(disk: DiskUsage) -> list[Fact]:
    """Return how much disk each part of the hub uses, and how much is left."""
    parts = [Fact(_PART_LABELS.get(name, name), format_size(size)) for name, size in disk.parts.items() if size]
    free = Fact("Free on its disk", format_size(disk.free), is_bad=disk.free < _LOW_DISK_BYTES)
    return [Fact("Hub", format_size(disk.total)), free, *parts]


def make_bars(minutes: Sequence[Throughput]) -> list[Bar]:
    """Return the bars of the chart of ended instances and activity calls in each of the last minutes."""
    values = [each.completed + each.failed + each.terminated + each.activities for each in minutes]
    highest, width = max(values, default=0), _CHART_WIDTH / max(len(minutes), 1)
    bars = []
    for at, (minute, value) in enumerate(zip(minutes, values, strict=True)):
        height = 0.0 if not highest else max(value / highest * _CHART_HEIGHT, 1.5 if value else 0.0)
        ended = minute.completed + minute.failed + minute.terminated
        ago = f"{minute.minutes_ago} min ago" if minute.minutes_ago else "the last minute"
        title = f"{ago}: {ended:,} instances ended, {minute.activities:,} activity calls"
        bars.append(Bar(round(at * width + 1, 1), round(_CHART_HEIGHT - height, 1), width - 2, round(height, 1), title))
    return bars


def _describe(values: HistogramSnapshot, noun: str) -> tuple[str, str]:
    if not values.count:
        return "–", f"No {noun} yet."
    median, late = (_bound(values, share) for share in (0.5, 0.99))
    return f"≤ {late}", f"99 % of {values.count:,} {noun}, half of them ≤ {median}."


def _bound(values: HistogramSnapshot, share: float) -> str:
    found = values.quantile(share)
    return f"{found * 1000:g} ms" if found < 1 else format_seconds(found) if found != float("inf") else "more"


def _is_late(values: HistogramSnapshot) -> bool:
    return bool(values.count) and values.quantile(0.99) > _LATE_SECONDS


def _count_kind(work: Iterable[object], kind: str) -> int:
    return sum(getattr(each, "executor", "") == kind for each in work)
