"""Recording a turn: its arrival and its decisions go into the cycle's commit, unless the turn has to be given up.

A turn is given up by dropping its executor, which costs no more than a replay; its arrival is held and applied later.
"""

from __future__ import annotations

from durablecli.engine.commit_builder import TurnOutput
from durablecli.engine.decision_applier import DecisionApplier
from durablecli.engine.event_size import get_recipient
from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.ready_queue import ReadyQueue
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.split_turn import SplitTurn
from durablecli.model import events as ev


class TurnRecorder:
    """Records whole turns, or begins to split those that are too big for the commit."""

    def __init__(self, shared: SharedParts, applier: DecisionApplier, split_turn: SplitTurn, ready: ReadyQueue) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._messages = shared.messages
        self._applier = applier
        self._split_turn = split_turn
        self._ready = ready
        self._history_warning = shared.options.limits.history_warning
        self._echo = shared.echo

    def record_turn(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Record a turn and carry out its decisions. False if the turn was given up."""
        must_split = self._split_turn.must_split(instance, records)
        if (target := self._find_awaited_target(instance, records)) is not None:
            self._ready.add_behind(instance.id, target)
            instance.drop_executor()
            return False
        if self._conflicts(instance, records) or (must_split and self._cycle.is_reached(instance.id)):
            # A delivery to an instance whose turn is being split could be lost in a crash.
            instance.drop_executor()
            self._split_turn.make_wait(instance.id)
            return False
        executor = instance.executor
        if executor is not None and executor.log_lines:
            builder, started, lines = self._cycle.builder, executor.started, executor.log_lines
            executor.log_lines = []
            builder.log_lines += lines
            builder.turn_outputs.append(TurnOutput(instance.id, started.execution, started.name, lines))
        if executor is not None and executor.progress is not None:
            self._cycle.builder.progress[instance.id] = (executor.started.execution, executor.progress)
            executor.progress = None
        if must_split:
            self._split_turn.begin(instance, records)
        else:
            for record in records:
                self._applier.record_and_carry_out(instance, record)
            self._applier.record_waits(instance)
        self._warn_of_long_history(instance, len(records))
        return True

    def _find_awaited_target(self, instance: CachedInstance, records: list[ev.Record]) -> str | None:
        """A recipient of this turn for which a message is queued that was acknowledged before this turn."""
        messages = self._messages
        if messages.is_clear:
            return None
        parent = instance.runtime_state.started.parent if instance.runtime_state.last_n else None
        for record in records:
            recipient = get_recipient(record.event)
            if recipient is None and parent is not None and isinstance(record.event, ev.ExecutionCompleted):
                recipient = parent.instance
            if recipient is not None and recipient != instance.id and messages.has_message_for(recipient):
                return recipient
        return None

    def _conflicts(self, instance: CachedInstance, records: list[ev.Record]) -> bool:
        """Whether this turn conflicts with the split turn, or would begin a second execution in one commit."""
        last = records[-1].event
        if isinstance(last, ev.ContinueAsNew):
            first = records[0].event
            execution = first.execution if isinstance(first, ev.ExecutionStarted) else instance.runtime_state.execution
            if execution == self._cycle.builder.execution:
                return True
        for record in records:
            if type(record.event) is ev.SubOrchestrationInstanceCreated and self._began_in_this_commit(
                record.event.instance
            ):
                return True
        return self._split_turn.is_active and self._split_turn.conflicts_with(instance, records)

    def _began_in_this_commit(self, child: str) -> bool:
        """Whether a child takes the id of an execution that began in this very commit."""
        known = self._instances.get_cached(child)
        return known is not None and known.runtime_state.execution == self._cycle.builder.execution

    def _warn_of_long_history(self, instance: CachedInstance, added: int) -> None:
        """Warn once that a history has grown long: reading and replaying it take their time."""
        n, limit = instance.runtime_state.last_n, self._history_warning
        if n >= limit > n - added:
            self._echo(f"{instance.id} has {n:,} records in its history: continue_as_new would begin an empty one")
