"""The parts of an engine that most of its other parts use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from durablecli.engine.admission import Admission, WorkInFlight
from durablecli.engine.clock import Clock
from durablecli.engine.cycle import Cycle
from durablecli.engine.deduplicator import Deduplicator
from durablecli.engine.engine_options import EngineOptions
from durablecli.engine.instance_cache import InstanceCache
from durablecli.engine.instance_logs import InstanceLogs
from durablecli.engine.message_queue import MessageQueue
from durablecli.engine.metrics import Metrics
from durablecli.engine.progress_reports import ProgressReports
from durablecli.engine.scope import EngineScope
from durablecli.engine.timers import Timers
from durablecli.registry import Registry
from durablecli.store.history.file import history_path, read_whole_history
from durablecli.store.hub import Hub


@dataclass(frozen=True)
class SharedParts:
    """Handed to the constructors of the other parts, each of which keeps what it needs."""

    hub: Hub
    registry: Registry | None
    """The author's functions; None runs no code."""
    options: EngineOptions
    clock: Clock
    echo: Callable[[str], None]
    cycle: Cycle
    metrics: Metrics
    admission: Admission
    instances: InstanceCache
    timers: Timers
    scope: EngineScope
    messages: MessageQueue
    deduplicator: Deduplicator
    progress: ProgressReports
    instance_logs: InstanceLogs


def make_shared_parts(
    hub: Hub,
    registry: Registry | None,
    options: EngineOptions,
    clock: Clock,
    echo: Callable[[str], None],
    count_in_flight: Callable[[], WorkInFlight],
) -> SharedParts:
    """Make the parts; `count_in_flight` returns what the dispatcher has in flight."""
    instances = InstanceCache(
        lambda id: read_whole_history(hub.disk, hub.root, id),
        lambda id: history_path(hub.root, id),
        hub.incomplete_turns,
        options.live_instances,
        hub.quarantine,
        hub.spill_writer.read_line,
        echo,
    )
    cycle = Cycle(clock, options.turn_budget.total_seconds())
    return SharedParts(
        hub=hub,
        registry=registry,
        options=options,
        clock=clock,
        echo=echo,
        cycle=cycle,
        metrics=Metrics(),
        admission=Admission(cycle, options.live_instances, count_in_flight),
        instances=instances,
        timers=Timers(),
        scope=EngineScope(options.only_instance, instances),
        messages=MessageQueue(hub.inbox),
        deduplicator=Deduplicator(),
        progress=ProgressReports(),
        instance_logs=InstanceLogs(hub, clock, options, echo),
    )
