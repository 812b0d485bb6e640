"""The instances and entities an engine has in mind, the longest unused of them dropped and read again.

A machine can be dropped at any time: it is a function of its history. What a dropped one is rebuilt from is the file
and `recent`, the records that are decided and not yet in the file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.model.entities import is_entity
from durablecli.replay.entity import EntityLedger, fold_entity
from durablecli.replay.ledger import Ledger
from durablecli.replay.machine import Machine
from durablecli.store.histories import History
from durablecli.store.journal import Write

_CRC = len(',"crc":"01234567"}')


class Kept:
    """Whatever has a history of its own. `recent` holds (commit, record) of what isn't in the file yet.

    `write` is where its lines of commit `written_in` go.
    """

    __slots__ = ("id", "recent", "seed", "write", "written_in")

    def __init__(self, id: str, execution: str) -> None:
        self.id = id
        self.recent: deque[tuple[int, ev.Record]] = deque()
        self.write: Write | None = None
        self.written_in = 0
        self.seed = codec.seed(id, execution)

    def published(self, commit: int) -> None:
        """Everything up to this commit is in the file."""
        recent = self.recent
        while recent and recent[0][0] <= commit:
            recent.popleft()


class Instance(Kept):
    """One orchestration in mind: its ledger, and its machine while that is live."""

    __slots__ = ("ledger", "machine", "torn")

    def __init__(self, id: str, ledger: Ledger) -> None:
        super().__init__(id, ledger.execution)
        self.ledger = ledger
        self.machine: Machine | None = None
        self.torn = False

    def begin(self, execution: str, *, keep_script: bool = False) -> None:
        """Make room for a new execution: nothing of the old one counts any more."""
        self.drop_machine()
        self.ledger = Ledger(keep_script=keep_script)
        self.recent.clear()
        self.torn = False
        self.write = None
        self.seed = codec.seed(self.id, execution)

    def drop_machine(self) -> None:
        machine, self.machine = self.machine, None
        if machine is not None:
            machine.close()


class Entity(Kept):
    """One entity in mind. `running` is the last operation of the batch that is on its way, 0 where none is."""

    __slots__ = ("compact_at", "ledger", "running")

    def __init__(self, id: str, execution: str, ledger: EntityLedger) -> None:
        super().__init__(id, execution)
        self.ledger = ledger
        self.running = 0
        self.compact_at = 0
        """The size of the log at which it is worth looking whether it can be made shorter."""

    def begin_file(self) -> None:
        """Fold anew from the record that comes next, with which the file begins anew."""
        self.ledger = EntityLedger()
        self.write = None


class Instances:
    """The cache. `read` gives an instance's history, `path` says where its file is; `torn` names those whose last
    turn a crash cut off."""

    def __init__(
        self, read: Callable[[str], History | None], path: Callable[[str], str], torn: set[str], most: int
    ) -> None:
        self._read = read
        self._path = path
        self._files: set[int] | None = None
        self.torn = torn
        self._most = most
        self._known: OrderedDict[str, Instance | Entity] = OrderedDict()
        self.gone: set[str] = set()
        self.kept: Instance | None = None
        """Never dropped: its turn is being spread, and what is still to be written is numbered for this very ledger."""

    def get(self, id: str) -> Instance | None:
        """The instance, read from its file where it isn't in mind; None when there is none."""
        instance = self._known.get(id)
        if isinstance(instance, Instance):
            self._known.move_to_end(id)
            return instance
        history = None if is_entity(id) else self._history(id)
        if history is None:
            return None
        ledger = Ledger(keep_script=True)
        for record in records(history.lines):
            ledger.apply(record)
        ledger.size = history.good
        instance = Instance(id, ledger)
        instance.torn = id in self.torn
        self._known[id] = instance
        return instance

    def entity(self, id: str) -> Entity | None:
        """The entity, read from its file where it isn't in mind; None when nothing was ever sent to it."""
        entity = self._known.get(id)
        if isinstance(entity, Entity):
            self._known.move_to_end(id)
            return entity
        history = self._history(id)
        if history is None:
            return None
        ledger = fold_entity(records(history.lines), history.good)
        entity = self._known[id] = Entity(id, ledger.execution, ledger)
        return entity

    def _history(self, id: str) -> History | None:
        if id in self.gone:  # purged, and the file not yet taken away
            return None
        if self._files is not None and hash(self._path(id)) not in self._files:
            return None
        history = self._read(id)
        return history if history is not None and history.lines else None

    def note_files(self, paths: Iterable[str]) -> None:
        """Remember which histories there are: most ids that are asked for are new, and need no look at the disk."""
        self._files = {hash(path) for path in paths}

    def add(self, id: str) -> Instance:
        """A new instance, of which nothing is recorded yet."""
        self._note_file(id)
        instance = self._known[id] = Instance(id, Ledger())
        return instance

    def add_entity(self, id: str, execution: str) -> Entity:
        """A new entity, of which nothing is recorded yet."""
        self._note_file(id)
        entity = self._known[id] = Entity(id, execution, EntityLedger())
        return entity

    def _note_file(self, id: str) -> None:
        if self._files is not None:
            self._files.add(hash(self._path(id)))

    def in_mind(self, id: str) -> Instance | None:
        instance = self._known.get(id)
        return instance if isinstance(instance, Instance) else None

    def is_current(self, kept: Kept) -> bool:
        """Whether this, and no other of its id, is what is in mind."""
        return self._known.get(kept.id) is kept

    def reread(self, instance: Instance) -> None:
        """Fold the ledger again with its script, from the file and what isn't in it yet."""
        ledger = Ledger(keep_script=True)
        history = self._read(instance.id)
        if history is not None and history.execution == instance.ledger.execution:
            for record in records(history.lines):
                ledger.apply(record)
        for _, record in instance.recent:
            if record.n > ledger.last_n:
                ledger.apply(record)
        ledger.size = instance.ledger.size
        instance.ledger = ledger

    def forget(self, id: str) -> None:
        instance = self._known.pop(id, None)
        if isinstance(instance, Instance):
            instance.drop_machine()

    def trim(self) -> None:
        """Drop the longest unused beyond the limit; not `kept`, entities at work, nor what isn't in its file yet."""
        excess = len(self._known) - self._most
        if excess <= 0:
            return
        for id in list(self._known)[: excess + 64]:
            instance = self._known[id]
            busy = instance.running > 0 if isinstance(instance, Entity) else instance is self.kept
            if not (instance.recent or busy):
                self.forget(id)

    def close(self) -> None:
        for id in list(self._known):
            self.forget(id)


def records(lines: list[bytes]) -> list[ev.Record]:
    """The records of lines whose crc has been checked."""
    return [codec.decode(line[:-_CRC]) for line in lines]
