"""Operations that were applied, and children that were started, before a repair cut their senders' histories.

See `store.applied`. The list is empty unless a repair has left one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import Raw

from durablecli.engine.instance_cache import CachedInstance
from durablecli.model import events as ev
from durablecli.store.deduplication import AppliedEntityOperation, TruncatedSender


class Deduplicator:
    """What senders may decide on once more. `changed` says that the list on disk holds more than is left."""

    def __init__(self) -> None:
        self._by_sender: dict[str, TruncatedSender] = {}
        self.changed = False
        self._undo_actions: list[Callable[[], None]] = []
        """What puts back what this cycle has taken off the list."""

    def load(self, truncated_senders: Iterable[TruncatedSender]) -> None:
        """Take over the list that is on disk."""
        self._by_sender = {each.instance: each for each in truncated_senders}

    def __bool__(self) -> bool:
        return bool(self._by_sender)

    @property
    def truncated_senders(self) -> list[TruncatedSender]:
        """What is left."""
        return list(self._by_sender.values())

    def begin_cycle(self) -> None:
        """Start a cycle: what was taken until now stays off the list."""
        if self._undo_actions:
            self._undo_actions.clear()

    def roll_back(self) -> None:
        """Put back what this cycle has taken off the list; its commit is given up."""
        while self._undo_actions:
            self._undo_actions.pop()()

    def find(self, sender: str, execution: str) -> TruncatedSender | None:
        """What is known of a sender whose history was cut."""
        found = self._by_sender.get(sender)
        return found if found is not None and found.execution == execution else None

    def consume_operation(self, origin: ev.Origin, entity: str, name: str, input: Raw) -> AppliedEntityOperation | None:
        """The outcome of an operation, if it was applied before; it is taken off the list."""
        cut = self.find(origin.instance, origin.execution)
        if cut is None:
            return None
        for index, each in enumerate(cut.operations):
            if (each.entity, each.name, bytes(each.input)) == (entity, name, bytes(input)):
                self.changed = True
                self._undo_actions.append(partial(cut.operations.insert, index, each))
                return cut.operations.pop(index)
        if origin.n <= cut.upto.get(entity, 0):
            return AppliedEntityOperation(entity, name, input)
        return None

    def consume_child(self, parent: str, execution: str, event: ev.SubOrchestrationInstanceCreated) -> str | None:
        """The instance of a child that was started before; it is taken off the list.

        It is known by its id; one of its parent's making may be another now, and then its name and its input count.
        """
        cut = self.find(parent, execution)
        if cut is None:
            return None
        made = f":{execution}:"
        same = [each for each in cut.children if each.instance == event.instance]
        if not same and made in event.instance:
            wanted = (event.name, bytes(event.input))
            same = [each for each in cut.children if made in each.instance and (each.name, bytes(each.input)) == wanted]
        if not same:
            return None
        index = cut.children.index(same[0])
        self._undo_actions.append(partial(cut.children.insert, index, cut.children.pop(index)))
        self.changed = True
        return same[0].instance

    def skip_decided(self, instance: CachedInstance) -> None:
        """Leave out what an instance has decided on since its history was cut, as an earlier engine went on with it."""
        ledger = instance.runtime_state
        cut = self.find(instance.id, ledger.execution)
        if cut is None or ledger.ended:
            self.forget_sender(instance.id)
            return
        for turn in ledger.turns or ():
            for n, _, event in turn.decisions:
                if n <= cut.last:
                    continue
                if isinstance(event, ev.SubOrchestrationInstanceCreated):
                    cut.children = [each for each in cut.children if each.instance != event.instance]
                elif isinstance(event, ev.EntityOperationCalled | ev.EntityOperationSignaled):
                    self.consume_operation(
                        ev.Origin(instance.id, ledger.execution, n), event.entity, event.name, event.input
                    )

    def forget_sender(self, sender: str) -> None:
        """Forget a sender: it has ended, or is gone."""
        if self._by_sender.pop(sender, None) is not None:
            self.changed = True
