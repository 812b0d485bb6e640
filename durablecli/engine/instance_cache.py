"""The instances and entities an engine has in mind, the longest unused of them dropped and read again.

A machine can be dropped at any time: it is a function of its history. What a dropped one is rebuilt from is the file
and `recent`, the records that are decided and not yet in the file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from durablecli.errors import DamagedHub
from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.model.entity_id import is_entity_id
from durablecli.replay.entity_state import EntityRuntimeState, fold_entity_log
from durablecli.replay.executor import OrchestrationExecutor
from durablecli.replay.runtime_state import RuntimeState
from durablecli.store.history.writer import History
from durablecli.store.journal.writer import HistoryWrite
from durablecli.store.quarantine import Quarantine

_L = TypeVar("_L", RuntimeState, EntityRuntimeState)
_CRC = len(',"crc":"01234567"}')


class Kept:
    """Whatever has a history of its own. `recent` holds (commit, record) of what isn't in the file yet.

    `write` is where its lines of commit `written_in` go.
    """

    __slots__ = ("id", "recent", "seed", "write", "written_in")

    def __init__(self, id: str, execution: str) -> None:
        self.id = id
        self.recent: deque[tuple[int, ev.Record]] = deque()
        self.write: HistoryWrite | None = None
        self.written_in = 0
        self.seed = codec.crc_seed(id, execution)

    def published(self, commit: int) -> None:
        """Everything up to this commit is in the file."""
        recent = self.recent
        while recent and recent[0][0] <= commit:
            recent.popleft()


class Instance(Kept):
    """One orchestration in mind: its ledger, and its machine while that is live."""

    __slots__ = ("ledger", "machine", "torn")

    def __init__(self, id: str, ledger: RuntimeState) -> None:
        super().__init__(id, ledger.execution)
        self.ledger = ledger
        self.machine: OrchestrationExecutor | None = None
        self.torn = False

    def begin(self, execution: str, *, keep_script: bool = False) -> None:
        """Make room for a new execution: nothing of the old one counts any more."""
        self.drop_machine()
        self.ledger = RuntimeState(keep_turns=keep_script)
        self.recent.clear()
        self.torn = False
        self.write = None
        self.seed = codec.crc_seed(self.id, execution)

    def drop_machine(self) -> None:
        machine, self.machine = self.machine, None
        if machine is not None:
            machine.close()


class Entity(Kept):
    """One entity in mind. `running` is the last operation of the batch that is on its way, 0 where none is."""

    __slots__ = ("compact_at", "ledger", "running")

    def __init__(self, id: str, execution: str, ledger: EntityRuntimeState) -> None:
        super().__init__(id, execution)
        self.ledger = ledger
        self.running = 0
        self.compact_at = 0
        """The size of the log at which it is worth looking whether it can be made shorter."""

    def begin_file(self) -> None:
        """Fold anew from the record that comes next, with which the file begins anew."""
        self.ledger = EntityRuntimeState()
        self.write = None


class Instances:
    """The cache. `read` gives an instance's history, `path` says where its file is; `torn` names those whose last
    turn a crash cut off.

    An instance that is set aside isn't in the cache, and `get` and `entity` give None for it, as for one that there
    isn't: who asks must tell the two apart with `is_set_aside`, and keep what is sent to it (`Effects.keep`).
    """

    def __init__(
        self,
        read: Callable[[str], History | None],
        path: Callable[[str], str],
        torn: set[str],
        most: int,
        set_aside: Quarantine,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._read = read
        self._path = path
        self._files: set[int] | None = None
        self.torn = torn
        self._most = most
        self._set_aside = set_aside
        self._say = say
        self._known: OrderedDict[str, Instance | Entity] = OrderedDict()
        self.gone: set[str] = set()
        self.kept: Instance | None = None
        """Never dropped: its turn is being spread, and what is still to be written is numbered for this very ledger."""

    def set_aside(self, id: str, reason: str) -> None:
        """Leave an instance, or entity, alone from now on, and let the hub go on without it.

        For whatever concerns one instance alone: a history that is damaged or can't be folded, an unexpected error in
        one of its turns. `reason` is a line for people. Nothing is written to its history. The instance leaves the
        cache; what is sent to it is kept, and delivered when an engine opens the hub and can use the instance again:
        each open tries. `list`, `status` and `doctor` show it with the reason.

        In a turn that has written records to the draft already, call `Turns.set_aside`, which says that the turn isn't
        complete.
        """
        if id not in self._set_aside:
            self._set_aside.add(id, reason)
            self._say(f"{id} is set aside: {reason}; all else goes on")
        self.forget(id)

    def is_set_aside(self, id: str) -> bool:
        """Whether an instance, or entity, is left alone. Known for certain once it was asked for."""
        return bool(self._set_aside) and id in self._set_aside

    def take_back(self, id: str) -> None:
        """Forget that an instance is set aside, because it is purged or replaced."""
        self._set_aside.discard(id)

    def get(self, id: str) -> Instance | None:
        """The instance, read from its file where it isn't in mind; None when there is none."""
        instance = self._known.get(id)
        if isinstance(instance, Instance):
            self._known.move_to_end(id)
            return instance
        history = None if is_entity_id(id) else self._history(id)
        ledger = None if history is None else self._folded(id, history, _fold)
        if ledger is None:
            return None
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
        ledger = None if history is None else self._folded(id, history, _fold_entity)
        if ledger is None:
            return None
        entity = self._known[id] = Entity(id, ledger.execution, ledger)
        return entity

    def _history(self, id: str) -> History | None:
        if id in self.gone or self.is_set_aside(id):  # purged, and the file not yet taken away
            return None
        if self._files is not None and hash(self._path(id)) not in self._files:
            return None
        try:
            history = self._read(id)
        except DamagedHub as error:
            self.set_aside(id, str(error))
            return None
        return history if history is not None and history.lines else None

    def _folded(self, id: str, history: History, fold: Callable[[History], _L]) -> _L | None:
        """The ledger of a history; None if it can't be folded, for which the instance is set aside."""
        try:
            return fold(history)
        except Exception as error:  # noqa: BLE001 - whole lines that make no history may break the fold anywhere
            self.set_aside(id, f"{self._path(id)} can't be read as a history: {type(error).__name__}: {error}")
            return None

    def note_files(self, paths: Iterable[str]) -> None:
        """Remember which histories there are: most ids that are asked for are new, and need no look at the disk."""
        self._files = {hash(path) for path in paths}

    def add(self, id: str) -> Instance:
        """A new instance, of which nothing is recorded yet."""
        self._note_file(id)
        instance = self._known[id] = Instance(id, RuntimeState())
        return instance

    def add_entity(self, id: str, execution: str) -> Entity:
        """A new entity, of which nothing is recorded yet."""
        self._note_file(id)
        entity = self._known[id] = Entity(id, execution, EntityRuntimeState())
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

    def reread(self, instance: Instance) -> bool:
        """Fold the ledger again with its script, from the file and what isn't in it yet.

        False if the file is damaged: then the instance is set aside.
        """
        recent = instance.recent
        if recent and recent[0][1].n == 1:
            history = None  # all of it is here; the file may be that of an earlier execution, and damaged
        else:
            try:
                history = self._read(instance.id)
            except DamagedHub as error:
                self.set_aside(instance.id, str(error))
                return False
        ledger: RuntimeState | None = RuntimeState(keep_turns=True)
        if history is not None and history.execution == instance.ledger.execution:
            ledger = self._folded(instance.id, history, _fold)
        if ledger is None:
            return False
        for _, record in instance.recent:
            if record.n > ledger.last_n:
                ledger.apply(record)
        ledger.size = instance.ledger.size
        instance.ledger = ledger
        return True

    def forget(self, id: str) -> None:
        instance = self._known.pop(id, None)
        if isinstance(instance, Instance):
            instance.drop_machine()

    def forget_all(self) -> None:
        """Drop everything, to be read again from the files; nothing may be waiting to get there."""
        self.close()
        self.gone.clear()

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


def _fold(history: History) -> RuntimeState:
    ledger = RuntimeState(keep_turns=True)
    for record in records(history.lines):
        ledger.apply(record)
    ledger.size = history.good_bytes
    return ledger


def _fold_entity(history: History) -> EntityRuntimeState:
    return fold_entity_log(records(history.lines), history.good_bytes)


def records(lines: list[bytes]) -> list[ev.Record]:
    """The records of lines whose crc has been checked."""
    return [codec.decode_record_body(line[:-_CRC]) for line in lines]
