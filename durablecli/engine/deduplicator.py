"""Operations that were applied, and children that were started, before a repair truncated their senders' histories.

A sender decides on them once more, and they must not happen twice. See `store.deduplication`. The list is empty unless
a repair has left one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import Raw

from durablecli.engine.instance_cache import CachedInstance
from durablecli.model import events as ev
from durablecli.store.deduplication import AppliedEntityOperation, TruncatedSender


class Deduplicator:
    """The list of what truncated senders may decide on once more. `changed` if the list on disk holds more."""

    def __init__(self) -> None:
        self._by_sender: dict[str, TruncatedSender] = {}
        self.changed = False
        self._undo_actions: list[Callable[[], None]] = []
        """They put back what this cycle has taken off the list."""

    def load(self, truncated_senders: Iterable[TruncatedSender]) -> None:
        """Take over the list from disk."""
        self._by_sender = {each.instance: each for each in truncated_senders}

    def __bool__(self) -> bool:
        return bool(self._by_sender)

    @property
    def truncated_senders(self) -> list[TruncatedSender]:
        """The senders that are left."""
        return list(self._by_sender.values())

    def begin_cycle(self) -> None:
        """Begin a cycle: what was taken off the list until now stays off."""
        if self._undo_actions:
            self._undo_actions.clear()

    def roll_back(self) -> None:
        """Put back what this cycle has taken off the list, as its commit is given up."""
        while self._undo_actions:
            self._undo_actions.pop()()

    def find(self, sender: str, execution: str) -> TruncatedSender | None:
        """Find a sender whose history was truncated."""
        found = self._by_sender.get(sender)
        return found if found is not None and found.execution == execution else None

    def consume_operation(self, origin: ev.Origin, entity: str, name: str, input: Raw) -> AppliedEntityOperation | None:
        """Take an operation that was applied before off the list; None if it wasn't."""
        known = self.find(origin.instance, origin.execution)
        if known is None:
            return None
        for index, each in enumerate(known.operations):
            if (each.entity, each.name, bytes(each.input)) == (entity, name, bytes(input)):
                self.changed = True
                self._undo_actions.append(partial(known.operations.insert, index, each))
                return known.operations.pop(index)
        if origin.n <= known.upto.get(entity, 0):
            return AppliedEntityOperation(entity, name, input)
        return None

    def consume_child(self, parent: str, execution: str, event: ev.SubOrchestrationInstanceCreated) -> str | None:
        """Take a child that was started before off the list. Returns its instance id; None if it wasn't started.

        It is matched by its id; a generated id may be another now, and then name and input are compared.
        """
        known = self.find(parent, execution)
        if known is None:
            return None
        made = f":{execution}:"
        same = [each for each in known.children if each.instance == event.instance]
        if not same and made in event.instance:
            expected = (event.name, bytes(event.input))
            generated = [each for each in known.children if made in each.instance]
            same = [each for each in generated if (each.name, bytes(each.input)) == expected]
        if not same:
            return None
        index = known.children.index(same[0])
        self._undo_actions.append(partial(known.children.insert, index, known.children.pop(index)))
        self.changed = True
        return same[0].instance

    def skip_decided(self, instance: CachedInstance) -> None:
        """Take what an instance has decided on since its history was truncated, in an earlier engine, off the list."""
        state = instance.runtime_state
        known = self.find(instance.id, state.execution)
        if known is None or state.ended:
            self.forget_sender(instance.id)
            return
        for turn in state.turns or ():
            for record in turn.decisions:
                n, event = record.n, record.event
                if n <= known.last:
                    continue
                if isinstance(event, ev.SubOrchestrationInstanceCreated):
                    known.children = [each for each in known.children if each.instance != event.instance]
                elif isinstance(event, ev.EntityOperationCalled | ev.EntityOperationSignaled):
                    self.consume_operation(
                        ev.Origin(instance.id, state.execution, n), event.entity, event.name, event.input
                    )

    def forget_sender(self, sender: str) -> None:
        """Forget a sender that has ended or is gone."""
        if self._by_sender.pop(sender, None) is not None:
            self.changed = True
