"""The explorer of crash states: a small engine over the faulty disk, crashed before every operation and in recovery.

Before every operation the disk is copied, and the copy dies in several ways. Then the hub is opened again (and may die
again meanwhile), and the world must be whole: every acknowledged commit is there, byte for byte; nothing is there that
was never submitted; messages are taken once; numbers go on. What a recovery has shown counts as acknowledged.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from msgspec import Raw

from durablecli.model.codec import crc_seed, encode_record
from durablecli.model.entity_id import is_entity_id
from durablecli.model.events import (
    AnyEvent,
    EntityOperationReceived,
    EntitySnapshot,
    EntityStarted,
    EventRaised,
    ExecutionStarted,
    Record,
)
from durablecli.model.status import InstanceSummary
from durablecli.store.history.writer import history_files, read_history_file
from durablecli.store.hub import Hub, checkpoint, close_hub, open_hub
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.index import Index
from durablecli.store.journal.writer import Commit, ConsumedMessage, HistoryWrite, PurgedExecution
from tests.support.faulty_disk import FaultyDisk, PowerCut

ROOT = "hub"
TARGET = "post"
NAMES = ("a", "b", "c", "d", "e", "f", "@e@a", "@e@b", "@e@c")
AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
Skip = Callable[[str, str], bool]


def nothing(operation: str, path: str) -> bool:
    return False


@dataclass
class World:
    """What was submitted, how much of it was acknowledged, and what was posted (True: acknowledged)."""

    commits: list[Commit] = field(default_factory=list)
    acknowledged: int = 0
    posted: dict[str, bool] = field(default_factory=dict)

    def twin(self) -> World:
        return World(list(self.commits), self.acknowledged, dict(self.posted))

    def histories(self) -> dict[str, tuple[str, int, list[bytes]]]:
        """What the files must hold after all commits."""
        found: dict[str, tuple[str, int, list[bytes]]] = {}
        for commit in self.commits:
            for gone in commit.purged:
                del found[gone.instance]
            for write in commit.writes:
                if write.begins_file:
                    found[write.instance] = (write.execution, write.first, [])
                found[write.instance][2].extend(write.lines)
        return found

    def check(self, hub: Hub) -> None:
        """The laws; from here on what is there is acknowledged."""
        last = hub.last_commit
        assert self.acknowledged <= last, f"commit {self.acknowledged} was acknowledged, the hub ends at {last}"
        assert last <= len(self.commits), f"commit {last} was never submitted"
        del self.commits[last:]
        self.acknowledged = last
        self.check_files(hub)
        taken = {each.message for commit in self.commits for each in commit.consumed}
        waiting = {message.message for message in hub.inbox.pending_messages(TARGET)}
        seen = waiting | taken
        lost = {message for message, sure in self.posted.items() if sure} - taken - waiting
        assert not lost, f"messages {lost} were acknowledged and are gone"
        assert not waiting & taken, f"messages {waiting & taken} come a second time"
        assert waiting <= set(self.posted), "a message came from nowhere"
        self.posted = {message: sure or message in taken for message, sure in self.posted.items() if message in seen}

    def check_files(self, hub: Hub) -> None:
        expected = self.histories()
        found = {}
        for file in history_files(hub.disk, ROOT):
            history = read_history_file(hub.disk, file)
            assert history is not None
            assert history.is_whole, f"{file} is good for {history.good_bytes} bytes only"
            found[history.instance] = (history.execution, history.first, history.lines)
        assert found == expected


class Forgetful(Index):
    """An index that is made in no time and remembers nothing, so every opening folds all histories."""

    last_commit = -1

    def __init__(self) -> None:
        pass

    def apply(self, rows: Iterable[InstanceSummary], removed: Iterable[str], last_commit: int) -> None:
        self.last_commit = last_commit

    def durable(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def close(self) -> None:
        pass


class Engine:
    """A small engine: it starts, goes on, begins anew and purges instances, posts and takes messages.

    The logs of entities it also compacts, sometimes twice in one commit.
    """

    def __init__(self, disk: FaultyDisk, world: World, dice: random.Random) -> None:
        self.disk = disk
        self.world = world
        self.dice = dice
        self.hub = open_hub(ROOT, disk, lock=False, index=Forgetful())
        world.check(self.hub)
        self.alive = world.histories()

    def post(self) -> None:
        message = f"m-{self.dice.getrandbits(64):x}"
        self.world.posted[message] = False
        self.hub.inbox.post("raise-event", [MessageItem(TARGET, name="E", input=Raw(b"1"))], message)
        self.world.posted[message] = True

    def commit(self) -> None:
        """One cycle: submit, sync, acknowledge, publish, forget the messages taken."""
        c = self.hub.journal.last_commit + 1
        messages = [message.message for message in self.hub.inbox.take_next()]
        at = AT + timedelta(seconds=c)
        commit = Commit(c, self.hub.epoch, at, [], [ConsumedMessage(message) for message in messages])
        for instance in self.dice.sample(NAMES, 3):
            self.turn(commit, instance)
        del self.world.commits[c - 1 :]
        self.world.commits.append(commit)
        self.hub.journal.append([commit])
        self.world.acknowledged = c
        self.hub.history_writer.remove(commit.purged)
        self.hub.history_writer.publish(commit.writes)
        self.hub.index.update([], [], c)
        self.hub.inbox.remove(messages)

    def turn(self, commit: Commit, instance: str) -> None:
        execution, begins, lines = self.alive.get(instance, ("", 1, []))
        first = begins + len(lines)
        if lines and self.dice.random() < 0.15:
            commit.purged.append(PurgedExecution(instance, execution))
            del self.alive[instance]
            return
        if not lines or self.dice.random() < 0.2:
            execution, begins, first, lines = f"{commit.c:x}", 1, 1, []
        fresh = False
        while True:
            numbers = range(first, first + self.dice.randint(1, 4))
            new = [self.record(instance, execution, n, commit.at, fresh and n == first) for n in numbers]
            commit.writes.append(HistoryWrite(instance, execution, first, new, rewrites_file=fresh))
            begins, lines = (first, new) if fresh else (begins, [*lines, *new])
            first += len(new)
            if not is_entity_id(instance) or self.dice.random() < 0.6:
                break
            fresh = True
        self.alive[instance] = (execution, begins, lines)

    def record(self, instance: str, execution: str, n: int, at: datetime, snapshot: bool) -> bytes:
        data = Raw(b'"%b"' % bytes(self.dice.choices(b"abcdefgh", k=self.dice.choice([1, 30, 500]))))
        event: AnyEvent
        if is_entity_id(instance):
            event = EntityStarted(instance, execution) if n == 1 else EntityOperationReceived("op", data)
            if snapshot:
                event = EntitySnapshot(instance, execution, n - 1, at, at, data)
        else:
            event = ExecutionStarted(instance, execution, "f") if n == 1 else EventRaised("E", data)
        return encode_record(Record(n, at, event), crc_seed(instance, execution))

    def script(self, cycles: int) -> None:
        """Commits, messages, checkpoints with and without a floor."""
        for cycle in range(cycles):
            if cycle % 3 == 1:
                self.post()
            self.commit()
            if cycle % 4 == 2:
                checkpoint(self.hub, oldest_needed_commit=self.hub.journal.last_commit if cycle % 8 == 2 else None)


class Explorer:
    """Runs one script and counts the crash states that were tried."""

    def __init__(self, number: int, deaths: int, skip: Skip = nothing) -> None:
        self.number = number
        self.deaths = deaths
        self.skip = skip
        self.states = 0
        self.operations = 0
        self.crashes_in_recovery = 0

    def run(self, cycles: int = 7) -> None:
        disk, world = FaultyDisk(), World()
        disk.skip = self.skip
        disk.step = lambda operation, path: self._die_here(disk, world)
        engine = Engine(disk, world, random.Random(self.number))
        engine.script(cycles)
        world.check_files(engine.hub)
        close_hub(engine.hub)
        disk.step = lambda operation, path: None
        engine = Engine(disk, world, random.Random(self.number))
        assert not engine.hub.journal.last_commit > len(world.commits)

    def _die_here(self, disk: FaultyDisk, world: World) -> None:
        self.operations += 1
        for _ in range(self.deaths):
            self.states += 1
            dice = random.Random(self.states * 1000003 + self.number)
            try:
                self._aftermath(copy.deepcopy(disk), world.twin(), dice)
            except BaseException as error:
                error.add_note(f"script {self.number}, operation {self.operations}, state {self.states}")
                raise

    def _aftermath(self, disk: FaultyDisk, world: World, dice: random.Random) -> None:
        disk.skip = self.skip
        for _ in range(dice.choice([1, 2, 2, 3])):
            self._die(disk, dice)
            self._crash_after(disk, dice.randint(0, 40))
            try:
                engine = Engine(disk, world, dice)
                engine.commit()
                checkpoint(engine.hub)
                engine.commit()
            except PowerCut:
                self.crashes_in_recovery += 1
        self._die(disk, dice)
        disk.step = lambda operation, path: None
        engine = Engine(disk, world, dice)
        engine.commit()
        world.check_files(engine.hub)

    def _die(self, disk: FaultyDisk, dice: random.Random) -> None:
        if dice.random() < 0.3:
            disk.kill()
        else:
            disk.power_cut(dice)

    def _crash_after(self, disk: FaultyDisk, left: int) -> None:
        def step(operation: str, path: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCut

        disk.step = step
