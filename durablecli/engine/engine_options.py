"""The options of an engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from durablecli.config import HooksConfig, LimitsConfig, RetentionConfig
from durablecli.engine.remote_work_pool import RemoteWorkPool
from durablecli.limits import MIB, SPILL_OVER
from durablecli.model.versions import ANY_VERSION, VersionPolicy
from durablecli.telemetry.interface import Tracing


@dataclass(frozen=True)
class EngineOptions:
    """The options of one engine. The defaults are those of durable.yaml."""

    replay_always: bool = False
    """Whether every turn replays its history, which shows non-deterministic code early."""
    fail_on_nondeterminism: bool = False
    versions: VersionPolicy = ANY_VERSION
    live_instances: int = 10_000
    checkpoint_bytes: int = 16 * MIB
    checkpoint_interval: timedelta = timedelta(seconds=10)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    retention: RetentionConfig = field(default_factory=RetentionConfig)
    sync_in_place: bool = True
    """Whether the engine's own thread may sync a commit while no other work is waiting."""
    use_threads: bool = True
    """Whether journal, index and checkpoints have threads of their own; without them each step runs where it is due."""
    turn_budget: timedelta = timedelta(milliseconds=10)
    """The time that a cycle may run turns before it commits."""
    spill_over: int = SPILL_OVER
    """The size in bytes from which a record is written to a file of its own; 0 writes none."""
    log_bytes: int = 4 * MIB
    """The greatest size of the log of an instance; 0 keeps no logs."""
    tracing: Tracing | None = None
    """Emits the spans of executions, activities and entities; None emits none."""
    report_instances: bool = False
    """Whether starts, ends, failures and the like are logged, by `durablecli.instance`."""
    only_instance: str | None = None
    """The one instance to drive, with everything that belongs to it; None drives all instances. See `scope`."""
    hooks: HooksConfig = field(default_factory=HooksConfig)
    """What is called when instances end or are blocked."""
    remote_work: RemoteWorkPool | None = None
    """Takes the work for functions that aren't loaded here; without it instances that need one are blocked."""
