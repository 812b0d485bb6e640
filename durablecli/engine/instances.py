"""The instances an engine has in mind: ledger and live machine, the longest unused of them dropped and read again.

A machine can be dropped at any time: it is a function of its history. What a dropped one is rebuilt from is the file
and `recent`, the records that are decided and not yet in the file.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.replay.ledger import Ledger
from durablecli.replay.machine import Machine
from durablecli.store.histories import History
from durablecli.store.journal import Write

_CRC = len(',"crc":"01234567"}')


class Instance:
    """One instance in mind. `recent` holds (commit, record) of what isn't in the file yet.

    `write` is where its lines of commit `written_in` go.
    """

    __slots__ = ("id", "ledger", "machine", "recent", "seed", "torn", "write", "written_in")

    def __init__(self, id: str, ledger: Ledger) -> None:
        self.id = id
        self.ledger = ledger
        self.machine: Machine | None = None
        self.recent: deque[tuple[int, ev.Record]] = deque()
        self.torn = False
        self.write: Write | None = None
        self.written_in = 0
        self.seed = codec.seed(id, ledger.execution)

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

    def published(self, commit: int) -> None:
        """Everything up to this commit is in the file."""
        recent = self.recent
        while recent and recent[0][0] <= commit:
            recent.popleft()


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
        self._known: OrderedDict[str, Instance] = OrderedDict()
        self.gone: set[str] = set()
        self.kept: Instance | None = None
        """Never dropped: its turn is being spread, and what is still to be written is numbered for this very ledger."""

    def get(self, id: str) -> Instance | None:
        """The instance, read from its file where it isn't in mind; None when there is none."""
        instance = self._known.get(id)
        if instance is not None:
            self._known.move_to_end(id)
            return instance
        if id in self.gone:  # purged, and the file not yet taken away
            return None
        if self._files is not None and hash(self._path(id)) not in self._files:
            return None
        history = self._read(id)
        if history is None or not history.lines:
            return None
        ledger = Ledger(keep_script=True)
        for record in records(history.lines):
            ledger.apply(record)
        ledger.size = history.good
        instance = Instance(id, ledger)
        instance.torn = id in self.torn
        self._known[id] = instance
        return instance

    def note_files(self, paths: Iterable[str]) -> None:
        """Remember which histories there are: most ids that are asked for are new, and need no look at the disk."""
        self._files = {hash(path) for path in paths}

    def add(self, id: str) -> Instance:
        """A new instance, of which nothing is recorded yet."""
        if self._files is not None:
            self._files.add(hash(self._path(id)))
        instance = self._known[id] = Instance(id, Ledger())
        return instance

    def in_mind(self, id: str) -> Instance | None:
        return self._known.get(id)

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
        if instance is not None:
            instance.drop_machine()

    def trim(self) -> None:
        """Drop the longest unused beyond the limit; not `kept`, nor those whose records aren't in their files yet."""
        excess = len(self._known) - self._most
        if excess <= 0:
            return
        for id in list(self._known)[: excess + 64]:
            instance = self._known[id]
            if not instance.recent and instance is not self.kept:
                self.forget(id)

    def close(self) -> None:
        for id in list(self._known):
            self.forget(id)


def records(lines: list[bytes]) -> list[ev.Record]:
    """The records of lines whose crc has been checked."""
    return [codec.decode(line[:-_CRC]) for line in lines]
