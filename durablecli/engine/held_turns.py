"""Turns of arrivals that are recorded already: held ones, and those whose turn a crash has cut off."""

from __future__ import annotations

from itertools import islice

from durablecli.engine.blocking import Blocker
from durablecli.engine.child_starter import ChildStarter
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.executor_runner import ExecutorRunner
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.remote_turns import RemoteTurnRunner
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.engine.turn_recorder import TurnRecorder
from durablecli.model import events as ev
from durablecli.replay import pending


class HeldTurnRunner:
    """Runs one turn of an instance that is ready, or offers it to workers."""

    def __init__(
        self,
        shared: SharedParts,
        applier: DecisionApplier,
        children: ChildStarter,
        split_turn: SplitTurn,
        blocker: Blocker,
        recorder: TurnRecorder,
        executors: ExecutorRunner,
        ready: ReadyQueue,
    ) -> None:
        self._cycle = shared.cycle
        self._replay_always = shared.options.replay_always
        self._applier = applier
        self._children = children
        self._split_turn = split_turn
        self._blocker = blocker
        self._recorder = recorder
        self._executors = executors
        self._ready = ready
        self.remote = RemoteTurnRunner(shared, applier, children, split_turn, blocker, recorder, ready)

    def run_next(self, instance: CachedInstance) -> None:
        """Apply the next held arrival, complete a turn that was cut off, or unblock an instance whose code fits."""
        state = instance.runtime_state
        if state.ended:
            return
        if self.remote.is_remote(instance):
            self.remote.offer(instance)
            return
        if self._blocker.may_miss_activity(instance) and self._blocker.block_if_activity_missing(instance):
            return
        was_incomplete = instance.incomplete or state.incomplete
        held = state.next_held(self._cycle.builder.at)
        if not self._executors.ensure_executor(instance, held.event if held is not None else None):
            return
        if was_incomplete:
            self._children.fail_unstartable(instance)
        if self._split_turn.is_splitting(instance.id):
            return
        if was_incomplete or held is None:
            self._blocker.unblock(instance)
        else:
            self._run_held(instance, held)
        self._ready.add_if_runnable(instance, self._cycle.builder.at)

    def _run_held(self, instance: CachedInstance, held: ev.Record) -> None:
        """Apply a held arrival. If the turn succeeds it also unblocks a blocked instance.

        While a turn decides nothing, the next one shares its record: most results of a fan-out only come in.
        """
        state = instance.runtime_state
        n, at = state.last_n + 1, max(self._cycle.builder.at, state.updated)
        marks = [ev.Record(n, at, ev.ExecutionUnblocked())] if state.blocked is not None else []
        unscheduled = pending.activities(state) if marks else []
        mark = ev.Record(n + len(marks), at, ev.OrchestratorStarted(held.n))
        decisions = self._executors.run(instance, held, mark)
        for following in islice(state.held, 1, None):
            # An event changes which waits receive the next one, and that is recorded after each turn.
            if decisions != [] or type(following.event) is ev.EventRaised or self._cycle.is_budget_spent:
                break
            mark = ev.Record(mark.n, at, ev.OrchestratorStarted(following.n))
            decisions = self._executors.run(instance, following, mark)
        if decisions is None:
            return
        marks.append(mark)
        if self._recorder.record_turn(instance, [*marks, *decisions]):
            self._applier.schedule_activities(state, unscheduled)
            if self._replay_always:
                instance.drop_executor()
        else:
            self._ready.add(instance.id)
