"""Rewinds: a failed execution goes on from its failure, in one commit with the failed children that made it fail."""

from __future__ import annotations

from collections import deque

from durablecli.engine.instance_cache import Instance
from durablecli.engine.turns import Turns
from durablecli.errors import WrongState
from durablecli.model import events as ev
from durablecli.replay import pending
from durablecli.replay.rewind import RewindPlan, plan_rewind
from durablecli.replay.rewind_children import children_to_rewind, find_child, find_completed_child
from durablecli.replay.runtime_state import RuntimeState


class Rewinds:
    """Rewinds instances, in the words of turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def rewind(self, instance: Instance, reason: str, message: str | None) -> None:
        """Rewind a failed instance, with what has to be rewound below it; or nothing, where one of them can't be."""
        if instance.ledger.status != "Failed":
            return
        plans = self._plan(instance)
        if plans is None:
            self._turns.stats["refused"] += 1
            return
        for each, plan in plans:
            self._take_back(each, plan, reason, message if each is instance else None)

    def _plan(self, instance: Instance) -> list[tuple[Instance, RewindPlan]] | None:
        """The cuts of an instance and of the failed children below it, parents first; None if one can't be made.

        A loop, as trees may be deep.
        """
        instances = self._turns.instances
        plans: list[tuple[Instance, RewindPlan]] = []
        line = deque([instance])
        while line:
            parent = line.popleft()
            if not instances.reread(parent):
                return None
            try:
                plan = plan_rewind(parent.ledger)
                failed = children_to_rewind(parent.ledger, plan, self._find)
            except WrongState:
                return None
            plans.append((parent, plan))
            line.extend(child for id in failed if (child := instances.get(id)) is not None)
        return plans

    def _find(self, id: str) -> RuntimeState | None:
        found = self._turns.instances.get(id)
        return found.ledger if found is not None else None

    def _take_back(self, instance: Instance, plan: RewindPlan, reason: str, message: str | None) -> None:
        turns = self._turns
        turns.effects.add(instance, plan.to_event(reason, message))
        turns.resume(instance)
        for n, called in plan.calls:
            turns.effects.ask(instance, n, called)
        forgotten = {n for n, _ in plan.children}
        for n, created in pending.children(instance.ledger):
            if turns.instances.is_set_aside(created.instance):
                pass  # once it can be used again it goes on or answers
            elif n in forgotten:
                self._take_up_forgotten(instance, n, created, plan)
            else:
                self._take_up(instance, n, created)

    def _take_up(self, parent: Instance, n: int, created: ev.SubOrchestrationInstanceCreated) -> None:
        """See that a child answers which was still open when its parent failed."""
        child = self._turns.instances.get(created.instance)
        if child is None or find_child(parent.ledger, n, created, self._find) is None:
            self._restart(parent, n, created)
        elif child.ledger.ended:
            self._turns.effects.answer(child)  # it has ended while its parent had, and wasn't heard

    def _take_up_forgotten(
        self, parent: Instance, n: int, created: ev.SubOrchestrationInstanceCreated, plan: RewindPlan
    ) -> None:
        """See that a child answers whose failure is forgotten. One that is Failed has a plan of its own."""
        completed = find_completed_child(parent.ledger, n, plan, self._find)
        child = find_child(parent.ledger, n, created, self._find)
        if completed is not None:
            answer = ev.SubOrchestrationInstanceCompleted(n, completed.result or ev.NULL)
            self._turns.effects.deliver(parent.id, parent.ledger.execution, answer)
        elif child is None or child.status == "Terminated":
            self._restart(parent, n, created)

    def _restart(self, parent: Instance, n: int, created: ev.SubOrchestrationInstanceCreated) -> None:
        self._turns.restart_child(created, ev.Origin(parent.id, parent.ledger.execution, n))
