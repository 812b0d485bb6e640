"""Restoring: what instances and entities read from disk have to do is put into the cycle."""

from __future__ import annotations

from durablecli.engine.shared_parts import SharedParts
from durablecli.engine.turns import TurnRunner
from durablecli.engine.watchdog import is_code_unchanged
from durablecli.model.entity_id import is_entity_id


class InstanceRestorer:
    """Continues what an earlier engine left, or a cycle that was given up."""

    def __init__(self, shared: SharedParts, turn_runner: TurnRunner) -> None:
        self._instances = shared.instances
        self._turn_runner = turn_runner
        self._entities = turn_runner.entity_scheduler
        self._blocker = turn_runner.blocker

    def restore(self, id: str, *, redeliver: bool = True) -> None:
        """Continue an instance or entity; with `redeliver` its activities are scheduled again."""
        if is_entity_id(id):
            self._entities.restore(id)
            self._turn_runner.deliver()
            return
        instance = self._instances.get(id)
        if instance is None or instance.runtime_state.ended:
            if not self._instances.is_quarantined(id):
                self._instances.incomplete_turns.discard(id)
            return
        blocked = instance.runtime_state.blocked
        if (reason := self._blocker.find_reason(id)) is not None:
            self._blocker.block(instance, reason)
        elif blocked and is_code_unchanged(blocked):
            self._blocker.note_blocked(id)
        else:
            self._turn_runner.restore(instance, redeliver=redeliver)
        self._turn_runner.deliver()  # a hook that is called because the instance is blocked
