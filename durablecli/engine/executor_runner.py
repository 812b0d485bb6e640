"""Executors of cached instances: created at the first turn, rebuilt by a replay, and run over one arrival at a time."""

from __future__ import annotations

from durablecli.engine.blocking import Blocker
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turn_recorder import TurnRecorder
from durablecli.engine.watchdog import CurrentTurn
from durablecli.model import events as ev
from durablecli.registry import Function
from durablecli.replay.errors import NonDeterminismError, TooManyDecisions
from durablecli.replay.replay import comparable_decisions, create_executor, replay


class ExecutorRunner:
    """Runs the author's code. An instance whose code can't run, or isn't deterministic, is blocked."""

    def __init__(
        self,
        shared: SharedParts,
        applier: DecisionApplier,
        blocker: Blocker,
        recorder: TurnRecorder,
        ready: ReadyQueue,
        current_turn: CurrentTurn,
    ) -> None:
        self._instances = shared.instances
        self._registry = shared.registry
        self._stats = shared.cycle.stats
        self._applier = applier
        self._blocker = blocker
        self._recorder = recorder
        self._ready = ready
        self._current_turn = current_turn
        self._versions = shared.options.versions
        self._payload_limit = shared.options.limits.payload

    def run(self, instance: CachedInstance, arrival: ev.Record, mark: ev.Record) -> list[ev.Record] | None:
        """Apply one arrival. Returns the decisions, numbered from `mark` on; None if the instance was blocked."""
        executor = instance.executor
        assert executor is not None
        self._stats["turns"] += 1
        self._current_turn.begin(instance.id, executor.function)
        try:
            return executor.apply(arrival, mark.at, mark.n + 1)
        except (NonDeterminismError, TooManyDecisions) as error:
            self._blocker.block(instance, str(error))
            return None
        finally:
            self._current_turn.end()

    def ensure_executor(self, instance: CachedInstance, event: ev.AnyEvent | None) -> bool:
        """Make sure that an instance has an executor. False if it can't have one now; the reason is recorded."""
        if instance.executor is not None:
            return True
        assert self._registry is not None
        if (reason := self._blocker.find_reason(instance.id)) is not None:
            self._blocker.block(instance, reason)
            return False
        started = event if isinstance(event, ev.ExecutionStarted) else instance.runtime_state.started
        function = self._registry.find_orchestrator(started.name)
        if function is None:
            self._blocker.block(instance, self._registry.describe_missing("orchestrator", started.name))
            return False
        versions = self._versions
        unfit = None if self._registry.is_built_in(function) else versions.why_incompatible(started.version)
        if unfit is not None:
            failure_kind = "durablecli.VersionMismatch" if versions.fail_on_mismatch else None
            self._blocker.block_or_fail(instance, unfit, failure_kind)
            return False
        if isinstance(event, ev.ExecutionStarted):
            self._create_executor(instance, event, function)
            return True
        return self._replay(instance, function)

    def _create_executor(self, instance: CachedInstance, started: ev.ExecutionStarted, function: Function) -> None:
        """Create the executor for an execution's first turn. A rewind may have kept decisions of that turn."""
        assert self._registry is not None
        state = instance.runtime_state
        instance.executor = create_executor(
            function.call,
            started,
            self._registry.find_traits,
            payload_limit=self._payload_limit,
            timeout_resets=state.timeout_resets,
            azure=function.is_azure,
        )
        instance.executor.expect(comparable_decisions(state.kept_decisions))
        state.turns = None
        instance.incomplete = False  # a repair may have left no more than a start, of which no turn was cut off
        self._applier.complete_turn(instance)

    def _replay(self, instance: CachedInstance, function: Function) -> bool:
        """Rebuild the executor from the history. A turn that a crash cut off is completed, and its rest recorded."""
        if instance.runtime_state.turns is None and not self._instances.reread(instance):
            return False
        assert self._registry is not None
        self._stats["replays"] += 1
        self._current_turn.begin(instance.id, function.call)
        try:
            executor, records = replay(
                function.call,
                instance.runtime_state,
                self._registry.find_traits,
                incomplete=instance.incomplete,
                payload_limit=self._payload_limit,
                azure=function.is_azure,
            )
        except (NonDeterminismError, TooManyDecisions) as error:
            self._blocker.block(instance, str(error))
            return False
        finally:
            self._current_turn.end()
        instance.incomplete = False
        self._applier.complete_turn(instance)
        instance.executor = executor
        instance.runtime_state.turns = None
        instance.runtime_state.incomplete = False
        if records and not self._recorder.record_turn(instance, records):
            instance.incomplete = True
            self._instances.incomplete_turns.add(instance.id)
            self._ready.add(instance.id)
            return False
        return True
