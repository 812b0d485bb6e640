"""The explorer of crash states: a small engine over the faulty disk, crashed before every operation and in recovery.

Before every operation the disk is copied, and the copy dies in several ways. Then the hub is opened again (and may die
again meanwhile), and the world must be whole: every acknowledged commit is there, byte for byte; nothing is there that
was never submitted; messages are taken once; numbers go on. What a recovery has shown counts as acknowledged.
Spilled records can be read, and no file of one is left once nothing refers to it.
"""

from __future__ import annotations

import copy
import random
import sys
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
from durablecli.model.spilled_line import is_stub, parse_stub
from durablecli.model.status import InstanceSummary
from durablecli.store.history.file import history_files, read_history_file
from durablecli.store.history.spilled_files import iter_spilled_folders, read_line, spilled_path
from durablecli.store.hub import Hub, allow_spilled_records, checkpoint, close_hub, open_hub
from durablecli.store.inbox.inbox import Inbox
from durablecli.store.inbox.inbox_reader import InboxReader
from durablecli.store.inbox.messages import MessageItem
from durablecli.store.index import Index
from durablecli.store.journal.commits import Commit, ConsumedMessage, HistoryWrite, PurgedExecution
from tests.support.faulty_disk import FaultyDisk, PowerCut

ROOT = "hub"
TARGET = "post"
NAMES = ("a", "b", "c", "d", "e", "f", "@e@a", "@e@b", "@e@c")
AT = datetime(2026, 11, 22, 9, tzinfo=UTC)
Skip = Callable[[str, str], bool]


def skip_nothing(operation: str, path: str) -> bool:
    return False


@dataclass
class ExpectedState:
    """What was submitted, how much of it was acknowledged, and what was posted (True: acknowledged)."""

    commits: list[Commit] = field(default_factory=list)
    acknowledged: int = 0
    posted: dict[str, bool] = field(default_factory=dict)
    spilled: dict[bytes, bytes] = field(default_factory=dict)
    """The lines of spilled records, by their stubs."""

    def copy(self) -> ExpectedState:
        return ExpectedState(list(self.commits), self.acknowledged, dict(self.posted), dict(self.spilled))

    def expected_histories(self) -> dict[str, tuple[str, int, list[bytes]]]:
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
        waiting = {message.message for message in InboxReader(hub.disk, hub.root).pending_messages(TARGET)}
        seen = waiting | taken
        lost = {message for message, sure in self.posted.items() if sure} - taken - waiting
        assert not lost, f"messages {lost} were acknowledged and are gone"
        assert not waiting & taken, f"messages {waiting & taken} come a second time"
        assert waiting <= set(self.posted), "a message came from nowhere"
        self.posted = {message: sure or message in taken for message, sure in self.posted.items() if message in seen}

    def check_files(self, hub: Hub) -> None:
        expected = self.expected_histories()
        found = {}
        for file in history_files(hub.disk, ROOT):
            history = read_history_file(hub.disk, file)
            assert history is not None
            assert history.is_whole, f"{file} is good for {history.good_bytes} bytes only"
            found[history.instance] = (history.execution, history.first, history.lines)
            for line in history.lines:
                assert read_line(hub.disk, ROOT, line) == self.spilled.get(line, line)
        assert found == expected

    def check_spilled_files(self, hub: Hub) -> None:
        """After a checkpoint: exactly the files that a stub refers to are left, and no empty folders."""
        lines = [line for _, _, lines in self.expected_histories().values() for line in lines]
        needed = {spilled_path(ROOT, parse_stub(line)) for line in lines if is_stub(line)}
        folders = list(iter_spilled_folders(hub.disk, ROOT))
        assert {f"{folder}/{name}" for folder in folders for name in hub.disk.listdir(folder)} == needed
        assert {path.rpartition("/")[0] for path in needed} == set(folders)


class NullIndex(Index):
    """An index that is made in no time and remembers nothing, so every opening folds all histories."""

    last_commit = -1

    def __init__(self) -> None:
        pass

    def update(self, rows: Iterable[InstanceSummary], removed: Iterable[str], last_commit: int) -> None:
        self.last_commit = last_commit

    def make_durable(self) -> None:
        pass

    def clear(self) -> None:
        pass

    def close(self) -> None:
        pass


