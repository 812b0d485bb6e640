"""Rewinds: a failed execution continues from its failure, in one commit with the failed children that made it fail."""

from __future__ import annotations

from collections import deque

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.schedule_notices import notify_schedule
from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.model.schedule_options import RUN_STARTED
from durablecli.replay import pending
from durablecli.replay.rewind import CAUSES_ONLY, RewindPlan, RewindScope, plan_rewind
from durablecli.replay.rewind_children import children_to_rewind, find_child, find_completed_child
from durablecli.replay.runtime_state import RuntimeState


class RewindHandler:
    """Rewinds failed instances."""

    def __init__(self, shared: SharedParts, turn_runner: TurnRunner) -> None:
        self._cycle = shared.cycle
        self._instances = shared.instances
        self._turn_runner = turn_runner
        self._applier = turn_runner.applier

    def rewind(
        self, instance: CachedInstance, reason: str, message: str | None, scope: RewindScope = CAUSES_ONLY
    ) -> None:
        """Rewind a failed instance, with what has to be rewound below it; or nothing, where one of them can't be."""
        if instance.runtime_state.status != "Failed":
            return
        plans = self._plan_family(instance, scope)
        if plans is None:
            self._cycle.stats["refused"] += 1
            return
        for each, plan in plans:
            self._apply_rewind(each, plan, reason, message if each is instance else None)

    def _plan_family(
        self, instance: CachedInstance, scope: RewindScope
    ) -> list[tuple[CachedInstance, RewindPlan]] | None:
        """The rewinds of an instance and of the failed children below it, parents first; None if one is impossible.

        A loop, as trees may be deep.
        """
        plans: list[tuple[CachedInstance, RewindPlan]] = []
        waiting = deque([instance])
        while waiting:
            parent = waiting.popleft()
            if not self._instances.reread(parent):
                return None
            try:
                plan = plan_rewind(parent.runtime_state, scope if parent is instance else CAUSES_ONLY)
                failed = children_to_rewind(parent.runtime_state, plan, self._find_state)
            except WrongState:
                return None
            plans.append((parent, plan))
            waiting.extend(child for id in failed if (child := self._instances.get(id)) is not None)
        return plans

    def _find_state(self, id: str) -> RuntimeState | None:
        found = self._instances.get(id)
        return found.runtime_state if found is not None else None

    def _apply_rewind(self, instance: CachedInstance, plan: RewindPlan, reason: str, message: str | None) -> None:
        self._applier.record_event(instance, plan.to_event(reason, message))
        notify_schedule(self._cycle, instance.runtime_state.started, RUN_STARTED)
        self._turn_runner.restore(instance)
        for n, called in plan.calls:
            self._applier.send_operation(instance, n, called)
        forgotten = {n for n, _ in plan.children}
        for n, created in pending.children(instance.runtime_state):
            if self._instances.is_quarantined(created.instance):
                pass  # once it is usable again it continues or answers
            elif n in forgotten:
                self._ensure_answer_of_failed(instance, n, created, plan)
            else:
                self._ensure_answer(instance, n, created, was_canceled=n in plan.canceled)

    def _ensure_answer(
        self, parent: CachedInstance, n: int, created: ev.SubOrchestrationInstanceCreated, *, was_canceled: bool
    ) -> None:
        """Make sure of an answer from a child that was still open when its parent failed, or was cancelled since the
        failure: then it begins again."""
        child = self._instances.get(created.instance)
        is_gone = child is None or find_child(parent.runtime_state, n, created, self._find_state) is None
        if child is None or is_gone or (was_canceled and child.runtime_state.status == "Terminated"):
            self._restart_child(parent, n, created)
        elif child.runtime_state.ended:
            self._turn_runner.answer_parent(child)  # it ended while its parent was Failed, and its answer was dropped

    def _ensure_answer_of_failed(
        self, parent: CachedInstance, n: int, created: ev.SubOrchestrationInstanceCreated, plan: RewindPlan
    ) -> None:
        """Make sure of an answer from a child whose failure is forgotten. A Failed child has a plan of its own."""
        completed = find_completed_child(parent.runtime_state, n, plan, self._find_state)
        child = find_child(parent.runtime_state, n, created, self._find_state)
        if completed is not None:
            answer = ev.SubOrchestrationInstanceCompleted(n, completed.result or ev.NULL)
            self._cycle.send(parent.id, parent.runtime_state.execution, answer)
        elif child is None or child.status == "Terminated":
            self._restart_child(parent, n, created)

    def _restart_child(self, parent: CachedInstance, n: int, created: ev.SubOrchestrationInstanceCreated) -> None:
        self._turn_runner.restart_child(created, ev.Origin(parent.id, parent.runtime_state.execution, n))
