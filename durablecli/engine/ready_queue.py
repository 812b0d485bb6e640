"""The instances that may have a turn to run without a new arrival."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime

from durablecli.engine.instance_cache import CachedInstance
from durablecli.engine.message_queue import MessageQueue
from durablecli.model import events as ev


class ReadyQueue:
    """Instances in the order in which they became ready. Held starts have a line of their own: they wait for room.

    An instance whose turn sends to a target waits while an earlier message for that target is still to be handled.
    """

    def __init__(self, messages: MessageQueue) -> None:
        self._messages = messages
        # OrderedDicts, as a plain dict takes longer and longer to find its first entry while that one is removed.
        self._ids: OrderedDict[str, None] = OrderedDict()
        self._held_starts: OrderedDict[str, None] = OrderedDict()
        self._awaited_targets: dict[str, str] = {}

    @property
    def is_empty(self) -> bool:
        return not (self._ids or self._held_starts)

    def __len__(self) -> int:
        """The instances that are ready and have begun."""
        return len(self._ids)

    @property
    def has_held_starts(self) -> bool:
        return bool(self._held_starts)

    @property
    def held_start_count(self) -> int:
        return len(self._held_starts)

    def pop_first(self) -> str:
        return self._ids.popitem(last=False)[0]

    def pop_held_start(self) -> str:
        return self._held_starts.popitem(last=False)[0]

    def add(self, id: str) -> None:
        self._held_starts.pop(id, None)
        self._ids[id] = None

    def add_if_runnable(self, instance: CachedInstance, at: datetime) -> None:
        """Add an instance if it holds an arrival that can be applied at this time."""
        state = instance.runtime_state
        if state.blocked is not None or (held := state.next_held(at)) is None:
            return
        if type(held.event) is ev.ExecutionStarted and instance.id not in self._ids:
            self._held_starts[instance.id] = None
        else:
            self._ids[instance.id] = None

    def discard(self, id: str) -> None:
        self._ids.pop(id, None)
        self._held_starts.pop(id, None)

    # ── targets ────────────────────────────────────────────────────────────────────────────────────────────────

    def add_behind(self, id: str, target: str) -> None:
        """Add an instance that waits until no message for this target is left."""
        self._awaited_targets[id] = target
        self.add(id)

    def list_awaited_targets(self) -> Iterable[str]:
        """The targets that turns wait for."""
        return self._awaited_targets.values()

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
