"""Operations that were applied, and children that were started, before a repair cut their senders' histories.

See `store.applied`. The list is empty unless a repair has left one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from msgspec import Raw

from durablecli.engine.instance_cache import Instance
from durablecli.model import events as ev
from durablecli.store.deduplication import AppliedEntityOperation, TruncatedSender


class AppliedOperations:
    """What senders may decide on once more. `changed` says that the list on disk holds more than is left."""

    def __init__(self, cuts: Iterable[TruncatedSender]) -> None:
        self._cuts = {each.instance: each for each in cuts}
        self.changed = False
        self._taken: list[Callable[[], None]] = []
        """What puts back what this cycle has taken off the list."""

    def __bool__(self) -> bool:
        return bool(self._cuts)

    @property
    def cuts(self) -> list[TruncatedSender]:
        """What is left."""
        return list(self._cuts.values())

    def begin(self) -> None:
        """Start a cycle: what was taken until now stays off the list."""
        if self._taken:
            self._taken.clear()

    def put_back(self) -> None:
        """Put back what this cycle has taken off the list; its commit is given up."""
        while self._taken:
            self._taken.pop()()

    def of(self, sender: str, execution: str) -> TruncatedSender | None:
        """What is known of a sender whose history was cut."""
        found = self._cuts.get(sender)
        return found if found is not None and found.execution == execution else None

    def take(self, origin: ev.Origin, entity: str, name: str, input: Raw) -> AppliedEntityOperation | None:
        """The outcome of an operation, if it was applied before; it is taken off the list."""
        cut = self.of(origin.instance, origin.execution)
        if cut is None:
            return None
        for index, each in enumerate(cut.operations):
            if (each.entity, each.name, bytes(each.input)) == (entity, name, bytes(input)):
                self.changed = True
                self._taken.append(partial(cut.operations.insert, index, each))
                return cut.operations.pop(index)
        if origin.n <= cut.upto.get(entity, 0):
            return AppliedEntityOperation(entity, name, input)
        return None

    def take_child(self, parent: str, execution: str, event: ev.SubOrchestrationInstanceCreated) -> str | None:
        """The instance of a child that was started before; it is taken off the list.

        It is known by its id; one of its parent's making may be another now, and then its name and its input count.
        """
        cut = self.of(parent, execution)
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
        self._taken.append(partial(cut.children.insert, index, cut.children.pop(index)))
        self.changed = True
        return same[0].instance

    def resume(self, instance: Instance) -> None:
        """Leave out what an instance has decided on since its history was cut, as an earlier engine went on with it."""
        ledger = instance.ledger
        cut = self.of(instance.id, ledger.execution)
        if cut is None or ledger.ended:
            self.discard(instance.id)
            return
        for turn in ledger.turns or ():
            for n, _, event in turn.decisions:
                if n <= cut.last:
                    continue
                if isinstance(event, ev.SubOrchestrationInstanceCreated):
                    cut.children = [each for each in cut.children if each.instance != event.instance]
                elif isinstance(event, ev.EntityOperationCalled | ev.EntityOperationSignaled):
                    self.take(ev.Origin(instance.id, ledger.execution, n), event.entity, event.name, event.input)

    def discard(self, sender: str) -> None:
        """Forget a sender: it has ended, or is gone."""
        if self._cuts.pop(sender, None) is not None:
            self.changed = True
