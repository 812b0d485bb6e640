"""A commit in the making: the lines of one cycle, and what is to happen in the world once they are on disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from msgspec import Raw

from durablecli.engine.instance_cache import Entity, Instance
from durablecli.engine.message_queue import Handled
from durablecli.engine.workers.entity_batch import Operation
from durablecli.model import codec
from durablecli.model import events as ev
from durablecli.replay.turn_log import OutputLine
from durablecli.store.journal.commits import (
    Commit,
    ConsumedMessage,
    DeliveryWatermark,
    HistoryWrite,
    PurgedExecution,
    QuarantinedMessage,
)

MOST_RECORDS = 4_096
MOST_BYTES = 8 * 1024 * 1024
_KEPT_SIZE = 1_000
"""About what one kept message takes beside its payload, which is seldom large."""


class Job(NamedTuple):
    """One activity to run: the decision it answers, and what it needs."""

    instance: str
    execution: str
    n: int
    task: ev.TaskScheduled
    redelivered: bool = False


class BatchJob(NamedTuple):
    """Operations of one entity to run, one after another, from the state that it has at this time."""

    entity: str
    execution: str
    state: Raw
    operations: list[Operation]
    at: datetime


class Spoken(NamedTuple):
    """A log line about an instance, to be said once that is on disk; its logger's `name` is below `durablecli`."""

    name: str
    level: int
    text: str
    arguments: tuple[Any, ...]


class Draft:
    """One cycle's commit. `full` says that what is left has to wait for the next one."""

    def __init__(self, c: int, epoch: int, at: datetime) -> None:
        self.c = c
        self.execution = f"{c:x}"
        self.commit = Commit(c, epoch, at, [])
        self.at = at
        self.size = 0
        self.records = 0
        self.touched: dict[str, Instance | Entity] = {}
        self.moved: dict[str, Entity] = {}
        """The entities that may have something to run."""
        self.jobs: list[Job] = []
        self.batches: list[BatchJob] = []
        self.dropped: list[tuple[str, str, int]] = []
        """Batches that nobody waits for any more; what follows of the same entity may be given out in this commit."""
        self.cancelled: list[tuple[str, str]] = []
        """Executions that were terminated: their calls are stopped."""
        self.ended: list[tuple[str, str, frozenset[int]]] = []
        """Executions that have ended by themselves, with the decisions of calls that are to be stopped."""
        self.spoken: list[Spoken | OutputLine] = []
        self.released: list[tuple[str, str]] = []
        """The ids that were reserved for what begins here, each with the message of its reservation."""
        self.acks: list[Callable[[], None]] = []
        self.reserved: list[tuple[str, str]] = []
        """The ids that were reserved for this commit, each with its message."""
        self.looked_at: list[str] = []
        """The instances that were ready and whose turn came."""
        self.adopted: list[str] = []
        """Those that this cycle has taken up because an instance that is driven needs them."""
        self.completed: list[str] = []
        """The instances whose last turn was cut off, and has come to its end here."""
        self.handling: Handled = None

    @property
    def full(self) -> bool:
        return self.records >= MOST_RECORDS or self.size >= MOST_BYTES

    @property
    def half_full(self) -> bool:
        return self.records >= MOST_RECORDS // 2 or self.size >= MOST_BYTES // 2

    @property
    def empty(self) -> bool:
        commit = self.commit
        return not (commit.writes or commit.consumed or commit.purged or commit.quarantined or commit.delivered)

    @property
    def has_effects(self) -> bool:
        """Whether an empty commit still has something to do, once those before it are on disk."""
        return bool(
            self.jobs or self.batches or self.cancelled or self.ended or self.spoken or self.acks or self.released
        )

    def add(self, instance: Instance | Entity, record: ev.Record) -> None:
        """Write one record of an instance down, and fold it into its ledger."""
        data = codec.encode_record(record, instance.seed)
        size = len(data) + 1
        ledger = instance.ledger
        ledger.apply(record)
        ledger.size += size
        write = instance.write
        if write is None or instance.written_in != self.c:
            fresh = type(record.event) is ev.EntitySnapshot
            instance.write = write = HistoryWrite(instance.id, ledger.execution, record.n, [], rewrites_file=fresh)
            instance.written_in = self.c
            self.commit.writes.append(write)
            self.touched[instance.id] = instance
        write.lines.append(data)
        instance.recent.append((self.c, record))
        self.size += size
        self.records += 1

    def goes_on(self, instance: Instance, more: bool) -> None:
        """Say whether this instance's turn goes on in the next commit."""
        if instance.write is not None and instance.written_in == self.c:
            instance.write.continues = more

    def purge(self, instance: Instance | Entity) -> None:
        """Take an instance away, and with it whatever this commit was about to write of it."""
        self.commit.purged.append(PurgedExecution(instance.id, instance.ledger.execution))
        self.touched.pop(instance.id, None)

    def discard(self, id: str, execution: str) -> None:
        """Take an instance away that is set aside, with what is kept for it."""
        self.commit.purged.append(PurgedExecution(id, execution))
        self.deliver(id, self.c)

    def keep(self, kept: QuarantinedMessage) -> None:
        """Keep what was sent to an instance that is set aside."""
        self.commit.quarantined.append(kept)
        self.size += _KEPT_SIZE
        self.records += 1

    def deliver(self, id: str, upto: int) -> None:
        """Say that what was kept for an instance by commits up to `upto` is delivered with this one."""
        self.commit.delivered.append(DeliveryWatermark(id, upto))

    def finish(self) -> Commit:
        """The commit as it is to be written: without what it was about to write of instances that it takes away."""
        commit = self.commit
        if commit.purged:
            purged = {(each.instance, each.execution) for each in commit.purged}
            commit.writes = [each for each in commit.writes if (each.instance, each.execution) not in purged]
        return commit

    def take(self, message: str, upto: int | None = None) -> None:
        self.commit.consumed.append(ConsumedMessage(message, upto))
