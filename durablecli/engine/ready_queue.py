"""The instances that may have a turn to run without a new arrival."""

from __future__ import annotations

from datetime import datetime

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.message_queue import MessageQueue


class ReadyQueue:
    """Instances in the order in which they became ready.

    One whose turn sends to a target waits while an earlier message for that target is still to be handled.
    """

    def __init__(self, messages: MessageQueue) -> None:
        self._messages = messages
        self._ids: dict[str, None] = {}
        self._awaited_targets: dict[str, str] = {}

    def __bool__(self) -> bool:
        return bool(self._ids)

    def list_ids(self) -> list[str]:
        return list(self._ids)

    def add(self, id: str) -> None:
        self._ids[id] = None

    def add_if_runnable(self, instance: CachedInstance, at: datetime) -> None:
        """Add an instance if it holds an arrival that can be applied at this time."""
        state = instance.runtime_state
        if state.blocked is None and state.next_held(at):
            self._ids[instance.id] = None

    def discard(self, id: str) -> None:
        self._ids.pop(id, None)

    def add_behind(self, id: str, target: str) -> None:
        """Add an instance that waits until no message for this target is left."""
        self._awaited_targets[id] = target
        self._ids[id] = None

    def must_wait(self, id: str) -> bool:
        """Whether a message for an awaited target is still to be handled."""
        target = self._awaited_targets.get(id)
        if target is None:
            return False
        if self._messages.has_message_for(target):
            return True
        del self._awaited_targets[id]
        return False

    def roll_back(self) -> None:
        """Forget the awaited targets: the commit is given up, and each turn finds its targets again."""
        self._awaited_targets.clear()