class MiniEngine:
    """A small engine: it starts, goes on, begins anew and purges instances, posts and takes messages.

    The logs of entities it also compacts, sometimes twice in one commit. Lines of more than `spill_over` bytes it
    spills.
    """

    def __init__(
        self, disk: FaultyDisk, expected: ExpectedState, rng: random.Random, spill_over: int = sys.maxsize
    ) -> None:
        self.disk = disk
        self.spill_over = spill_over
        self.expected = expected
        self.rng = rng
        self.hub = open_hub(ROOT, disk, lock=False, index=NullIndex())
        self.inbox = Inbox(disk, ROOT)
        expected.check(self.hub)
        self.live_histories = expected.expected_histories()

    def post(self) -> None:
        message = f"m-{self.rng.getrandbits(64):x}"
        self.expected.posted[message] = False
        self.inbox.post("raise-event", [MessageItem(TARGET, name="E", input=Raw(b"1"))], message)
        self.expected.posted[message] = True

    def commit(self) -> None:
        """One cycle: submit, sync, acknowledge, publish, forget the messages taken."""
        c = self.hub.journal.last_commit + 1
        messages = [message.message for message in self.hub.inbox.take_next()]
        at = AT + timedelta(seconds=c)
        commit = Commit(c, self.hub.epoch, at, [], [ConsumedMessage(message) for message in messages])
        for instance in self.rng.sample(NAMES, 3):
            self.write_turn(commit, instance)
        del self.expected.commits[c - 1 :]
        self.expected.commits.append(commit)
        if self.hub.spill_writer.has_current:
            allow_spilled_records(self.hub)
            self.hub.spill_writer.enqueue_current(c)
            self.hub.spill_writer.write_queued(c)
        self.hub.journal.append([commit])
        self.expected.acknowledged = c
        self.hub.spill_writer.note_removed(commit)
        self.hub.history_writer.remove_purged(commit.purged)
        self.hub.history_writer.publish(commit.writes)
        self.hub.index.update([], [], c)
        self.hub.inbox.remove(messages)

    def write_turn(self, commit: Commit, instance: str) -> None:
        execution, begins, lines = self.live_histories.get(instance, ("", 1, []))
        first = begins + len(lines)
        if lines and self.rng.random() < 0.15:
            commit.purged.append(PurgedExecution(instance, execution))
            del self.live_histories[instance]
            return
        if not lines or self.rng.random() < 0.2:
            execution, begins, first, lines = f"{commit.c:x}", 1, 1, []
        fresh = False
        while True:
            numbers = range(first, first + self.rng.randint(1, 4))
            new = [self.encode_record(instance, execution, n, commit, fresh and n == first) for n in numbers]
            commit.writes.append(HistoryWrite(instance, execution, first, new, rewrites_file=fresh))
            begins, lines = (first, new) if fresh else (begins, [*lines, *new])
            first += len(new)
            if not is_entity_id(instance) or self.rng.random() < 0.6:
                break
            fresh = True
        self.live_histories[instance] = (execution, begins, lines)

    def encode_record(self, instance: str, execution: str, n: int, commit: Commit, snapshot: bool) -> bytes:
        at = commit.at
        size = self.rng.choice([1, 30, 500])
        data = Raw(b'"%0*x"' % (size, self.rng.getrandbits(4 * size)))
        event: AnyEvent
        if is_entity_id(instance):
            event = EntityStarted(instance, execution) if n == 1 else EntityOperationReceived("op", data)
            if snapshot:
                event = EntitySnapshot(instance, execution, n - 1, at, at, data)
        else:
            event = ExecutionStarted(instance, execution, "f") if n == 1 else EventRaised("E", data)
        seed = crc_seed(instance, execution)
        line = encode_record(Record(n, at, event), seed)
        if len(line) <= self.spill_over:
            return line
        stub = self.hub.spill_writer.add(line, instance, execution, commit.c, seed).line
        self.expected.spilled[stub] = line
        return stub

    def run_script(self, cycles: int) -> None:
        """Commits, messages, checkpoints with and without a floor."""
        for cycle in range(cycles):
            if cycle % 3 == 1:
                self.post()
            self.commit()
            if cycle % 4 == 2:
                checkpoint(self.hub, oldest_needed_commit=self.hub.journal.last_commit if cycle % 8 == 2 else None)


class CrashExplorer:
    """Runs one script and counts the crash states that were tried."""

    def __init__(
        self, seed: int, crashes_per_operation: int, skip: Skip = skip_nothing, spill_over: int = sys.maxsize
    ) -> None:
        self.seed = seed
        self.crashes_per_operation = crashes_per_operation
        self.skip = skip
        self.spill_over = spill_over
        self.states_tried = 0
        self.operations = 0
        self.crashes_in_recovery = 0

    def run(self, cycles: int = 7) -> None:
        disk, world = FaultyDisk(), ExpectedState()
        disk.skip = self.skip
        disk.step = lambda operation, path: self._crash_here(disk, world)
        engine = MiniEngine(disk, world, random.Random(self.seed), self.spill_over)
        engine.run_script(cycles)
        world.check_files(engine.hub)
        close_hub(engine.hub)
        disk.step = lambda operation, path: None
        engine = MiniEngine(disk, world, random.Random(self.seed), self.spill_over)
        assert not engine.hub.journal.last_commit > len(world.commits)

    def _crash_here(self, disk: FaultyDisk, expected: ExpectedState) -> None:
        self.operations += 1
        for _ in range(self.crashes_per_operation):
            self.states_tried += 1
            dice = random.Random(self.states_tried * 1000003 + self.seed)
            try:
                self._recover(copy.deepcopy(disk), expected.copy(), dice)
            except BaseException as error:
                error.add_note(f"script {self.seed}, operation {self.operations}, state {self.states_tried}")
                raise

    def _recover(self, disk: FaultyDisk, expected: ExpectedState, rng: random.Random) -> None:
        disk.skip = self.skip
        for _ in range(rng.choice([1, 2, 2, 3])):
            self._crash(disk, rng)
            self._crash_after(disk, rng.randint(0, 40))
            try:
                engine = MiniEngine(disk, expected, rng, self.spill_over)
                engine.commit()
                checkpoint(engine.hub)
                engine.commit()
            except PowerCut:
                self.crashes_in_recovery += 1
        self._crash(disk, rng)
        disk.step = lambda operation, path: None
        engine = MiniEngine(disk, expected, rng, self.spill_over)
        engine.commit()
        expected.check_files(engine.hub)
        checkpoint(engine.hub)
        expected.check_spilled_files(engine.hub)

    def _crash(self, disk: FaultyDisk, rng: random.Random) -> None:
        if rng.random() < 0.3:
            disk.kill()
        else:
            disk.power_cut(rng)

    def _crash_after(self, disk: FaultyDisk, operations_left: int) -> None:
        def step(operation: str, path: str) -> None:
            nonlocal operations_left
            operations_left -= 1
            if operations_left < 0:
                raise PowerCut

        disk.step = step
