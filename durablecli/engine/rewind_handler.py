"""Rewinds: a failed execution goes on from its failure, in one commit with the failed children that made it fail."""

from __future__ import annotations

from collections import deque

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.turns import TurnRunner
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay import pending
from durablecli.replay.rewind import RewindPlan, plan_rewind
from durablecli.replay.rewind_children import children_to_rewind, find_child, find_completed_child
from durablecli.replay.runtime_state import RuntimeState


class RewindHandler:
    """Rewinds instances, in the words of turns."""

    def __init__(self, turn_runner: TurnRunner) -> None:
        self._turn_runner = turn_runner

    def rewind(self, instance: CachedInstance, reason: str, message: str | None) -> None:
        """Rewind a failed instance, with what has to be rewound below it; or nothing, where one of them can't be."""
        if instance.runtime_state.status != "Failed":
            return
        plans = self._plan_family(instance)
        if plans is None:
            self._turn_runner.stats["refused"] += 1
            return
        for each, plan in plans:
            self._apply_rewind(each, plan, reason, message if each is instance else None)

    def _plan_family(self, instance: CachedInstance) -> list[tuple[CachedInstance, RewindPlan]] | None:
        """The cuts of an instance and of the failed children below it, parents first; None if one can't be made.

        A loop, as trees may be deep.
        """
        instances = self._turn_runner.instances
        plans: list[tuple[CachedInstance, RewindPlan]] = []
        line = deque([instance])
        while line:
            parent = line.popleft()
            if not instances.reread(parent):
                return None
            try:
                plan = plan_rewind(parent.runtime_state)
                failed = children_to_rewind(parent.runtime_state, plan, self._find_state)
            except WrongState:
                return None
            plans.append((parent, plan))
            line.extend(child for id in failed if (child := instances.get(id)) is not None)
        return plans

    def _find_state(self, id: str) -> RuntimeState | None:
        found = self._turn_runner.instances.get(id)
        return found.runtime_state if found is not None else None

    def _apply_rewind(self, instance: CachedInstance, plan: RewindPlan, reason: str, message: str | None) -> None:
        turns = self._turn_runner
        turns.applier.record_event(instance, plan.to_event(reason, message))
        turns.restore(instance)
        for n, called in plan.calls:
            turns.applier.send_operation(instance, n, called)
        forgotten = {n for n, _ in plan.children}
        for n, created in pending.children(instance.runtime_state):
            if turns.instances.is_quarantined(created.instance):
                pass  # once it can be used again it goes on or answers
            elif n in forgotten:
                self._ensure_answer_of_failed(instance, n, created, plan)
            else:
                self._ensure_answer(instance, n, created)

    def _ensure_answer(self, parent: CachedInstance, n: int, created: ev.SubOrchestrationInstanceCreated) -> None:
        """See that a child answers which was still open when its parent failed."""
        child = self._turn_runner.instances.get(created.instance)
        if child is None or find_child(parent.runtime_state, n, created, self._find_state) is None:
            self._restart_child(parent, n, created)
        elif child.runtime_state.ended:
            self._turn_runner.applier.answer_parent(child)  # it has ended while its parent had, and wasn't heard

    def _ensure_answer_of_failed(
        self, parent: CachedInstance, n: int, created: ev.SubOrchestrationInstanceCreated, plan: RewindPlan
    ) -> None:
        """See that a child answers whose failure is forgotten. One that is Failed has a plan of its own."""
        completed = find_completed_child(parent.runtime_state, n, plan, self._find_state)
        child = find_child(parent.runtime_state, n, created, self._find_state)
        if completed is not None:
            answer = ev.SubOrchestrationInstanceCompleted(n, completed.result or ev.NULL)
            self._turn_runner.applier.queue_delivery(parent.id, parent.runtime_state.execution, answer)
        elif child is None or child.status == "Terminated":
            self._restart_child(parent, n, created)

    def _restart_child(self, parent: CachedInstance, n: int, created: ev.SubOrchestrationInstanceCreated) -> None:
        self._turn_runner.restart_child(created, ev.Origin(parent.id, parent.runtime_state.execution, n))
